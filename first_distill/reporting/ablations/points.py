"""The points of an ablation: their evaluations, from several scales, and numbers with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas

from first_distill.calibration.intervals import LOWEST
from first_distill.calibration.temperature_search import read_temperature
from first_distill.errors import UserError
from first_distill.reporting.claims.verdicts import Evidence, Place
from first_distill.reporting.names import UNTUNED, printed
from first_distill.reporting.output import read
from first_distill.reporting.runs import Key, Run, load_runs

METRICS = ("ece", "accuracy", "ece_candidates")


@dataclass
class Comparison:
    """An entry of `ablations` as the rules complete it, and the evaluations of its points.

    entry: name, title, `columns` (setting, benchmark, corpus), `points` with method and scale, or
    with `line: true` and no label; what is taught has a `teacher` and a `recipe` (the scales that
    its teacher and, but for the seed, its teacher's training are of), what has a c has `c`:
    {corpus: a number or a selected.json for each family}. groups: runs by family, corpus, label and
    benchmark.
    """

    entry: dict
    groups: dict[Key, list[Run]]

    @property
    def points(self) -> list[dict]:
        """Points, less lines."""
        return [point for point in self.entry["points"] if not point.get("line")]

    @cached_property
    def references(self) -> dict[str, str]:
        """{label of a point: that of the point of its series that it is compared with}.

        Lines are compared too where there is one series.
        """
        series: dict[str | None, list[dict]] = {}
        for point in self.points:
            series.setdefault(point.get("series"), []).append(point)
        found = {}
        for own in series.values():
            reference = next((point for point in own if point.get("reference")), own[0])
            compared = own if len(series) > 1 else self.entry["points"]
            found |= {label_of(point): reference["label"] for point in compared}
        return found

    def differs(self, label: str, name: str) -> bool:
        """Whether a point and its reference have unequal `teacher` or `recipe`.

        Not where there are several families: then intervals are for further families, and thereby
        teachers.
        """
        points = {label_of(point): point for point in self.entry["points"]}
        pair = [points[own].get(name) for own in (label, self.references[label])]
        one_family = len({key.family for key in self.groups}) == 1
        return one_family and None not in pair and pair[0] != pair[1]

    @cached_property
    def evidence(self) -> Evidence:
        """Runs in the form that estimates are made of: a label in the place of a method."""
        families = dict.fromkeys(key.family for key in self.groups)
        columns = [(setting, corpus, name) for setting, name, corpus in self.entry["columns"]]
        places = [Place(family, *column) for family in families for column in columns]
        return Evidence(self.groups, places, set())

    def columns(self) -> dict[tuple, list[Place]]:
        """{(setting, corpus, benchmark): its places}."""
        found: dict[tuple, list[Place]] = {}
        for place in self.evidence.places:
            found.setdefault(place[1:], []).append(place)
        return found

    @cached_property
    def rows(self) -> pandas.DataFrame:
        """A row for each point or line and column: numbers, intervals, difference to reference."""
        scale = min((point["scale"] for point in self.entry["points"]), key=len)
        rows = []
        for point in self.entry["points"]:
            for (setting, corpus, benchmark), places in self.columns().items():
                label = label_of(point)
                runs = [run for place in places for run in self.evidence.runs(place, label)]
                row = {"scale": scale, "ablation": self.entry["name"], "label": label}
                row |= {name: point.get(name) for name in ("method", "variant", "series", "x")}
                row["c"] = c_of(point, corpus)
                row["reference"] = self.references.get(label)
                row["line"] = bool(point.get("line"))
                row |= {"setting": setting, "corpus": corpus, "benchmark": benchmark}
                row |= {"n_questions": len(runs[0].rows), "n_families": len(places)}
                row["n_seeds"] = len({run.metrics["seed"] for run in runs})
                row["leakage"] = bool(point.get("leakage"))
                row["constant_output"] = any(run.metrics["constant_output"] for run in runs)
                row["above_chance"] = not any(
                    self.evidence.obstacle(place, [label]) for place in places
                )
                rows.append(row | self.numbers(places, label))
        return pandas.DataFrame(rows)

    def numbers(self, places: Sequence[Place], label: str) -> dict[str, float | None]:
        """METRICS of a point (percent) and, `_minus`, less its reference's, with ends."""
        found = {}
        for metric in METRICS:
            own = self.evidence.estimate(places, metric, label).interval(LOWEST[metric])
            found |= {metric + end: own[name] for name, end in ENDS.items()}
            less, reference = dict.fromkeys(ENDS), self.references.get(label, label)
            if label != reference:
                less = self.evidence.interval(places, metric, label, reference)
            found |= {f"{metric}_minus{end}": less[name] for name, end in ENDS.items()}
        return found


ENDS = {"value": "", "low": "_low", "high": "_high"}


def label_of(point: dict) -> str:
    """The printed name of a point or line."""
    return point.get("label") or printed(point["method"])


def c_of(point: dict, corpus: str) -> str | None:
    """The c of Eq. 4 of a point's students of a corpus: in each family, where they differ."""
    words = point.get("c", {}).get(corpus, [])
    found = [read_temperature(word, what=f"c of {label_of(point)}")["c"] for word in words]
    return ", ".join(f"{c:g}" for c in dict.fromkeys(found)) or None


def compare(entry: dict, metrics: Sequence[str], posthoc: Sequence[str]) -> Comparison:
    """Read the evaluations (metrics.json files) of an ablation's points, of any scales.

    UserError where one is missing, or where two scales have different questions.
    """
    paths: dict[str, list[str]] = {}
    for path in metrics:
        paths.setdefault(read("metrics.json", path, "scale")["scale"], []).append(path)
    loaded = {scale: load_runs(own, posthoc=posthoc) for scale, own in paths.items()}
    families = dict.fromkeys(key.family for found in loaded.values() for key in found)
    groups: dict[Key, list[Run]] = {}
    for point in entry["points"]:
        corpora = {"none"} if point["method"] in UNTUNED else None
        for family in families:
            for _, benchmark, corpus in entry["columns"]:
                trained = "none" if corpora else corpus
                key = Key(family, trained, point["method"], benchmark)
                runs = loaded.get(point["scale"], {}).get(key)
                if runs is None:
                    where = "/".join([point["scale"], *key])
                    raise UserError(f"no evaluation of {where}: --metrics: name its metrics.json")
                own = {"method": label_of(point), "corpus": corpus}
                named = [Run({**run.metrics, **own}, run.rows) for run in runs]
                groups[named[0].key] = named
    _check_questions(groups)
    return Comparison(entry, groups)


def _check_questions(groups: dict[Key, list[Run]]) -> None:
    """A paired comparison of different questions would mean nothing."""
    first: dict[str, Run] = {}
    for key, (run, *_) in groups.items():
        other = first.setdefault(key.benchmark, run)
        if not other.rows[["id", "answer"]].equals(run.rows[["id", "answer"]]):
            raise UserError(
                f"different questions of {key.benchmark}: {run.metrics['path']} and "
                f"{other.metrics['path']}: an ablation needs the same test table"
            )
