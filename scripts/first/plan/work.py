"""Floating point operations, and the time they take at a stated utilisation."""

from __future__ import annotations

from scripts.first.plan.architecture import Architecture
from scripts.first.plan.corpora import Counts


def forward_flops(model: Architecture, counts: Counts) -> tuple[float, float]:
    """(layers, head): operations of one forward pass over a split, two for a multiply and add.

    Layers: every weight matrix at every token, and the attention's two products over the row's
    whole length (no half is credited for the causal mask). The head runs at supervised positions.
    """
    h, q, k, i = model.hidden, model.queries, model.keys, model.intermediate
    matrices = model.layers * (h * (2 * q + 2 * k) + 3 * h * i)
    attention = model.layers * 4 * q * counts.squares
    return 2.0 * matrices * counts.tokens + attention, 2.0 * h * model.vocabulary * counts.positions


def training_flops(
    model: Architecture, counts: Counts, epochs: float, checkpointing: bool
) -> float:
    """A backward pass costs two forward passes; checkpointing runs the layers forward once more."""
    layers, head = forward_flops(model, counts)
    return epochs * ((4 if checkpointing else 3) * layers + 3 * head)
