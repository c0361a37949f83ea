"""What the claims are judged on: resampled scores of every cell, compared over cells and families.

A family is one pretraining run, so there are few of them and they differ: an interval over
questions says nothing about the next family. A verdict over families therefore needs both the
interval over questions and the same sign in every family; the t interval over family means is
reported beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.first.calibration.intervals import Scores, mean_scores
from scripts.first.reporting.names import UNTUNED, dataset_name, family_name, method_name
from scripts.first.reporting.runs import Run, score_runs

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
Column = tuple[str, str, str]  # setting, corpus, benchmark
DIGITS = 6


@dataclass(frozen=True)
class Place:
    """One column of Table 1 in one family."""

    family: str
    column: Column

    @property
    def label(self) -> dict[str, str]:
        """family, setting, corpus, benchmark."""
        names = ("setting", "corpus", "benchmark")
        return {"family": self.family, **dict(zip(names, self.column, strict=True))}


class Evidence:
    """Scores by family, column and method, and why some of them cannot decide anything."""

    def __init__(self, groups: dict, places: Sequence[Place], edges: set[tuple[str, str]]):
        """groups: from load_runs; edges: (family, corpus) whose c lies at the grid's edge."""
        self.groups: dict[tuple[str, str, str, str], list[Run]] = groups
        self.places = list(places)
        self.edges = edges
        self._scores: dict[tuple, Scores] = {}

    def runs(self, place: Place, method: str) -> list[Run] | None:
        """Return the seeds of a method at a place, None where it was not evaluated."""
        _, corpus, benchmark = place.column
        corpus = "none" if method in UNTUNED else corpus
        return self.groups.get((place.family, corpus, method, benchmark))

    def score(self, place: Place, method: str) -> Scores:
        """Return the resampled scores, mean over seeds."""
        runs = self.runs(place, method)
        key = runs[0].key
        if key not in self._scores:
            self._scores[key] = score_runs(runs)
        return self._scores[key]

    def questions(self, place: Place, method: str) -> int:
        """Return n of the benchmark."""
        return len(self.runs(place, method)[0].ids)

    def obstacle(self, place: Place, methods: Sequence[str]) -> str | None:
        """Return why a place cannot decide a claim on these methods, None when it can."""
        for method in methods:
            metrics = [run.metrics for run in self.runs(place, method)]
            floor = max(max(m["chance"], m["majority"]) for m in metrics)
            if any(m["constant_output"] for m in metrics):
                return f"{method_name(method)} gives one answer to every question"
            if self.score(place, method).summary("accuracy")["low"] <= floor:
                return f"{method_name(method)} is not above the chance and majority lines"
        if "first_ts" in methods and (place.family, place.column[1]) in self.edges:
            return "the chosen c lies at the edge of the grid"
        return None


def decide(low: float, high: float, threshold: float, above: bool) -> str:
    """Return the verdict on `value > threshold` (or <) from an interval; straddling: undecided."""
    if low > threshold:
        return HOLDS if above else FAILS
    if high < threshold:
        return FAILS if above else HOLDS
    return UNDECIDED


def combine(verdicts: Sequence[str]) -> str:
    """Return `holds` when all hold, `does not hold` when one does not, else `undecided`."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if verdicts and all(v == HOLDS for v in verdicts) else UNDECIDED


def judge(
    evidence: Evidence,
    places: Sequence[Place],
    methods: Sequence[str],
    metric: str,
    above: bool,
    threshold: float = 0.0,
    tested: Sequence[str] | None = None,
) -> dict:
    """Return numbers and verdict of: metric of methods[0] (minus that of methods[1]) > threshold.

    `above=False` asks for <. Undecided when the interval straddles the threshold, when a family's
    mean lies on the other side, and when at least half of the places cannot decide because one of
    `tested` (default: all methods) is at the chance level there, or c at the grid's edge. Such
    places are left out of the pooled number; `all_cells` holds it with them.
    """
    places = list(places)
    missing = [m for m in methods if any(evidence.runs(p, m) is None for p in places)]
    if missing or not places:
        what = ", ".join(map(method_name, missing)) if missing else "these columns"
        return {"verdict": UNDECIDED, "reason": f"{what} not evaluated", "numbers": {}}

    def score(place: Place) -> Scores:
        first = evidence.score(place, methods[0])
        return first.minus(evidence.score(place, methods[1])) if len(methods) > 1 else first

    cells, blocked, free = [], [], []
    for place in places:
        numbers = _rounded(score(place).summary(metric))
        obstacle = evidence.obstacle(place, tested or methods)
        verdict = decide(numbers["low"], numbers["high"], threshold, above)
        cell = {**place.label, "n": evidence.questions(place, methods[0]), **numbers}
        if len(methods) == 1:
            cell |= {"ece": round(score(place).value["ece"], DIGITS)}
        cells.append({**cell, "verdict": UNDECIDED if obstacle else verdict, "obstacle": obstacle})
        (blocked if obstacle else free).append(obstacle or place)
    # Cells that cannot decide by themselves have no say in the verdict over cells either.
    pooled = _pooled(free or places, score, metric)
    everything = {k: v for k, v in _pooled(places, score, metric).items() if k != "per_family"}
    numbers = {
        **pooled,
        "cells_counted": len(free),
        "all_cells": everything,
        "unit": "percentage points",
        "threshold": threshold,
        "cells": cells,
    }
    verdict, reason = _verdict(pooled, threshold, above, blocked, len(places))
    return {"verdict": verdict, "reason": reason, "numbers": numbers}


def _pooled(places: list[Place], score: Callable[[Place], Scores], metric: str) -> dict:
    families = list(dict.fromkeys(place.family for place in places))
    summary = mean_scores([score(place) for place in places]).summary(metric)
    means = {
        family: float(np.mean([score(p).value[metric] for p in places if p.family == family]))
        for family in families
    }
    out: dict = {**_rounded(summary), "per_family": _rounded(means)}
    out["t_interval_over_families"] = None
    if len(families) > 1:
        from scipy.stats import t

        values = np.asarray(list(means.values()))
        half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        ends = (values.mean() - half, values.mean() + half)
        out["t_interval_over_families"] = [round(float(end), DIGITS) for end in ends]
    return out


def _verdict(
    pooled: dict, threshold: float, above: bool, blocked: list[str], places: int
) -> tuple[str, str]:
    means = list(pooled["per_family"].values())
    wanted = sum((mean > threshold) if above else (mean < threshold) for mean in means)
    signs = f"{wanted} of {len(means)} families on the claimed side"
    if 2 * len(blocked) >= places:
        common = max(dict.fromkeys(blocked), key=blocked.count)
        return UNDECIDED, f"{len(blocked)} of {places} cells cannot decide: {common}"
    note = f"; {len(blocked)} of {places} cells left out: they cannot decide" if blocked else ""
    verdict = decide(pooled["low"], pooled["high"], threshold, above)
    if verdict == UNDECIDED:
        return UNDECIDED, f"the interval contains {threshold:g}; {signs}{note}"
    if wanted not in ((len(means),) if verdict == HOLDS else (0,)):
        return UNDECIDED, f"families disagree: {signs}{note}"
    side = "above" if (verdict == HOLDS) == above else "below"
    return verdict, f"the interval lies {side} {threshold:g}; {signs}{note}"


def by_column(evidence: Evidence, places: Sequence[Place], *rest, **options) -> list[dict]:
    """Return judge() for each column by itself, without its cells."""
    rows = []
    for column in dict.fromkeys(place.column for place in places):
        found = judge(evidence, [p for p in places if p.column == column], *rest, **options)
        numbers = {k: v for k, v in found["numbers"].items() if k not in ("cells", "unit")}
        label = dict(zip(("setting", "corpus", "benchmark"), column, strict=True))
        rows.append({**label, **numbers, "verdict": found["verdict"], "reason": found["reason"]})
    return rows


def scope(places: Sequence[Place]) -> str:
    """Return in words what a verdict covers."""
    families = list(dict.fromkeys(family_name(place.family) for place in places))
    columns = [
        dataset_name(benchmark)
        + ("" if setting == "in_domain" else f" from {dataset_name(corpus)}")
        for setting, corpus, benchmark in dict.fromkeys(place.column for place in places)
    ]
    runs = "1 pretraining run" if len(families) == 1 else f"{len(families)} pretraining runs"
    return f"{', '.join(columns)}; {runs} ({', '.join(families)})"


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), DIGITS) for name, value in numbers.items()}
