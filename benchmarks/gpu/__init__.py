"""`make gpu-check`: whether the GPU path is right, and how fast it is (docs/gpu-check.md)."""
