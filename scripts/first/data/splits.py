"""Which rows are trained on, tune the temperature, and test: seeded, disjoint, recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np

from scripts.first.errors import UserError

# The official split of each of our splits. If train and validation are from the same one, it is
# divided at random: the paper takes the 10 percent from the training set.
ORIGINS: dict[str, dict[str, str]] = {
    "csqa": {"train": "train", "validation": "train", "test": "validation"},
    "boolq": {"train": "train", "validation": "train", "test": "validation"},
    "obqa": {"train": "train", "validation": "validation", "test": "test"},
    "alpaca": {"train": "train", "validation": "train"},
    "pretraining": {"train": "train"},
}


def divide(n: int, validation_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(train, validation): sorted int64 row numbers that partition range(n) at random.

    The first floor((1 - validation_share) * n) numbers of default_rng(seed).permutation(n) train.
    Raises UserError if a part would be empty.
    """
    # A fraction and not a float: 0.9 * n can fall just below the whole number it stands for.
    count = math.floor((1 - Fraction(str(validation_share))) * n)
    if not 0 < count < n:
        raise UserError(
            f"a part without rows: {n} rows with validation share {validation_share}: "
            "use a share between 0 and 1 and enough rows"
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[:count]), np.sort(order[count:])


def subset(rows: np.ndarray, limit: int | None, seed: int, stream: int) -> np.ndarray:
    """`limit` of `rows`, drawn at random and in their given order; all if limit is None.

    `stream` keeps the draws of several splits with one seed independent. A smaller limit gives a
    subset of what a larger one gives. Raises UserError if there are too few rows.
    """
    if limit is None:
        return rows
    if not 0 < limit <= len(rows):
        raise UserError(f"a subset of {limit} rows: of {len(rows)}: use a number from 1 to that")
    order = np.random.default_rng([seed, stream]).permutation(len(rows))
    return rows[np.sort(order[:limit])]


def assert_disjoint(splits: Mapping[str, Iterable[str]], what: str) -> None:
    """Raise UserError if a value occurs in two splits, or twice in one.

    Rows that tune or test must not be trained on, rows that test must not tune. `what` names the
    values in the message.
    """
    seen: dict[str, str] = {}
    for split, values in splits.items():
        for value in values:
            if value in seen:
                raise UserError(
                    f"not disjoint: {what} {value!r} is in {seen[value]} and in {split}: "
                    "correct the source"
                )
            seen[value] = split
