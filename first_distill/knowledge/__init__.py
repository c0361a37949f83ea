"""The teacher's top-k: extraction and store."""
