"""Slices of rows that work over a whole vocabulary goes through, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

# A CPU is fastest where a slice fits its cache; a GPU wants few, large calls.
NUMBERS = {"cpu": 1 << 16}
NUMBERS_ELSEWHERE = 1 << 25


def row_slices(logits) -> Iterator[slice]:
    """Cut a tensor (N, V) by rows, so that copies of it need no memory that grows with N x V."""
    numbers = NUMBERS.get(logits.device.type, NUMBERS_ELSEWHERE)
    rows = max(1, numbers // logits.shape[1])
    for start in range(0, logits.shape[0], rows):
        yield slice(start, start + rows)
