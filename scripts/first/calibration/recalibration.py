"""Re-calibration of the teacher's top-k probabilities: A.1, Eq. 3 and Eq. 4 of the paper.

Pure functions of numpy arrays of shape (..., k): the full-vocabulary probabilities that the
teacher gives to its k most likely tokens, most likely first. Each returns the training target, a
float64 array of the same shape whose last axis sums to 1. Reads and writes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

DEFAULT_EPS = 1e-6


def normalise(p: ArrayLike, eps: float = DEFAULT_EPS) -> np.ndarray:
    """Normalisation of appendix A.1: (p(i) + eps) / sum_j (p(j) + eps) over the last axis.

    Raises ValueError when p is not an array of probabilities or eps is negative.
    """
    p = _checked_probabilities(p)
    if not (np.isfinite(eps) and eps >= 0.0):
        raise ValueError(f"eps must be finite and not negative, got {eps}")
    shifted = p + eps
    total = shifted.sum(axis=-1, keepdims=True)
    if not np.all(total > 0.0):
        raise ValueError("a row of p is all zero and eps is 0: it cannot be normalised")
    return shifted / total


def label_smoothing(
    p: ArrayLike, delta: float = 0.1, space: str = "prob", eps: float = DEFAULT_EPS
) -> np.ndarray:
    """Label smoothing, Eq. 3, after A.1: take delta from the first entry, share it over the rest.

    With n = normalise(p, eps), ``space="prob"`` is the equation: n(1) - delta and
    n(i) + delta / (k - 1), then clamped at eps and renormalised (which changes nothing for k = 5,
    delta = 0.1, because n(1) >= 1/5). ``space="log"`` is the authors' released code, which shifts
    log-probabilities: n(1) exp(-delta) and n(i) exp(delta / (k - 1)), renormalised here because
    that is the minimiser of their loss.

    Raises ValueError for delta outside (0, 1), an unknown space, k < 2, or a first entry that is
    not the largest.
    """
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must lie in (0, 1), got {delta}")
    if space not in ("prob", "log"):
        raise ValueError(f"unknown space {space!r}: use prob or log")
    n = normalise(p, eps)
    k = n.shape[-1]
    if k < 2:
        raise ValueError("label smoothing needs at least two probabilities a row")
    if not np.all(n[..., :1] >= n):
        raise ValueError("the first probability of a row must be its largest")
    shift = np.full(k, delta / (k - 1))
    shift[0] = -delta
    smoothed = np.maximum(n + shift, eps) if space == "prob" else n * np.exp(shift)
    return smoothed / smoothed.sum(axis=-1, keepdims=True)


def prob_softmax(p: ArrayLike, c: float) -> np.ndarray:
    """Temperature scaling, Eq. 4: exp(p(i) / c) / sum_j exp(p(j) / c), over probabilities.

    It is a softmax of probabilities, not of logits: no entry exceeds 1 / (1 + (k-1) exp(-1/c)),
    the order of the entries is kept, and c -> infinity gives 1/k. Raises ValueError unless c is
    finite and positive (the search keeps to (0, 1]; larger values are legitimate limits).
    """
    if not (np.isfinite(c) and c > 0.0):
        raise ValueError(f"c must be finite and positive, got {c}")
    p = _checked_probabilities(p)
    with np.errstate(over="ignore"):  # a tiny c sends the quotient to -inf, its exp to 0
        weights = np.exp((p - p.max(axis=-1, keepdims=True)) / c)
    return weights / weights.sum(axis=-1, keepdims=True)


RECALIBRATIONS = {
    "none": normalise,
    "label_smoothing": label_smoothing,
    "prob_softmax": prob_softmax,
}


def recalibrate(p: ArrayLike, name: str, **settings: float | str) -> np.ndarray:
    """Return the training target of the re-calibration ``name`` for probabilities p (..., k).

    Names and settings: ``none`` (eps), ``label_smoothing`` (delta, space, eps) and
    ``prob_softmax`` (c, required). Raises ValueError for an unknown name and for a setting out of
    range, TypeError for one that is missing or that the named re-calibration does not use.
    """
    if name not in RECALIBRATIONS:
        raise ValueError(f"unknown recalibration {name!r}: use one of {', '.join(RECALIBRATIONS)}")
    return RECALIBRATIONS[name](p, **settings)


def _checked_probabilities(p: ArrayLike) -> np.ndarray:
    p = np.asarray(p, dtype=np.float64)
    if p.ndim == 0 or p.shape[-1] == 0:
        raise ValueError(f"p must have a last axis of k probabilities, got shape {p.shape}")
    if p.size and not (p.min() >= 0.0 and p.max() <= 1.0):
        raise ValueError("p must hold probabilities in [0, 1] without NaN (not log-probabilities)")
    return p
