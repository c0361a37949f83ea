"""Bootstrap over questions, for one model, for the mean over its seeds, and for paired differences.

Every model that answers a benchmark is resampled with the *same* question weights, so that the
difference of two models keeps the pairing by question (and the seeds of one model keep theirs).

Intervals are centred: the draws' quantiles, shifted so that the draws' mean falls on the estimate.
Resampling adds the sampling noise a second time, which pushes the ECE (a sum of absolute values) up
by a point or more where a model is calibrated; the plain percentile interval would then exclude the
number it belongs to, the more so for means over many cells. What is left is the estimate's own
upward bias, largest for the best calibrated model: differences in ECE are understated, not
exaggerated.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scripts.first.calibration import metrics
from scripts.first.calibration.metrics import DEFAULT_BINS as BINS

RESAMPLES = 2000
SEED = 20240819
LEVEL = 0.95
DRAWS_AT_ONCE = 100  # as many as stay in a processor's cache


@dataclass(frozen=True)
class Scores:
    """Metrics in percent, each (1 + resamples,): on the questions, then on resampled ones.

    Metrics: ece, accuracy, trust, confidence (mean) and gap = confidence - accuracy (positive:
    over-confident).
    """

    columns: dict[str, np.ndarray]

    @property
    def value(self) -> dict[str, float]:
        """Each metric on the questions themselves."""
        return {name: float(column[0]) for name, column in self.columns.items()}

    def minus(self, other: Scores) -> Scores:
        """Return the paired difference self - other, metric by metric."""
        return Scores({name: own - other.columns[name] for name, own in self.columns.items()})

    def summary(self, name: str) -> dict[str, float]:
        """Return value, low and high of one metric."""
        low, high = interval(self.value[name], self.columns[name][1:])
        return {"value": self.value[name], "low": low, "high": high}


@lru_cache(maxsize=4)
def question_weights(benchmark: str, questions: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return how often each question is drawn: (1 + resamples, questions), row 0 is all ones.

    Draws come one after the other from default_rng([SEED, crc32 of the name, questions]): one
    benchmark always gets the same weights, two benchmarks get independent ones.
    """
    generator = np.random.default_rng([SEED, zlib.crc32(benchmark.encode()), questions])
    weights = np.ones((1 + resamples, questions))
    for start in range(1, 1 + resamples, DRAWS_AT_ONCE):
        part = weights[start : start + DRAWS_AT_ONCE]
        drawn = generator.integers(0, questions, size=part.shape)
        drawn += questions * np.arange(len(part))[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    return weights


def score(
    confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray, bins: int = BINS
) -> Scores:
    """Return the metrics of one model under the question weights (draws, n).

    confidence, correct: (n,); raises ValueError for what the metrics refuse.
    """
    confidence, correct = metrics.checked_scores(confidence, correct)
    total, index = weights.sum(axis=1), metrics.bin_index(confidence, bins)
    ece = 100 * metrics.weighted_gaps(confidence - correct, index, bins, weights)
    accuracy = 100 * (weights @ correct) / total
    mean_confidence = 100 * (weights @ confidence) / total
    return Scores(
        {
            "ece": ece,
            "accuracy": accuracy,
            "trust": metrics.trust_score(accuracy, ece),
            "confidence": mean_confidence,
            "gap": mean_confidence - accuracy,
        }
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Return the mean of several scores (seeds, families or columns), draw by draw."""
    return Scores(
        {name: np.mean([s.columns[name] for s in scores], axis=0) for name in scores[0].columns}
    )


def interval(value: float, draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the centred percentile interval of `value` from its bootstrap draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    shift = value - draws.mean()
    return float(low + shift), float(high + shift)
