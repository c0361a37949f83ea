"""Intervals and p-values of accuracy, ECE, trust, of their means and of paired differences.

All of these are a `Statistic`: sum_j weight_j |gap_j| + linear, where a gap is one bin's signed
part of Eq. 1. Resampling questions gives the noise of its parts; every model that answers a
benchmark is resampled with the *same* questions, so that a difference keeps the pairing.

An absolute value has no standard error near 0: noise pushes the ECE of a calibrated model up by two
to four points, and an interval around what was measured excludes the truth. So an interval is the
set of values that a test does not reject. To test a value, the gaps are moved until the statistic
has it, the resampled noise is added to *them*, and what was measured is compared with what then
comes out. Gaps move the more, the less they stand out of their noise: a value below what was
measured is tested where noise pushes most, one above it where noise pushes least. `debiased` is the
value under which one would measure more or less with equal probability.

Several units (training seeds of one model, families) are a sample of further ones: the error of
their mean, times the quantile of t, adds in squares to that of the questions. (With the degrees of
freedom of Welch and Satterthwaite two seeds that happen to agree would count as certain.) What the
questions add to the spread of the units is counted twice, so that intervals are wide rather than
narrow. docs/coverage.md has the coverage in simulations.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from scripts.first.calibration import metrics
from scripts.first.calibration.metrics import DEFAULT_BINS as BINS

RESAMPLES = 1000
SEED = 20240819
LEVEL = 0.95
DRAWS_AT_ONCE = 100  # as many as stay in a processor's cache
LOWEST = dict.fromkeys(  # of metrics in percent; others have -100
    ("ece", "ece_15", "ece_candidates", "accuracy", "confidence", "nll", "brier"), 0.0
)
SURE = 7.0  # standard errors; p-values below 1e-11 are 0
NOTHING = 1e-9  # points; rounding of equal numbers
FARTHEST = 2.0**40  # a step at which nothing is left to shrink
# By simulation, as is the root in `moved`: the linear part's share of a move, a gap's least share.
LINEAR_SHARE = 0.5
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Statistic:
    """sum_j weight_j |gap_j| + linear, in percent, and how resampled questions move its parts.

    gaps, weights: (J,); gap_noise: (R, J); linear_noise: (R,).
    """

    gaps: np.ndarray
    weights: np.ndarray
    gap_noise: np.ndarray
    linear: float
    linear_noise: np.ndarray

    @cached_property
    def value(self) -> float:
        """The statistic on the questions themselves."""
        return float(self.weights @ np.abs(self.gaps)) + self.linear

    @cached_property
    def directions(self) -> tuple[np.ndarray, np.ndarray, float]:
        """How lengths of gaps move with the statistic, their errors (J,), variance of the rest.

        The first are covariances of the resampled gaps with their part of the statistic, and at
        least a share of what they are without the other gaps: so each raises the statistic.
        """
        signs, errors = np.copysign(1.0, self.gaps), self.gap_noise.std(axis=0)
        part = self.gap_noise @ (self.weights * signs)
        along = signs * (part @ self.gap_noise) / len(part)
        sides, alone = np.sign(self.weights), np.abs(self.weights) * errors**2
        along = sides * np.maximum(sides * along, LEAST_SHARE * alone)
        return along, errors, float(self.linear_noise.var())

    @cached_property
    def slope(self) -> float:
        """How the variance of what is measured changes with the truth, as a mean's of answers does.

        Third moment over variance: the variance of a share is p (1 - p) / n, its slope
        (1 - 2p) / n, as for all natural exponential families.
        """
        whole = self.gap_noise @ (self.weights * np.copysign(1.0, self.gaps)) + self.linear_noise
        variance = float(whole.var())
        return float((whole**3).mean()) / variance if variance > NOTHING**2 else 0.0

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
        linear = self.linear + LINEAR_SHARE * step * (linear_variance + spread)
        measured = np.abs(np.copysign(size, self.gaps) + self.gap_noise) @ self.weights
        return float(self.weights @ size) + linear, measured + linear + self.linear_noise


def combine(parts: Sequence[tuple[float, Statistic]]) -> Statistic:
    """Return the sum of factor * statistic."""
    return Statistic(
        np.concatenate([own.gaps for _, own in parts]),
        np.concatenate([factor * own.weights for factor, own in parts]),
        np.concatenate([own.gap_noise for _, own in parts], axis=1),
        sum(factor * own.linear for factor, own in parts),
        np.sum([factor * own.linear_noise for factor, own in parts], axis=0),
    )


def mean(parts: Sequence[Statistic]) -> Statistic:
    """Return the mean of statistics."""
    return combine([(1 / len(parts), own) for own in parts])


@dataclass(frozen=True)
class Estimate:
    """The mean of some units' statistics, as an estimate for further units and questions."""

    units: Sequence[Statistic]

    @cached_property
    def mean(self) -> Statistic:
        """The mean over the units."""
        return mean(self.units)

    @property
    def value(self) -> float:
        """What was measured."""
        return self.mean.value

    @cached_property
    def spread(self) -> float:
        """Variance of the mean that the units show; 0 for one unit, which shows none."""
        values = [own.value for own in self.units]
        return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0

    def truth(self, step: float) -> tuple[float, np.ndarray]:
        """`Statistic.moved` of the mean."""
        return self.mean.moved(step, self.spread)

    def distance(self, step: float, z: float) -> float:
        """How far what was measured lies above the quantile of another truth's measurements.

        z: that quantile's of the normal distribution. The units' part of the error has the quantile
        of t instead, and the skewness of what would be measured adds Cornish and Fisher's term.
        """
        truth, measured = self.truth(step)
        expected, questions = float(measured.mean()), float(measured.var())
        third = float(((measured - expected) ** 3).mean())
        skew = (z**2 - 1) * third / (6 * questions) if questions > NOTHING**2 else 0.0
        questions = max(questions + self.mean.slope * (truth - self.value), questions / 4)
        units = self.spread * (stdtrit(len(self.units) - 1, ndtr(z)) ** 2 if self.spread else 0.0)
        quantile = math.copysign(math.sqrt(questions * z**2 + units), z) + skew
        return self.value - expected - quantile

    def end(self, level: float) -> float:
        """The truth of which one would measure less than was measured with probability `level`."""
        z = float(ndtri(level))
        near = self.distance(0.0, z)
        if not self.noisy or abs(near) < NOTHING:
            return self.value
        far = self.reach(lambda step: self.distance(step, z) * near <= 0, math.copysign(1.0, near))
        if far is None:  # gaps that can only shrink are all 0
            return self.truth(math.copysign(FARTHEST, near))[0]
        step = brentq(self.distance, 0.0, far, args=(z,), xtol=1e-9, rtol=1e-5)
        return self.truth(float(step))[0]

    @property
    def noisy(self) -> bool:
        """Whether there is anything that moves."""
        _, errors, linear = self.mean.directions
        return bool(errors.any() or linear or self.spread)

    def reach(self, there, direction: float) -> float | None:
        """The first step of direction * 1, 2, 4, ... at which `there` holds; None if none does."""
        step = direction
        while not there(step):
            step *= 2
            if abs(step) > FARTHEST:
                return None
        return step

    def interval(self, lowest: float = -100.0, highest: float = 100.0) -> dict[str, float]:
        """Return value, low and high; the ends are within [lowest, highest] and hold the value."""
        low = min(self.end((1 + LEVEL) / 2), self.value)
        high = max(self.end((1 - LEVEL) / 2), self.value)
        return {"value": self.value, "low": max(low, lowest), "high": min(high, highest)}

    def summary(self, lowest: float = -100.0, highest: float = 100.0) -> dict[str, float]:
        """Return value, low, high and debiased, all but the value within [lowest, highest]."""
        middle = min(max(self.end(0.5), lowest), highest)
        return {**self.interval(lowest, highest), "debiased": middle}

    def p_value(self, threshold: float = 0.0) -> float:
        """Two-sided p-value of the hypothesis that the truth is the threshold."""

        def above(step: float) -> float:
            return self.truth(step)[0] - threshold

        near, step = above(0.0), 0.0
        if not self.noisy:
            return float(abs(near) < NOTHING)
        if abs(near) > NOTHING:
            far = self.reach(lambda step: above(step) * near <= 0, -math.copysign(1.0, near))
            if far is None:  # no truth is the threshold: an ECE below 0
                return 0.0
            step = float(brentq(above, 0.0, far, xtol=1e-9, rtol=1e-9))
        if abs(self.distance(step, 0.0)) < NOTHING:
            return 1.0
        ends = [self.distance(step, z) for z in (-SURE, SURE)]
        if min(ends) > 0 or max(ends) < 0:
            return 0.0
        z = brentq(lambda z: self.distance(step, z), -SURE, SURE, xtol=1e-6)
        return float(2 * ndtr(-abs(z)))


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
    return Statistic(
        none, none, np.zeros((len(weights), 0)), float(parts.mean()), noise(parts, weights)
    )


def ece_statistic(gaps: np.ndarray, index: np.ndarray, bins: int, weights: np.ndarray) -> Statistic:
    """Return sum over bins of |mean over all questions of the gaps in the bin|.

    gaps: (n,) confidence - correct, percent; index: (n,) the bin of each; weights: (R, n).
    """
    parts = np.zeros((len(gaps), bins))
    parts[np.arange(len(gaps)), index] = gaps
    still = np.zeros(len(weights))
    return Statistic(parts.mean(axis=0), np.ones(bins), noise(parts, weights), 0.0, still)


def score(
    confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray, bins: int = BINS
) -> dict[str, Statistic]:
    """Return ece, accuracy, trust, confidence (mean) and gap = confidence - accuracy of a model.

    gap is positive for an over-confident model. confidence, correct: (n,); weights: those of the
    questions, (R, n). Raises ValueError for what the metrics refuse.
    """
    confidence, correct = metrics.checked_scores(confidence, correct)
    index = metrics.bin_index(confidence, bins)
    confidence, correct = 100 * confidence, 100 * correct
    ece = ece_statistic(confidence - correct, index, bins, weights)
    accuracy = mean_statistic(correct, weights)
    return {
        "ece": ece,
        "accuracy": accuracy,
        "trust": combine([(1.0, accuracy), (-1.0, ece)]),
        "confidence": mean_statistic(confidence, weights),
        "gap": mean_statistic(confidence - correct, weights),
    }
