"""Floating point operations, and the time they take at a stated utilisation."""

from __future__ import annotations

from first_distill.plan.architecture import Architecture
from first_distill.plan.corpora import Counts
from first_distill.plan.memory import STATE, Training
from first_distill.runtime.state import DEFAULT_MINUTES

UTILISATION = 0.4  # share of a GPU's dense peak that is reached
DISK, HOST = 1e9, 20e9  # bytes/s: files read, written or hashed; host memory to one GPU


def forward_flops(model: Architecture, counts: Counts) -> tuple[float, float]:
    """(layers, head): operations of one forward pass over a split, two for a multiply and add.

    Layers: every weight matrix at every token, of experts those that it is sent to, and the
    attention's two products over the row's whole length: nothing is credited for the causal mask
    or a sliding window. The head runs at supervised positions.
    """
    attention = model.layers * 4 * model.queries * counts.squares
    layers = 2.0 * model.matrices * counts.tokens + attention
    return layers, 2.0 * model.head * counts.positions


def training_flops(model: Architecture, counts: Counts, epochs: float, recompute: bool) -> float:
    """A backward pass costs two forward passes; checkpointing runs the layers forward once more."""
    layers, head = forward_flops(model, counts)
    return epochs * ((4 if recompute else 3) * layers + 3 * head)


def seconds(flops: float, peak: float, files: float = 0.0) -> float:
    """Time of arithmetic at a peak in TFLOPS, and of so many bytes of files."""
    return flops / (peak * 1e12 * UTILISATION) + files / DISK


def training_seconds(
    model: Architecture, training: Training, flops: float, peak: float, steps: int
) -> float:
    """Time of a training's arithmetic, of offloading, and of the periodic saves of the state.

    A micro-batch brings the float32 weights twice (forward, backward) and takes the gradients back;
    AdamW on the host reads and writes about ten float32 numbers a parameter. Each save writes and
    hashes the state.
    """
    moved = (12 * training.micro_batches + 40) * model.parameters / training.processes
    total = seconds(flops, training.processes * peak)
    total += steps * moved / HOST if training.offload else 0.0
    return total + int(total / (60 * DEFAULT_MINUTES)) * 2 * STATE * model.parameters / DISK
