"""Intervals for accuracy, ECE and trust, and for their paired differences between two methods.

Pure functions of numpy arrays; all values are fractions. Questions are the unit of resampling.

The bootstrap of the ECE is biased upwards: the ECE takes absolute values of noisy gaps, and a
resample adds the sampling noise of the data a second time. Where the true ECE is near 0 or n is
small, the whole interval lies too high, and may lie above the estimate itself; the interval of
the trust score is too low by as much. In the paired difference of two methods the bias cancels
when both are about equally calibrated; otherwise it is larger on the better calibrated side and
draws the interval towards 0, so that a difference it excludes is excluded with care to spare.
The intervals describe the choice of questions, not the training seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from scripts.first.metrics import DEFAULT_BINS, bin_index, checked_scores

METRICS = ("ece", "accuracy", "trust")
DEFAULT_RESAMPLES = 1000

_DRAWS_PER_CHUNK = 1 << 22  # bounds the memory of one block of resamples

Scores = tuple[ArrayLike, ArrayLike]


def accuracy_interval(correct: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson interval of the accuracy of correct (n,), as fractions.

    Raises ValueError for empty or non-boolean input, and for a level outside (0, 1).
    """
    from scipy.stats import binomtest

    correct = np.asarray(correct)
    _, hits = checked_scores(np.zeros(correct.shape), correct)
    test = binomtest(int(hits.sum()), hits.size)
    low, high = test.proportion_ci(_checked_level(level), method="wilson")
    return float(low), float(high)


def bootstrap_intervals(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = DEFAULT_BINS,
    seed: int = 0,
    resamples: int = DEFAULT_RESAMPLES,
    level: float = 0.95,
) -> dict[str, list[float]]:
    """Return {"ece": [low, high], "accuracy": ..., "trust": ...}, percentile bootstrap intervals.

    confidence, correct: (n,). One set of resampled questions serves all three metrics, and the
    same arguments give the same numbers. See the module's note on the bias of the ECE.
    """
    scored = _score(confidence, correct, bins)
    rng = np.random.default_rng(seed)
    return _percentiles(_resampled(rng, [scored], resamples, bins)[0], level)


def paired_difference_interval(
    groups: Sequence[tuple[Scores, Scores]],
    bins: int = DEFAULT_BINS,
    seed: int = 0,
    resamples: int = DEFAULT_RESAMPLES,
    level: float = 0.95,
) -> dict[str, dict[str, float]]:
    """Return the difference a - b of each metric, averaged over groups, with its interval.

    groups: pairs (a, b) with a = (confidence, correct) of one method and b of the other, on the
    same questions in the same order, arrays (n,) or (runs, n). Runs of a group (seeds, or
    families asked the same questions) share the resampled questions and count equally; a and b
    share them too, which is what pairs them. Groups (other questions, for instance another
    benchmark) are resampled independently and count equally. Families with the same questions
    given as separate groups would be treated as independent, and the interval be too narrow.

    Returns {"ece": {"difference", "low", "high"}, "accuracy": ..., "trust": ...}. Raises
    ValueError for no group and for a and b of different lengths.
    """
    if not groups:
        raise ValueError("paired_difference_interval needs at least one group")
    rng = np.random.default_rng(seed)
    estimate = dict.fromkeys(METRICS, 0.0)
    draws = dict.fromkeys(METRICS, 0.0)
    for side_a, side_b in groups:
        a, b = _score(*side_a, bins), _score(*side_b, bins)
        if a[0].shape[1] != b[0].shape[1]:
            raise ValueError(
                f"the two sides differ in questions: {a[0].shape[1]} and {b[0].shape[1]}"
            )
        point_a, point_b = (_metrics(*side, None, bins) for side in (a, b))
        draws_a, draws_b = _resampled(rng, [a, b], resamples, bins)
        for metric in METRICS:
            estimate[metric] += float((point_a[metric] - point_b[metric])[0]) / len(groups)
            draws[metric] += (draws_a[metric] - draws_b[metric]) / len(groups)
    intervals = _percentiles(draws, level)
    return {
        metric: {
            "difference": estimate[metric],
            "low": intervals[metric][0],
            "high": intervals[metric][1],
        }
        for metric in METRICS
    }


_Scored = tuple[np.ndarray, np.ndarray, np.ndarray]


def _score(confidence: ArrayLike, correct: ArrayLike, bins: int) -> _Scored:
    """Return (gap, correct, bin) of shape (runs, n), gap = confidence - correct."""
    runs = [
        checked_scores(*run)
        for run in zip(np.atleast_2d(confidence), np.atleast_2d(correct), strict=True)
    ]
    if not runs:
        raise ValueError("there is no run to score")
    confidence, correct = (np.stack(column) for column in zip(*runs, strict=True))
    return confidence - correct, correct, bin_index(confidence, bins)


def _metrics(
    gap: np.ndarray, correct: np.ndarray, index: np.ndarray, chosen: np.ndarray | None, bins: int
) -> dict[str, np.ndarray]:
    """Return each metric, averaged over the runs, for each resample chosen (R, n) of questions.

    chosen=None scores the questions as they are (R = 1).
    """
    runs, n = gap.shape
    if chosen is None:
        chosen = np.arange(n)[None]
    # A bin's share of the ECE is |sum of gaps| / n: one bincount over (resample, bin) does all.
    offset = bins * np.arange(len(chosen))[:, None]
    ece = np.zeros(len(chosen))
    accuracy = np.zeros(len(chosen))
    for run in range(runs):
        cells = (index[run][chosen] + offset).ravel()
        sums = np.bincount(cells, gap[run][chosen].ravel(), minlength=bins * len(chosen))
        ece += np.abs(sums.reshape(len(chosen), bins)).sum(axis=1) / n / runs
        accuracy += correct[run][chosen].mean(axis=1) / runs
    return {"ece": ece, "accuracy": accuracy, "trust": accuracy - ece}


def _resampled(
    rng: np.random.Generator, sides: list[_Scored], resamples: int, bins: int
) -> list[dict[str, np.ndarray]]:
    """Return, for each side, the metrics (resamples,) on the SAME resampled questions."""
    if resamples < 1:
        raise ValueError(f"resamples must be positive, got {resamples}")
    n = sides[0][0].shape[1]
    block = max(1, _DRAWS_PER_CHUNK // n)
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in sides]
    for start in range(0, resamples, block):
        chosen = rng.integers(0, n, size=(min(block, resamples - start), n))
        for part, side in zip(parts, sides, strict=True):
            part.append(_metrics(*side, chosen, bins))
    return [{m: np.concatenate([block[m] for block in part]) for m in METRICS} for part in parts]


def _percentiles(draws: dict[str, np.ndarray], level: float) -> dict[str, list[float]]:
    tail = (1.0 - _checked_level(level)) / 2.0
    return {m: [float(v) for v in np.quantile(draws[m], [tail, 1.0 - tail])] for m in METRICS}


def _checked_level(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    return level
