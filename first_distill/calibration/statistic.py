"""Accuracy, ECE, trust, their means and differences, and how resampled questions move them.

All of these are a `Statistic`: sum_j (weight_j |gap_j| + signed_j gap_j) + linear, where a gap is
one bin's signed part of Eq. 1. The gaps of a model add up to its confidence less its accuracy, so
trust is confidence - sum_j (|gap_j| + gap_j): only over-confident bins cost any. Resampling
questions gives the noise of the parts; every model that answers a benchmark is resampled with the
*same* questions, so that a difference keeps the pairing.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from first_distill.calibration import metrics
from first_distill.calibration.metrics import DEFAULT_BINS as BINS

RESAMPLES = 1000
SEED = 20240819
DRAWS_AT_ONCE = 100  # as many as stay in a processor's cache
NOTHING = 1e-9  # points; rounding of equal numbers
# By simulation, as is the root in `moved`: the linear part's share of a move, a gap's least share,
# that of a gap which weighs nothing with its sign, and below how many standard errors the sign of a
# gap is not known.
LINEAR_SHARE = 0.5
LEAST_SHARE = 0.1
FREE_SHARE = 0.4
UNSIGNED = 1.0


@dataclass(frozen=True)
class Statistic:
    """sum_j (weight_j |gap_j| + signed_j gap_j) + linear, in percent, and its parts' noise.

    gaps, weights, signed: (J,); gap_noise: (R, J); linear_noise: (R,): how resampled questions move
    gaps and linear. share: whether it is a mean of one model's answers, as an accuracy is.
    """

    gaps: np.ndarray
    weights: np.ndarray
    gap_noise: np.ndarray
    linear: float
    linear_noise: np.ndarray
    signed: np.ndarray | float = 0.0
    share: bool = False

    @cached_property
    def value(self) -> float:
        """The statistic on the questions themselves."""
        return float(self.of(self.gaps)) + self.linear

    def of(self, gaps: np.ndarray) -> np.ndarray:
        """The part of gaps (..., J)."""
        return np.abs(gaps) @ self.weights + gaps @ (self.signed + np.zeros_like(self.weights))

    @cached_property
    def lengths(self) -> np.ndarray:
        """What a gap's length weighs, (J,): with the sign that the gap has."""
        return self.weights + np.copysign(1.0, self.gaps) * self.signed

    def without_gaps(self) -> Statistic | None:
        """The linear part alone, where gaps can only lower the statistic; else None."""
        if (self.weights + np.abs(self.signed) > 0).any():
            return None
        none = np.zeros(0)
        return replace(self, gaps=none, weights=none, gap_noise=self.gap_noise[:, :0], signed=0.0)

    @cached_property
    def directions(self) -> tuple[np.ndarray, np.ndarray, float]:
        """How lengths of gaps move with the statistic, their errors (J,), variance of the rest.

        The first are covariances of the resampled gaps with their part of the statistic, and at
        least a share of what they are without the other gaps: so each raises the statistic. A gap
        that weighs nothing, as an under-confident bin's in trust, moves to where its noise would
        push the less, the lower the tested value is.
        """
        signs, errors = np.copysign(1.0, self.gaps), self.gap_noise.std(axis=0)
        part = self.gap_noise @ (self.lengths * signs)
        along = signs * (part @ self.gap_noise) / len(part)
        sides, alone = np.sign(self.lengths), np.abs(self.lengths) * errors**2
        along = sides * np.maximum(sides * along, LEAST_SHARE * alone)
        along = np.where(sides == 0, FREE_SHARE * self.weights * errors**2, along)
        return along, errors, float(self.linear_noise.var())

    @cached_property
    def slope(self) -> float:
        """How the variance of a share changes with the truth: third moment over variance.

        The variance of a share is p (1 - p) / n, its slope (1 - 2p) / n, as for all natural
        exponential families. That of a difference does not follow from it.
        """
        variance = float(self.linear_noise.var())
        if not self.share or variance < NOTHING**2:
            return 0.0
        return float((self.linear_noise**3).mean()) / variance

    def mirrored(self) -> Statistic:
        """The same with gaps of unknown sign on the side where their length weighs more."""
        unknown = np.abs(self.gaps) < UNSIGNED * self.gap_noise.std(axis=0)
        turn = unknown & (self.weights * self.signed * self.gaps < 0)
        return replace(self, gaps=np.where(turn, -self.gaps, self.gaps))

    def moved(self, step: float, spread: float = 0.0) -> tuple[float, np.ndarray]:
        """Another truth: its value, and what would be measured of it, (R,).

        A positive step raises the value, a negative one lowers it. A gap moves by step times its
        covariance with the statistic, over the root of its length in standard errors; the linear
        part by its variance and by that of the units (`spread`).
        """
        along, errors, linear_variance = self.directions
        size = np.abs(self.gaps)
        length = np.maximum(size / np.where(errors > 0, errors, 1.0), 0.01)
        size = np.maximum(size + step * along / np.sqrt(length), 0.0)
        gaps = np.copysign(size, self.gaps)
        linear = self.linear + LINEAR_SHARE * step * (linear_variance + spread)
        measured = self.of(gaps + self.gap_noise) + linear + self.linear_noise
        return float(self.of(gaps)) + linear, measured


def combine(parts: Sequence[tuple[float, Statistic]]) -> Statistic:
    """Return the sum of factor * statistic."""
    return Statistic(
        np.concatenate([own.gaps for _, own in parts]),
        np.concatenate([factor * own.weights for factor, own in parts]),
        np.concatenate([own.gap_noise for _, own in parts], axis=1),
        sum(factor * own.linear for factor, own in parts),
        np.sum([factor * own.linear_noise for factor, own in parts], axis=0),
        np.concatenate([factor * own.signed + np.zeros_like(own.weights) for factor, own in parts]),
        all(factor > 0 and own.share for factor, own in parts),
    )


def mean(parts: Sequence[Statistic]) -> Statistic:
    """Return the mean of statistics."""
    return combine([(1 / len(parts), own) for own in parts])


@lru_cache(maxsize=4)
def question_weights(benchmark: str, questions: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return how often each question is drawn: (resamples, questions).

    Draws come one after the other from default_rng([SEED, crc32 of the name, questions]): one
    benchmark always gets the same weights, two benchmarks get independent ones.
    """
    generator = np.random.default_rng([SEED, zlib.crc32(benchmark.encode()), questions])
    weights = np.empty((resamples, questions))
    for start in range(0, resamples, DRAWS_AT_ONCE):
        part = weights[start : start + DRAWS_AT_ONCE]
        drawn = generator.integers(0, questions, size=part.shape)
        drawn += questions * np.arange(len(part))[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    return weights


def noise(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return how the means of parts (n, ...) move when questions are resampled, (R, ...)."""
    moved = weights @ parts / len(parts)
    return moved - moved.mean(axis=0)


def mean_statistic(parts: np.ndarray, weights: np.ndarray) -> Statistic:
    """Return the mean of parts (n,); weights: those of the questions, (R, n)."""
    none = np.zeros(0)
    still = np.zeros((len(weights), 0))
    moved = noise(parts, weights)
    return Statistic(none, none, still, float(parts.mean()), moved, share=True)


def ece_statistic(
    confidence: np.ndarray, correct: np.ndarray, bins: int, weights: np.ndarray
) -> Statistic:
    """Return the ECE of confidence and correct (n,), in [0, 1]; weights: (R, n).

    A gap's noise is at least that of calibrated answers of the same confidences: a bin that
    happens to have no error would have none.
    """
    n, index = len(confidence), metrics.bin_index(confidence, bins)
    parts = np.zeros((n, bins))
    parts[np.arange(n), index] = 100 * (confidence - correct)
    moved = noise(parts, weights)
    errors = moved.std(axis=0)
    least = 100 * np.sqrt(np.bincount(index, confidence * (1 - confidence), bins)) / n
    moved *= np.maximum(least / np.where(errors > 0, errors, np.inf), 1.0)
    return Statistic(parts.mean(axis=0), np.ones(bins), moved, 0.0, np.zeros(len(weights)))


def score(
    confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray, bins: int = BINS
) -> dict[str, Statistic]:
    """Return ece, accuracy, trust, confidence (mean) and gap = confidence - accuracy of a model.

    gap is positive for an over-confident model. confidence, correct: (n,); weights: those of the
    questions, (R, n). Raises ValueError for what the metrics refuse.
    """
    confidence, correct = metrics.checked_scores(confidence, correct)
    ece = ece_statistic(confidence, correct, bins, weights)
    confidence, correct = 100 * confidence, 100 * correct
    level, less = mean_statistic(confidence, weights), -np.ones(bins)
    return {
        "ece": ece,
        "accuracy": mean_statistic(correct, weights),
        "trust": combine([(1.0, level), (1.0, replace(ece, weights=less, signed=less))]),
        "confidence": level,
        "gap": mean_statistic(confidence - correct, weights),
    }
