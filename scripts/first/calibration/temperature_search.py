"""Search for the temperature c of Eq. 4 on the validation split.

Works on numpy arrays of the stored top-k probabilities. Reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from scripts.first.calibration.metrics import (
    DEFAULT_BINS,
    binary_nll,
    checked_scores,
    expected_calibration_error,
)
from scripts.first.calibration.recalibration import prob_softmax

# Grids in integer hundredths: 0.1 + 0.02 * 3 is not the float 0.16, and c names files and ties.
COARSE_GRID = tuple(range(10, 101, 10))
REFINE_RADIUS, REFINE_STEP = 10, 2
LOWEST, HIGHEST = REFINE_STEP, 100

_TIE_DIGITS = 12  # values that differ by less are rounding noise, hence a tie


@dataclass(frozen=True)
class TemperatureSearch:
    """What the search found: the chosen ``c``, its row, and both whole curves.

    ``coarse`` and ``refined`` are the rows of :func:`temperature_curve`, by ascending c;
    ``at_edge`` is True where c is the end of all that can be searched (0.02 or 1.0), so that a
    better one may lie beyond.
    """

    c: float
    coarse_c: float
    at_edge: bool
    best: dict[str, float]
    coarse: list[dict[str, float]]
    refined: list[dict[str, float]]


def temperature_curve(
    p: ArrayLike, correct: ArrayLike, grid: Iterable[float], bins: int = DEFAULT_BINS
) -> list[dict[str, float]]:
    """Return one row for each c of grid: c, ece, nll, accuracy, confidence (fractions) and n.

    p: (n, k) top-k probabilities of the teacher at the scored positions; correct: (n,) whether
    its top-1 token is the gold one. The confidence is that of the target, max_i q(i) with q = Eq. 4
    of p; nll is the binary one of (confidence, correct). Raises ValueError for empty or unequal
    input and for values that are not probabilities.
    """
    # By rank: numpy reduces k long columns several times faster than n short rows.
    p = np.asarray(p, dtype=np.float64, order="F")
    if p.ndim != 2 or p.size == 0:
        raise ValueError(f"p must be (n, k) probabilities, not empty, got shape {p.shape}")
    rows = []
    for c in grid:
        confidence, hits = checked_scores(prob_softmax(p, c).max(axis=1), correct)
        rows.append(
            {
                "c": float(c),
                "ece": expected_calibration_error(confidence, hits, bins),
                "nll": binary_nll(confidence, hits),
                "accuracy": float(hits.mean()),
                "confidence": float(confidence.mean()),
                "n": int(hits.size),
            }
        )
    return rows


def search_temperature(
    p: ArrayLike, correct: ArrayLike, bins: int = DEFAULT_BINS
) -> TemperatureSearch:
    """Choose c by the procedure of the paper (section 5.5): lowest ECE, coarse, then refined.

    The coarse grid is 0.1, 0.2, ..., 1.0; the refined one has steps of 0.02 in
    [coarse_c - 0.1, coarse_c + 0.1], clipped to (0, 1]. Ties of the ECE go to the lower binary
    NLL, then to the larger c. Arguments and errors are those of :func:`temperature_curve`.
    """
    coarse = temperature_curve(p, correct, (h / 100 for h in COARSE_GRID), bins)
    centre = round(100 * _best(coarse)["c"])
    window = range(centre - REFINE_RADIUS, centre + REFINE_RADIUS + 1, REFINE_STEP)
    refined = temperature_curve(
        p, correct, (h / 100 for h in window if LOWEST <= h <= HIGHEST), bins
    )
    best = _best(refined)
    return TemperatureSearch(
        c=best["c"],
        coarse_c=centre / 100,
        at_edge=round(100 * best["c"]) in (LOWEST, HIGHEST),
        best=best,
        coarse=coarse,
        refined=refined,
    )


def _best(rows: list[dict[str, float]]) -> dict[str, float]:
    return min(
        rows, key=lambda r: (round(r["ece"], _TIE_DIGITS), round(r["nll"], _TIE_DIGITS), -r["c"])
    )
