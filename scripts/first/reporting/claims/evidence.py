"""Evidence for the claims on Table 1: resampled scores by family, column and method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from scripts.first.calibration.intervals import Scores
from scripts.first.reporting.names import UNTUNED, dataset_name, family_name, method_name
from scripts.first.reporting.runs import Run, score_runs

LABELS = ("family", "setting", "corpus", "benchmark")


class Place(NamedTuple):
    """One column of Table 1 in one family; the fields are those of LABELS."""

    family: str
    setting: str
    corpus: str
    benchmark: str


@dataclass
class Evidence:
    """Scores by place and method, and why some places cannot decide a claim.

    groups: runs as `load_runs` returns them; edges: (family, corpus) whose chosen c lies at the
    edge of the grid.
    """

    groups: dict[tuple[str, str, str, str], list[Run]]
    places: list[Place]
    edges: set[tuple[str, str]]
    scores: dict[tuple, Scores] = field(default_factory=dict)

    def runs(self, place: Place, method: str) -> list[Run] | None:
        """Return the seeds of a method at a place, None where it was not evaluated."""
        corpus = "none" if method in UNTUNED else place.corpus
        return self.groups.get((place.family, corpus, method, place.benchmark))

    def score(self, place: Place, method: str) -> Scores:
        """Return the resampled scores of a method at a place, mean over its seeds."""
        runs = self.runs(place, method)
        if runs[0].key not in self.scores:
            self.scores[runs[0].key] = score_runs(runs)
        return self.scores[runs[0].key]

    def obstacle(self, place: Place, methods: Sequence[str]) -> str | None:
        """Return why a place cannot decide a claim on these methods, None when it can."""
        for method in methods:
            metrics = [run.metrics for run in self.runs(place, method)]
            floor = max(max(m["chance"], m["majority"]) for m in metrics)
            if any(m["constant_output"] for m in metrics):
                return f"{method_name(method)} gives one answer to every question"
            if self.score(place, method).summary("accuracy")["low"] <= floor:
                return f"{method_name(method)} is not above the chance and majority lines"
        if "first_ts" in methods and (place.family, place.corpus) in self.edges:
            return "the chosen c lies at the edge of the grid"
        return None


def scope(places: Sequence[Place]) -> str:
    """Return in words which columns and families a verdict covers."""
    families = list(dict.fromkeys(family_name(place.family) for place in places))
    columns = [
        dataset_name(benchmark)
        + ("" if setting == "in_domain" else f" from {dataset_name(corpus)}")
        for setting, corpus, benchmark in dict.fromkeys(place[1:] for place in places)
    ]
    runs = "1 pretraining run" if len(families) == 1 else f"{len(families)} pretraining runs"
    return f"{', '.join(columns)}; {runs} ({', '.join(families)})"
