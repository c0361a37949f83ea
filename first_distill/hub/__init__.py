"""Models and datasets from the Hugging Face Hub or from a local mirror of it."""
