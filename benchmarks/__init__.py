"""Benchmarks of each stage against an alternative or a limit: `python -m benchmarks`."""
