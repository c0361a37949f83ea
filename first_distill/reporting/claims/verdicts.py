"""The judge of the claims on Table 1, and the rules that all claims share.

A family is one pretraining run. Where there are several, they are the units of a claim on the mean
over columns: its interval is for further families, seeds and questions. With one family the units
are its training seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from first_distill.calibration.intervals import Estimate
from first_distill.calibration.statistic import Statistic, combine, mean
from first_distill.reporting.names import UNTUNED, printed
from first_distill.reporting.runs import Key, Run, score_run

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
COUNTED = {  # of one, of several
    HOLDS: ("holds", "hold"),
    FAILS: ("does not hold", "do not hold"),
    UNDECIDED: ("is undecided", "are undecided"),
}
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
    found: dict[tuple, dict[str, float]] = field(default_factory=dict)

    @cached_property
    def scores(self) -> dict[Key, dict[int, dict[str, Statistic]]]:
        """What `score_run` returns for each seed of each group of runs."""
        return {
            key: {run.metrics["seed"]: score_run(run) for run in runs}
            for key, runs in self.groups.items()
        }

    def runs(self, place: Place, method: str) -> list[Run] | None:
        """Return the seeds of a method at a place, None where it was not evaluated."""
        corpus = "none" if method in UNTUNED else place.corpus
        return self.groups.get(Key(place.family, corpus, method, place.benchmark))

    def seeds(self, place: Place, metric: str, method: str, *minus: str) -> dict[int, Statistic]:
        """Return a metric of a method, less that of any second one, for each training seed.

        A model of which there is one seed, as a teacher, is compared with each of the other's.
        """
        own = self.scores[self.runs(place, method)[0].key]
        if not minus:
            return {seed: found[metric] for seed, found in own.items()}
        other = self.scores[self.runs(place, *minus)[0].key]
        seeds = [seed for seed in own if seed in other]
        if len(own) == 1 or len(other) == 1:
            seeds = list(own if len(other) == 1 else other)
        return {
            seed: combine([(1.0, _at(own, seed)[metric]), (-1.0, _at(other, seed)[metric])])
            for seed in seeds
        }

    def interval(self, places: Sequence[Place], metric: str, *methods: str) -> dict[str, float]:
        """Return value, low and high of `estimate`, as they stand in claims.json."""
        key = (tuple(places), metric, *methods)
        if key not in self.found:
            self.found[key] = rounded(self.estimate(places, metric, *methods).interval())
        return self.found[key]

    def estimate(self, places: Sequence[Place], metric: str, *methods: str) -> Estimate:
        """Return the mean over places of a metric, or of a difference of two methods."""
        families: dict[str, list[dict[int, Statistic]]] = {}
        for place in places:
            families.setdefault(place.family, []).append(self.seeds(place, metric, *methods))
        if len(families) > 1:
            return Estimate([mean(_over_seeds(own)) for own in families.values()])
        return Estimate(_over_seeds(*families.values()))

    def obstacle(self, place: Place, methods: Sequence[str]) -> str | None:
        """Return why a place cannot decide a claim on these methods, None when it can."""
        for method in methods:
            metrics = [run.metrics for run in self.runs(place, method)]
            floor = max(max(m["chance"], m["majority"]) for m in metrics)
            if any(m["constant_output"] for m in metrics):
                return f"{printed(method)} gives one answer to every question"
            if self.interval([place], "accuracy", method)["low"] <= floor:
                return f"{printed(method)} is not above the chance and majority lines"
        if "first_ts" in methods and (place.family, place.corpus) in self.edges:
            return "the chosen c lies at the edge of the grid"
        return None


def _at(scores: dict[int, dict], seed: int) -> dict[str, Statistic]:
    return scores[seed] if seed in scores else next(iter(scores.values()))


def _over_seeds(places: list[dict[int, Statistic]]) -> list[Statistic]:
    """For each seed the mean over places; one mean where the places have not the same seeds."""
    if len({tuple(own) for own in places}) > 1:
        return [mean([mean([*own.values()]) for own in places])]
    return [mean([own[seed] for own in places]) for seed in places[0]]


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


def counted(verdicts: Sequence[str]) -> str:
    """Return how many of each verdict there are, in words: `1 holds, 2 are undecided`."""
    counts = {verdict: verdicts.count(verdict) for verdict in COUNTED if verdict in verdicts}
    return ", ".join(f"{n} {COUNTED[verdict][n > 1]}" for verdict, n in counts.items())


def judge(claim: Claim, evidence: Evidence, places: Sequence[Place]) -> dict:
    """Return verdict, reason and numbers of a claim on Table 1 over the given places.

    Undecided when the interval contains the threshold, and when at least half of the places have
    an obstacle. Places with an obstacle are left out of the pooled number; `all_cells` includes
    them.
    """
    missing = [m for m in claim.methods if any(evidence.runs(p, m) is None for p in places)]
    if missing:
        names = ", ".join(map(printed, missing))
        return {"verdict": UNDECIDED, "reason": f"{names} not evaluated", "numbers": {}}
    cells, free = [], []
    for place in places:
        numbers = dict(evidence.interval([place], claim.metric, *claim.methods))
        verdict = decide(numbers["low"], numbers["high"], claim.threshold, claim.above)
        if obstacle := evidence.obstacle(place, claim.tested or claim.methods):
            verdict = UNDECIDED
        else:
            free.append(place)
        if len(claim.methods) == 1:
            numbers["ece"] = evidence.interval([place], "ece", *claim.methods)["value"]
        runs = [evidence.runs(place, method) for method in claim.methods]
        counts = {"n": len(runs[0][0].rows), "n_seeds": max(map(len, runs))}
        judged = {"verdict": verdict, "obstacle": obstacle}
        cells.append({**place._asdict(), **counts, **numbers, **judged})
    pooled = _pooled(claim, evidence, free or places)
    everything = evidence.interval(places, claim.metric, *claim.methods)
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


def _pooled(claim: Claim, evidence: Evidence, places: Sequence[Place]) -> dict:
    """Mean over places with its interval and p-value, and means by family."""
    families = list(dict.fromkeys(place.family for place in places))
    found = evidence.estimate(places, claim.metric, *claim.methods)
    by_family = {}
    for family in families:
        own = [place for place in places if place.family == family]
        by_family[family] = evidence.estimate(own, claim.metric, *claim.methods).value
    return {
        **evidence.interval(places, claim.metric, *claim.methods),
        "p": found.p_value(claim.threshold),
        "units": "families" if len(families) > 1 else "seeds",
        "n_units": len(found.units),
        "per_family": rounded(by_family),
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
    side = "above" if (verdict == HOLDS) == claim.above else "below"
    return verdict, f"the interval lies {side} {threshold:g}; {signs}{note}"


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    """Return the numbers as they stand in claims.json."""
    return {name: round(float(value), DIGITS) for name, value in numbers.items()}
