"""FIRST: recalibrated top-k distillation, in rooms; imports run one way, from bottom to top."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository
