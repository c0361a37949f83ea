"""Which rows are trained on, which tune the temperature, which test: seeded, disjoint, recorded.

Pure functions on row numbers and texts: nothing is read or written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from scripts.first.errors import UserError

# The official split that each split of ours comes from. Where train and validation come from the
# same one, it is divided at random (the 10% is taken from the training set).
ORIGINS: dict[str, dict[str, str]] = {
    "csqa": {"train": "train", "validation": "train", "test": "validation"},
    "boolq": {"train": "train", "validation": "train", "test": "validation"},
    "obqa": {"train": "train", "validation": "validation", "test": "test"},
    "alpaca": {"train": "train", "validation": "train"},
    "pretraining": {"train": "train"},
}


def is_divided(dataset: str) -> bool:
    """Whether train and validation of `dataset` are two parts of one official split."""
    origins = ORIGINS[dataset]
    return origins.get("validation") == origins["train"]


def divide(n: int, validation_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (train, validation): sorted int64 row numbers that partition range(n) at random.

    The first floor((1 - validation_share) * n) numbers of default_rng(seed).permutation(n) train.
    Raises UserError when a part would be empty.
    """
    # A fraction and not a float: 0.9 * n can fall just below the whole number it stands for.
    train_share = 1 - Fraction(str(validation_share))
    count = math.floor(train_share * n)
    if not 0 < count < n:
        raise UserError(
            f"a part without rows: {n} rows with validation share {validation_share}: "
            "use a share between 0 and 1 and enough rows"
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[:count]), np.sort(order[count:])


def subset(rows: np.ndarray, limit: int | None, seed: int, stream: int) -> np.ndarray:
    """Return `limit` of `rows`, drawn at random and in their given order; all when limit is None.

    `stream` keeps the draws of several splits with one seed independent of each other. A smaller
    limit gives a part of what a larger one gives. Raises UserError when there are too few rows.
    """
    if limit is None:
        return rows
    if not 0 < limit <= len(rows):
        raise UserError(f"a subset of {limit} rows: {len(rows)} rows are there: ask for 1 to that")
    order = np.random.default_rng([seed, stream]).permutation(len(rows))
    return rows[np.sort(order[:limit])]


def assert_disjoint(splits: Mapping[str, Sequence[str]], what: str) -> None:
    """Raise UserError when a value occurs in two splits, or twice in one.

    splits: {split: ids}. A row that tunes or tests must not be trained on, a row that tests must
    not tune: every number of the project rests on this. `what` names the values in the message.
    """
    seen: dict[str, str] = {}
    for split, values in splits.items():
        for value in values:
            if value in seen:
                raise UserError(
                    f"splits are not disjoint: {what} {value!r} is in {seen[value]} and in {split}:"
                    " correct the source, or report a defect of the split"
                )
            seen[value] = split
