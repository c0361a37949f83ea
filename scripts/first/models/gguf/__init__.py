"""Models in GGUF, the form of llama.cpp, turned into folders in Hugging Face layout."""
