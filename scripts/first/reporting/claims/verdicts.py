"""The judge of the claims on Table 1, and the rules that all claims share.

A family is one pretraining run: an interval over questions says nothing about the next one. So a
verdict needs the interval over questions and the same sign in every family; the t interval over
the family means is reported beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from scripts.first.calibration.intervals import Scores, mean_scores
from scripts.first.reporting.names import UNTUNED, printed
from scripts.first.reporting.runs import Key, Run, score_runs

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
DIGITS = 6


class Place(NamedTuple):
    """One column of Table 1 in one family."""

    family: str
    setting: str
    corpus: str
    benchmark: str

    @property
    def domain(self) -> str:
        """`in_domain` where a model is tested on its own corpus, whatever the setting's name."""
        return "in_domain" if self.benchmark == self.corpus else "out_of_domain"


@dataclass
class Evidence:
    """Runs as `load_runs` groups them; edges: (family, corpus) whose c is at the grid's edge."""

    groups: dict[Key, list[Run]]
    places: list[Place]
    edges: set[tuple[str, str]]

    @cached_property
    def scores(self) -> dict[Key, Scores]:
        """The resampled scores of each group of runs."""
        return {key: score_runs(runs) for key, runs in self.groups.items()}

    def runs(self, place: Place, method: str) -> list[Run] | None:
        """Return the seeds of a method at a place, None where it was not evaluated."""
        corpus = "none" if method in UNTUNED else place.corpus
        return self.groups.get(Key(place.family, corpus, method, place.benchmark))

    def score(self, place: Place, method: str, *minus: str) -> Scores:
        """Return the resampled scores of a method at a place, less those of any second one."""
        if minus:
            return self.score(place, method).minus(self.score(place, *minus))
        return self.scores[self.runs(place, method)[0].key]

    def obstacle(self, place: Place, methods: Sequence[str]) -> str | None:
        """Return why a place cannot decide a claim on these methods, None when it can."""
        for method in methods:
            metrics = [run.metrics for run in self.runs(place, method)]
            floor = max(max(m["chance"], m["majority"]) for m in metrics)
            if any(m["constant_output"] for m in metrics):
                return f"{printed(method)} gives one answer to every question"
            if self.score(place, method).summary("accuracy")["low"] <= floor:
                return f"{printed(method)} is not above the chance and majority lines"
        if "first_ts" in methods and (place.family, place.corpus) in self.edges:
            return "the chosen c lies at the edge of the grid"
        return None


def scope(places: Sequence[Place]) -> str:
    """Return in words which columns and families a verdict covers."""
    families = list(dict.fromkeys(printed(place.family) for place in places))
    columns = [
        printed(benchmark) + ("" if benchmark == corpus else f" from {printed(corpus)}")
        for _, corpus, benchmark in dict.fromkeys(place[1:] for place in places)
    ]
    runs = "1 pretraining run" if len(families) == 1 else f"{len(families)} pretraining runs"
    return f"{', '.join(columns)}; {runs} ({', '.join(families)})"


@dataclass(frozen=True)
class Claim:
    """`metric` of methods[0], minus that of methods[1] if there are two, is above `threshold`.

    With `above=False`: below it. `setting`: the domain (Place.domain) of the columns that it
    covers, all when empty. `tested`: the methods that must be above chance for a cell to decide,
    all when empty.
    """

    id: str
    text: str
    test: str
    methods: tuple[str, ...]
    metric: str
    setting: str = ""
    above: bool = True
    threshold: float = 0.0
    tested: tuple[str, ...] = ()
    note: str = ""


def entry(name: str, text: str, test: str, found: dict, scope: str, note: str = "") -> dict:
    """Return a claim as it stands in claims.json; found: verdict, reason and numbers."""
    claim = {"id": name, "claim": text, "test": test, **found, "scope": scope}
    return claim | ({"note": note} if note else {})


def decide(low: float, high: float, threshold: float, above: bool) -> str:
    """Return the verdict on `value > threshold` (or <) from an interval; straddling: undecided."""
    if low > threshold:
        return HOLDS if above else FAILS
    if high < threshold:
        return FAILS if above else HOLDS
    return UNDECIDED


def judge(claim: Claim, evidence: Evidence, places: Sequence[Place]) -> dict:
    """Return verdict, reason and numbers of a claim on Table 1 over the given places.

    Undecided when the interval straddles the threshold, when a family's mean lies on the other
    side, and when at least half of the places have an obstacle. Places with an obstacle are left
    out of the pooled number; `all_cells` includes them.
    """
    missing = [m for m in claim.methods if any(evidence.runs(p, m) is None for p in places)]
    if missing:
        names = ", ".join(map(printed, missing))
        return {"verdict": UNDECIDED, "reason": f"{names} not evaluated", "numbers": {}}
    cells, free = [], {}
    scores = {place: evidence.score(place, *claim.methods) for place in places}
    for place, own in scores.items():
        numbers = rounded(own.summary(claim.metric))
        verdict = decide(numbers["low"], numbers["high"], claim.threshold, claim.above)
        if obstacle := evidence.obstacle(place, claim.tested or claim.methods):
            verdict = UNDECIDED
        else:
            free[place] = own
        if len(claim.methods) == 1:
            numbers["ece"] = round(own.value["ece"], DIGITS)
        n = len(evidence.runs(place, claim.methods[0])[0].rows)
        judged = {"verdict": verdict, "obstacle": obstacle}
        cells.append({**place._asdict(), "n": n, **numbers, **judged})
    pooled, everything = (_pooled(s, claim.metric) for s in (free or scores, scores))
    del everything["per_family"]
    verdict, reason = _verdict(claim, pooled, [c["obstacle"] for c in cells])
    numbers = {
        **pooled,
        "cells_counted": len(free),
        "all_cells": everything,
        "unit": "percentage points",
        "threshold": claim.threshold,
        "cells": cells,
    }
    return {"verdict": verdict, "reason": reason, "numbers": numbers}


def _pooled(scores: dict[Place, Scores], metric: str) -> dict:
    """Mean over places with its interval, means by family and the t interval over them."""
    import pandas
    from scipy.stats import t

    cells = pandas.DataFrame([(place.family, own.value[metric]) for place, own in scores.items()])
    means, ends = cells.groupby(0, sort=False)[1].mean(), None
    if len(means) > 1:
        half = t.ppf(0.975, len(means) - 1) * means.sem()
        ends = [round(float(means.mean() + side * half), DIGITS) for side in (-1, 1)]
    return {
        **rounded(mean_scores(list(scores.values())).summary(metric)),
        "per_family": rounded(means.to_dict()),
        "t_interval_over_families": ends,
    }


def _verdict(claim: Claim, pooled: dict, obstacles: list[str | None]) -> tuple[str, str]:
    threshold, means = claim.threshold, list(pooled["per_family"].values())
    wanted = sum((mean > threshold) if claim.above else (mean < threshold) for mean in means)
    signs = f"{wanted} of {len(means)} families on the claimed side"
    blocked = list(filter(None, obstacles))
    share = f"{len(blocked)} of {len(obstacles)} cells"
    if 2 * len(blocked) >= len(obstacles):
        common = max(dict.fromkeys(blocked), key=blocked.count)
        return UNDECIDED, f"{share} cannot decide: {common}"
    note = f"; {share} left out: they cannot decide" if blocked else ""
    verdict = decide(pooled["low"], pooled["high"], threshold, claim.above)
    if verdict == UNDECIDED:
        return UNDECIDED, f"the interval contains {threshold:g}; {signs}{note}"
    if wanted != (len(means) if verdict == HOLDS else 0):
        return UNDECIDED, f"families disagree: {signs}{note}"
    side = "above" if (verdict == HOLDS) == claim.above else "below"
    return verdict, f"the interval lies {side} {threshold:g}; {signs}{note}"


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    """Return the numbers as they stand in claims.json."""
    return {name: round(float(value), DIGITS) for name, value in numbers.items()}
