"""Chunks of rows: work over a whole vocabulary goes through a few rows at a time."""

from __future__ import annotations

# Logits held at once. A CPU works fastest on what stays near its cache; a GPU wants few, large
# calls.
LOGITS = {"cpu": 2**24, "cuda": 2**26}
# Elements of a temporary that should stay in the processor's cache.
CACHED = {"cpu": 2**18, "cuda": 2**25}


def rows_at_once(budget: dict[str, int], device_type: str, width: int) -> int:
    """Rows of `width` elements that fit a budget (LOGITS or CACHED); at least 1."""
    return max(1, budget.get(device_type, budget["cuda"]) // width)


def spans(count: int, at_most: int) -> list[slice]:
    """Slices of at most `at_most` rows, of like size, that cover `count` rows in order.

    For no rows, one empty slice.
    """
    number = max(1, -(-count // at_most))
    edges = [count * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
