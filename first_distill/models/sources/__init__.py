"""Models made from others: of a GGUF file, or of some layers of a model."""
