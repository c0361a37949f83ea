"""Re-calibration of the teacher's top-k probabilities: A.1, Eq. 3 and 4, and in logit space.

Pure functions of numpy arrays of shape (..., k): the full-vocabulary probabilities that the
teacher gives to its k most likely tokens, most likely first. Each returns the training target, a
float64 array of the same shape whose last axis sums to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

EPS = 1e-6


def normalise(p: ArrayLike) -> np.ndarray:
    """Normalisation of appendix A.1: (p(i) + EPS) / sum_j (p(j) + EPS) over the last axis.

    Raises ValueError when p is not an array of probabilities.
    """
    shifted = _checked_probabilities(p) + EPS
    return shifted / shifted.sum(axis=-1, keepdims=True)


def label_smoothing(p: ArrayLike, delta: float = 0.1, space: str = "prob") -> np.ndarray:
    """Label smoothing, Eq. 3, after A.1: take delta from the first entry, share it over the rest.

    delta: in (0, 1); k: at least 2. With n = normalise(p), ``space="prob"`` is the equation:
    n(1) - delta and n(i) + delta / (k - 1), then clamped at EPS and renormalised (which changes
    nothing for k = 5, delta = 0.1, because n(1) >= 1/5). ``space="log"`` is the authors' released
    code, which shifts log-probabilities: n(1) exp(-delta) and n(i) exp(delta / (k - 1)),
    renormalised here because that is the minimiser of their loss.
    """
    n = normalise(p)
    shift = np.full(n.shape[-1], delta / (n.shape[-1] - 1))
    shift[0] = -delta
    smoothed = np.maximum(n + shift, EPS) if space == "prob" else n * np.exp(shift)
    return smoothed / smoothed.sum(axis=-1, keepdims=True)


def prob_softmax(p: ArrayLike, c: float) -> np.ndarray:
    """Temperature scaling, Eq. 4: exp(p(i) / c) / sum_j exp(p(j) / c), over probabilities.

    It is a softmax of probabilities, not of logits: no entry exceeds 1 / (1 + (k-1) exp(-1/c)),
    the order of the entries is kept, and c -> infinity gives 1/k. c: positive (the search keeps to
    (0, 1]; larger values are legitimate limits).
    """
    p = _checked_probabilities(p)
    with np.errstate(over="ignore"):  # a tiny c sends the quotient to -inf, its exp to 0
        weights = np.exp((p - p.max(axis=-1, keepdims=True)) / c)
    return weights / weights.sum(axis=-1, keepdims=True)


def logit_temperature(p: ArrayLike, t: float) -> np.ndarray:
    """Guo et al.'s temperature T = t on the teacher's logits z: softmax(z / T) given the k tokens.

    That is p(i)^(1/T) / sum_j p(j)^(1/T), as log p is z less a constant, normalised to 1 as in A.1
    but without its EPS, so that times the head's mass at T it is softmax(z / T) over the full
    vocabulary. t: positive; 1 leaves p's proportions.
    """
    with np.errstate(divide="ignore"):  # the power of 0 is 0
        log_p = np.log(_checked_probabilities(p)) / t
    weights = np.exp(log_p - log_p.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def sampled(p: ArrayLike, draws: int) -> np.ndarray:
    """Shares of `draws` draws, from these rounded to float16: exact multiples of 1 / draws.

    No EPS: the expected share of an id is the teacher's probability, and so is the target.
    """
    counts = np.rint(_checked_probabilities(p) * draws)
    return counts / counts.sum(axis=-1, keepdims=True)


RECALIBRATIONS = {
    "none": normalise,
    "label_smoothing": label_smoothing,
    "prob_softmax": prob_softmax,
    "logit_temperature": logit_temperature,
    "sampled": sampled,
}


def recalibrate(p: ArrayLike, name: str, **settings: float | str) -> np.ndarray:
    """Return the training target of the re-calibration ``name`` for probabilities p (..., k).

    Settings: delta and space of ``label_smoothing``, c of ``prob_softmax``, t of
    ``logit_temperature``, draws of ``sampled``. Raises KeyError for an unknown name, TypeError for
    a setting that is missing or not used.
    """
    return RECALIBRATIONS[name](p, **settings)


def _checked_probabilities(p: ArrayLike) -> np.ndarray:
    p = np.asarray(p, dtype=np.float64)
    if p.ndim == 0 or p.shape[-1] == 0:
        raise ValueError(f"p must have a last axis of k probabilities, got shape {p.shape}")
    if p.size and not (p.min() >= 0.0 and p.max() <= 1.0):
        raise ValueError("p must hold probabilities in [0, 1] without NaN (not log-probabilities)")
    return p
