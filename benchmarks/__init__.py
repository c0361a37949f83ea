"""Ours against a rival or a limit, side by side in one run: `python -m benchmarks`."""
