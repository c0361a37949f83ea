"""Which rows are trained on, tune the temperature, and test: seeded, disjoint, recorded."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction

import numpy as np

from first_distill.errors import UserError

SPLITS = ("train", "validation", "test")


def divide(
    n: int, shares: Mapping[str, float | None], seed: int, what: str = ""
) -> dict[str, np.ndarray]:
    """{split: its sorted int64 row numbers}, which partition range(n) at random.

    shares: {split: its share of the rows}, in order; that of the first is what the others leave,
    None. They take numbers of default_rng(seed).permutation(n) in this order, the first split
    floor((1 - the others' shares) * n). Raises UserError, with `what`, if a part would be empty.
    """
    # Fractions and not floats: 0.9 * n can fall just below the whole number it stands for.
    behind = [Fraction(str(share)) for share in [*shares.values()][1:]]
    cuts = [math.floor((1 - sum(behind[i:])) * n) for i in range(len(behind))]
    parts = np.split(np.random.default_rng(seed).permutation(n), cuts)
    if min(map(len, parts)) == 0 or sorted(cuts) != cuts or min(cuts) < 0:
        stated = ", ".join(f"{name} share {share}" for name, share in [*shares.items()][1:])
        raise UserError(
            f"a part without rows: {n} rows{what} with {stated}: use shares between 0 and 1 and "
            "enough rows"
        )
    return {split: np.sort(part) for split, part in zip(shares, parts, strict=True)}


def subset(
    rows: np.ndarray, limit: int | None, seed: int, stream: int, what: str = ""
) -> np.ndarray:
    """`limit` of `rows`, drawn at random and in their given order; all if limit is None.

    `stream` keeps the draws of several splits with one seed independent. A smaller limit gives a
    subset of what a larger one gives. Raises UserError, with `what`, if there are too few rows.
    """
    if limit is None:
        return rows
    if not 0 < limit <= len(rows):
        raise UserError(
            f"a subset of {limit} rows{what}: of {len(rows)}: use a number from 1 to that"
        )
    order = np.random.default_rng([seed, stream]).permutation(len(rows))
    return rows[np.sort(order[:limit])]


def shared(
    splits: Mapping[str, Iterable[int]], key: Mapping[str, list], later: tuple[str, ...]
) -> Iterable[tuple[Hashable, str, int, str, int]]:
    """(value, split, row, later split, its row) of each value that two splits have.

    splits: {split: row numbers}; key: {split: value of each row}. A row is named once, with the
    first row of a split in `later`, behind its own.
    """
    seen: dict[Hashable, tuple[str, int]] = {}
    for split in reversed(SPLITS):
        rows = [*splits.get(split, ())]
        for i in rows:
            if key[split][i] in seen:
                yield key[split][i], split, i, *seen[key[split][i]]
        if split in later:
            for i in rows:
                seen.setdefault(key[split][i], (split, i))
