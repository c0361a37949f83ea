"""Search for the temperature c of Eq. 4 on the validation split, and temperatures as files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from first_distill.calibration.metrics import DEFAULT_BINS, binary_nll, expected_calibration_error
from first_distill.calibration.recalibration import prob_softmax
from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.provenance import records

# Grids in integer hundredths: 0.1 + 0.02 * 3 is not the float 0.16, and c names files and ties.
COARSE_GRID = tuple(range(10, 101, 10))
REFINE_RADIUS, REFINE_STEP = 10, 2
LOWEST, HIGHEST = REFINE_STEP, 100
FITS = ("nll", "ece")  # what a post-hoc temperature minimises on the validation split
TIE_DIGITS = 12  # values that differ by less are rounding noise, hence a tie


@dataclass(frozen=True)
class TemperatureSearch:
    """Rows of :func:`temperature_curve`: both whole curves, by ascending c, and the chosen one.

    ``at_edge`` is True where the chosen c is the end of all that can be searched (0.02 or 1.0), so
    that a better one may lie beyond.
    """

    best: dict[str, float]
    coarse_c: float
    at_edge: bool
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
    rows = []
    for c in grid:
        confidence = prob_softmax(p, c).max(axis=1)
        rows.append(
            {
                "c": float(c),
                "ece": expected_calibration_error(confidence, correct, bins),
                "nll": binary_nll(confidence, correct),
                "accuracy": float(np.mean(correct)),
                "confidence": float(confidence.mean()),
                "n": confidence.size,
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
    fine_grid = (h / 100 for h in window if LOWEST <= h <= HIGHEST)
    refined = temperature_curve(p, correct, fine_grid, bins)
    best = _best(refined)
    at_edge = round(100 * best["c"]) in (LOWEST, HIGHEST)
    return TemperatureSearch(best, centre / 100, at_edge, coarse, refined)


def read_posthoc(path: str | Path) -> dict[str, float]:
    """{nll, ece}: the positive post-hoc temperatures of a validation.json; UserError without."""
    content = read_json(records.verified(path))
    found = content.get("posthoc_temperatures") if isinstance(content, dict) else None
    values = [found.get(fit) for fit in FITS] if isinstance(found, dict) else [None]
    if not all(isinstance(value, int | float) and value > 0 for value in values):
        raise UserError(f"no posthoc_temperatures: {path}: name a model's validation.json")
    return dict(zip(FITS, map(float, values), strict=True))


def _best(rows: list[dict[str, float]]) -> dict[str, float]:
    return min(
        rows, key=lambda r: (round(r["ece"], TIE_DIGITS), round(r["nll"], TIE_DIGITS), -r["c"])
    )


def read_temperature(word: str, what: str) -> dict:
    """Return {c, at_edge} of the option `what`: a number (at_edge None) or a selected.json.

    Raises UserError for anything else, and for a c outside (0, 1].
    """
    found: dict = {"at_edge": None}
    if word.endswith(".json"):
        found |= records.read(word)
    else:
        with contextlib.suppress(ValueError):
            found["c"] = float(word)
    if not (isinstance(c := found.get("c"), float) and 0 < c <= 1):
        raise UserError(f"not a c: {what} {word}: give a number in (0, 1] or a selected.json")
    return {"c": c, "at_edge": found["at_edge"]}
