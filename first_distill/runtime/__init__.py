"""Running: progress, resumable state, signals, starting quickly."""
