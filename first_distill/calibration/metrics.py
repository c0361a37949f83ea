"""Accuracy, expected calibration error and trust score (Eq. 1 and 2), and robustness metrics.

Pure functions of numpy arrays in float64. Every metric is a fraction, not a percentage. Bins have
equal width on [0, 1] and are closed on the right, (lower, upper], as in Guo et al. (2017); a
confidence of exactly 0 belongs to the first bin, one of 1 to the last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

DEFAULT_BINS = 10


def checked_scores(confidence: ArrayLike, correct: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return (confidence, correct) as float64 arrays of shape (n,), correct holding 0.0 or 1.0.

    Raises ValueError unless they are equally long, not empty, in [0, 1] and in {0, 1}.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    correct = np.asarray(correct, dtype=np.float64)
    if confidence.ndim != 1 or confidence.shape != correct.shape or confidence.size == 0:
        raise ValueError(
            "confidence and correct must be one-dimensional, equally long and not empty, "
            f"got shapes {confidence.shape} and {correct.shape}"
        )
    if not (confidence.min() >= 0.0 and confidence.max() <= 1.0):
        raise ValueError("confidence must lie in [0, 1] without NaN")
    if not np.all((correct == 0.0) | (correct == 1.0)):
        raise ValueError("correct must hold only 0 and 1 (or booleans)")
    return confidence, correct


def bin_index(confidence: np.ndarray, bins: int = DEFAULT_BINS) -> np.ndarray:
    """Return the bin 0 .. bins-1 of each confidence: bin b is (b/bins, (b+1)/bins].

    The edges are the float64 quotients b/bins, so that a confidence written as 0.3 lies on the
    edge 0.3 (``linspace`` and ``ceil(confidence * bins)`` both miss some edges by one rounding).
    """
    return np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")


def expected_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, bins: int = DEFAULT_BINS
) -> float:
    """Expected calibration error, Eq. 1: sum over bins of (count / n) |accuracy - confidence|.

    confidence: (n,) probabilities of the predictions; correct: (n,) booleans. Empty bins count 0.
    Returns a fraction in [0, 1].
    """
    confidence, correct = checked_scores(confidence, correct)
    return _sum_of_gaps(confidence - correct, bin_index(confidence, bins), bins)


def _sum_of_gaps(gaps: np.ndarray, index: np.ndarray, bins: int) -> float:
    """Eq. 1 as a fraction: (count / n) |accuracy - confidence| = |sum of the bin's gaps| / n.

    gaps: (n,) confidence - correct; index: (n,) the bin of each.
    """
    return float(np.abs(np.bincount(index, gaps, minlength=bins)).sum()) / gaps.size


def adaptive_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, bins: int = DEFAULT_BINS
) -> float:
    """Eq. 1 with bins of equal mass instead of equal width; returns a fraction in [0, 1].

    Equal confidences share a bin (the one of their middle rank), so that the value does not
    depend on the order of the questions; without ties the bins differ in size by at most one.
    """
    confidence, correct = checked_scores(confidence, correct)
    _, inverse, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    # Twice the middle rank of each distinct value: integers, so that no rounding moves a bin.
    double_rank = 2 * np.cumsum(counts) - counts
    index = np.minimum(double_rank * bins // (2 * confidence.size), bins - 1)[inverse]
    return _sum_of_gaps(confidence - correct, index, bins)


def reliability_bins(
    confidence: ArrayLike, correct: ArrayLike, bins: int = DEFAULT_BINS
) -> dict[str, np.ndarray]:
    """Return the rows of a reliability diagram (Figure 5), each entry an array of shape (bins,).

    Keys: ``lower`` and ``upper`` (edges), ``count``, ``confidence`` (mean) and ``accuracy``; the
    last two are NaN where the bin is empty.
    """
    confidence, correct = checked_scores(confidence, correct)
    index = bin_index(confidence, bins)
    count = np.bincount(index, minlength=bins)
    share = np.where(count > 0, count, np.nan)
    edges = np.arange(bins + 1) / bins
    return {
        "lower": edges[:-1],
        "upper": edges[1:],
        "count": count,
        "confidence": np.bincount(index, weights=confidence, minlength=bins) / share,
        "accuracy": np.bincount(index, weights=correct, minlength=bins) / share,
    }


def trust_score(accuracy: ArrayLike, ece: ArrayLike) -> ArrayLike:
    """Trust score, Eq. 2: accuracy - ECE, in the unit of its arguments, never clipped."""
    return accuracy - ece


def binary_nll(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Mean negative log-likelihood (natural log) of correctness (n,) under confidence (n,).

    Confidences are clipped to [1e-12, 1 - 1e-12], which keeps the value finite.
    """
    confidence, correct = checked_scores(confidence, correct)
    clipped = np.clip(confidence, 1e-12, 1.0 - 1e-12)
    return float(-np.mean(np.log(np.where(correct == 1.0, clipped, 1.0 - clipped))))


def candidate_nll(log_probs: np.ndarray, gold: np.ndarray) -> float:
    """Mean of -log p(gold) over questions (natural log), p over the full vocabulary.

    log_probs: (n, m) full-vocabulary log-probabilities, -inf for a candidate that a question does
    not have; gold: (n,) column of the answer.
    """
    return float(-np.mean(log_probs[np.arange(gold.size), gold]))


def brier_scores(log_probs: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Each question's sum over outcomes of (p - [outcome is gold])^2, (n,), in [0, 2].

    The outcomes are a question's candidates and "anything else", which takes the probability that
    they leave. Arguments are those of :func:`candidate_nll`.
    """
    residual = np.exp(log_probs)
    outside = np.maximum(1.0 - residual.sum(axis=1), 0.0)
    residual[np.arange(gold.size), gold] -= 1.0
    return (residual**2).sum(axis=1) + outside**2


def candidate_brier(log_probs: np.ndarray, gold: np.ndarray) -> float:
    """Mean of `brier_scores`."""
    return float(brier_scores(log_probs, gold).mean())
