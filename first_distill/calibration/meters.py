"""Meters without bins: smooth ECE, AUROC, the risk-coverage curve and its area (AURC).

Pure functions of numpy arrays in float64. Every meter is a fraction, not a percentage, and does not
depend on the order of the questions.
"""

from __future__ import annotations

import numpy as np
import pandas
from numpy.typing import ArrayLike
from scipy.fft import dct
from scipy.optimize import brentq

from first_distill.calibration.metrics import checked_scores

GRID = 8192  # intervals of [0, 1] in which residuals are smoothed
NARROWEST, WIDEST = 1e-3, 2.0  # bandwidths; the narrowest is eight intervals of the grid


def smooth_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, bandwidth: float | None = None
) -> float:
    """Smooth ECE (Błasiok and Nakkiran, 2023): the integral of |residuals, smoothed| over [0, 1].

    The kernel is a Gaussian reflected at 0 and 1. Its bandwidth is, by default, the one that equals
    the smooth ECE, which falls as the bandwidth grows (arXiv 2309.12236). confidence: (n,),
    correct: (n,) booleans. Returns a fraction in [0, 1].

    This is the definition; the authors' relplot cuts the Gaussian at 0.5, and gives a confidence of
    exactly 0 or 1 half the weight of any other.
    """
    waves = _residual_waves(confidence, correct)
    if bandwidth is not None:
        return _smoothed(waves, bandwidth)
    if _smoothed(waves, NARROWEST) <= NARROWEST:
        return _smoothed(waves, NARROWEST)
    return float(brentq(lambda width: _smoothed(waves, width) - width, NARROWEST, WIDEST))


def _residual_waves(confidence: ArrayLike, correct: ArrayLike) -> np.ndarray:
    """Mean over questions of (correct - confidence) cos(pi k confidence), k = 0 .. GRID.

    A residual is shared between the two grid points beside its confidence, as relplot does.
    """
    confidence, correct = checked_scores(confidence, correct)
    residual = (correct - confidence) / confidence.size
    below = np.minimum((confidence * GRID).astype(int), GRID - 1)
    above = confidence * GRID - below  # share of the upper point
    values = np.bincount(below, (1 - above) * residual, GRID + 1)
    values += np.bincount(below + 1, above * residual, GRID + 1)
    values[[0, -1]] *= 2  # DCT-I halves its ends
    return dct(values, type=1) / 2


def _smoothed(waves: np.ndarray, bandwidth: float) -> float:
    """Integral over [0, 1] of |residuals smoothed with one bandwidth|.

    Reflection at both ends makes the cosines the kernel's eigenfunctions, and the Gaussian's
    Fourier transform its eigenvalues.
    """
    damping = np.exp(-((np.pi * bandwidth * np.arange(GRID + 1)) ** 2) / 2)
    return float(np.trapezoid(np.abs(dct(damping * waves, type=1)), dx=1 / GRID))


def auroc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the ROC curve of confidence as a detector of right answers; a tie counts half.

    The probability that a right answer has more confidence than a wrong one. confidence: (n,),
    correct: (n,) booleans. NaN where all answers are right or all are wrong.
    """
    confidence, correct = checked_scores(confidence, correct)
    right, wrong = correct.sum(), (1 - correct).sum()
    if not right or not wrong:
        return float("nan")
    ranks = pandas.Series(confidence).rank().to_numpy()  # ties: the middle rank
    return float((ranks[correct == 1].sum() - right * (right + 1) / 2) / (right * wrong))


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> np.ndarray:
    """Share of wrong answers among the i most confident, i = 1 .. n (El-Yaniv and Wiener, 2010).

    confidence: (n,), correct: (n,) booleans. Questions of equal confidence count by their mean,
    which is the expectation over their random order. Returns fractions (n,) for the coverages i/n.
    """
    confidence, correct = checked_scores(confidence, correct)
    _, group, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, 1 - correct) / counts
    return np.cumsum(np.repeat(wrong, counts)) / np.arange(1, correct.size + 1)


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the risk-coverage curve: its mean over the coverages 1/n .. 1, a fraction."""
    return float(risk_coverage(confidence, correct).mean())


def excess_aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """AURC above that of the best order, all right answers first (Geifman et al., 2019).

    What is left is the order of the questions: the AURC itself also counts the errors.
    """
    return aurc(confidence, correct) - aurc(correct, correct)
