"""What no teacher can have said: refused when a store is written, and again when it is read.

A store may come from another program: its hash says that it was not altered, not that it is right.
"""

from __future__ import annotations

import numpy as np

NO_RANK = 255
# float16 keeps 11 bits of a log-probability: k rounded ones may sum to a little more than 1.
MASS_TOLERANCE = 0.01


def id_dtype(vocabulary_size: int) -> type:
    """Smallest unsigned type that holds every id."""
    return np.uint16 if vocabulary_size <= 2**16 else np.uint32


def check_arrays(arrays: dict[str, np.ndarray], vocabulary_size: int) -> None:
    """ValueError for arrays by position (see store.py) that are no knowledge of V tokens.

    That is: ids at or above V or repeated, log-probabilities that are not finite, positive or not
    descending, more mass than 1, and ranks of the next token beyond k.
    """
    ids, log_probs, log_tail = arrays["ids"], arrays["log_probs"], arrays["log_tail"]
    n, k = log_probs.shape
    if ids.shape != (n, k) or log_tail.shape != (n,) or arrays["gold_rank"].shape != (n,):
        raise ValueError("the arrays by position have unequal lengths")
    if not n:
        return
    if int(ids.max()) >= vocabulary_size:
        raise ValueError(f"id {int(ids.max())} at or above V = {vocabulary_size}")
    ordered = np.sort(ids, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ValueError("an id is repeated within a position")
    # By rank, (k, N): numpy takes ten times as long over many short rows.
    log_probs = np.ascontiguousarray(log_probs.T).astype(np.float32)
    log_tail = log_tail.astype(np.float32)
    if not (log_probs.max() <= 0 and log_probs.min() > -np.inf):
        raise ValueError("log-probabilities must be finite and at most 0")
    if (log_probs[1:] > log_probs[:-1]).any():
        raise ValueError("log-probabilities must descend within a position")
    if not log_tail.max() <= 0:
        raise ValueError("the tail's probability must be at most 1")
    mass = np.exp(log_probs).sum(axis=0) + np.exp(log_tail)
    if mass.max() > 1 + MASS_TOLERANCE:
        raise ValueError(f"the probabilities of a position sum to {mass.max():.3f}")
    rank = arrays["gold_rank"]
    if (rank[rank != NO_RANK] >= k).any():
        raise ValueError(f"a rank of the next token is none of 0 to {k - 1} and not {NO_RANK}")


def check_offsets(offsets: np.ndarray, positions: int) -> None:
    """ValueError unless row offsets (R + 1,) ascend from 0 to the number of positions."""
    if offsets[0] != 0 or offsets[-1] != positions or (np.diff(offsets) < 1).any():
        raise ValueError("row offsets must ascend from 0 to the number of positions")
