"""Intervals and p-values of accuracy, ECE, trust, of their means and of paired differences.

An absolute value has no standard error near 0: noise pushes the ECE of a calibrated model up by two
to four points, and an interval around what was measured excludes the truth. So an interval is the
set of values that a test does not reject. To test a value, the gaps are moved until the statistic
has it, the resampled noise is added to *them*, and what was measured is compared with what then
comes out. Gaps move the more, the less they stand out of their noise: a value below what was
measured is tested where noise pushes most, one above it where noise pushes least. The sign of a gap
within its noise is not known either: trust moves little with one sign and twice as much with the
other, so both are tried. `debiased` is the value under which one would measure more or less with
equal probability.

Several units (training seeds of one model, families) are a sample of further ones: the error of
their mean, times the quantile of t, adds in squares to that of the questions. (With the degrees of
freedom of Welch and Satterthwaite two seeds that happen to agree would count as certain.) What the
questions add to the spread of the units is counted twice, so that intervals are wide rather than
narrow. docs/coverage.md has the coverage in simulations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from first_distill.calibration.statistic import NOTHING, Statistic, mean

LEVEL = 0.95
LOWEST = dict.fromkeys(  # of metrics in percent; others have -100
    ("ece", "ece_15", "ece_candidates", "accuracy", "confidence", "nll", "brier"), 0.0
)
SURE = 7.0  # standard errors; p-values below 1e-11 are 0
FARTHEST = 2.0**40  # a step at which nothing is left to shrink


@dataclass(frozen=True)
class Estimate:
    """The mean of some units' statistics, as an estimate for further units and questions."""

    units: Sequence[Statistic]
    mirrored: bool = False  # whether signs that are not known are the other ones

    @cached_property
    def mean(self) -> Statistic:
        """The mean over the units."""
        return mean(self.units).mirrored() if self.mirrored else mean(self.units)

    @cached_property
    def sides(self) -> Sequence[Estimate]:
        """Both choices of the signs that are not known, where that makes a difference."""
        other = replace(self, mirrored=True)
        return (self, other) if (other.mean.gaps != self.mean.gaps).any() else (self,)

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
        of t instead, and the skewness of what would be measured adds Cornish and Fisher's term,
        bounded so that the quantile rises with z everywhere.
        """
        truth, measured = self.truth(step)
        expected, questions = float(measured.mean()), float(measured.var())
        third = float((measured - expected) @ (measured - expected) ** 2) / len(measured)
        shape = third / (6 * questions) if questions > NOTHING**2 else 0.0
        questions = max(questions + self.mean.slope * (truth - self.value), questions / 4)
        limit = math.sqrt(questions) / 4
        skew = (min(z**2, 4.0) - 1) * min(max(shape, -limit), limit)
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
        """Return value, low and high; the ends are within [lowest, highest] and hold the value.

        Trust is at most the confidence, and its upper end at most that of the confidence.
        """
        low = min(self.value, *(own.end((1 + LEVEL) / 2) for own in self.sides))
        high = max(self.value, *(own.end((1 - LEVEL) / 2) for own in self.sides))
        if all(alone := [own.without_gaps() for own in self.units]) and self.mean.gaps.size:
            highest = min(highest, max(self.value, Estimate(alone).end((1 - LEVEL) / 2)))
        return {"value": self.value, "low": max(low, lowest), "high": min(high, highest)}

    def summary(self, lowest: float = -100.0, highest: float = 100.0) -> dict[str, float]:
        """Return value, low, high and debiased, all but the value within [lowest, highest]."""
        own = self.interval(lowest, highest)
        return {**own, "debiased": min(max(self.end(0.5), own["low"]), own["high"])}

    def p_value(self, threshold: float = 0.0) -> float:
        """Two-sided p-value of the hypothesis that the truth is the threshold."""
        return max(own.p_of_side(threshold) for own in self.sides)

    def p_of_side(self, threshold: float) -> float:
        """`p_value` for one choice of the signs."""

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
