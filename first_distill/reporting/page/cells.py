"""What a cell of Table 1 opens: its seeds, reliability diagram, inputs, commands and cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from first_distill.provenance import records
from first_distill.reporting import trace
from first_distill.reporting.names import FORMATS, HEADLINE, UNTUNED
from first_distill.reporting.page.diagram import diagram
from first_distill.reporting.page.stages import STAGES
from first_distill.reporting.page.table import number
from first_distill.reporting.runs import Key, load_runs
from first_distill.reporting.tables.table1 import MARKS
from first_distill.runtime.tally import spoken

LAST = "evaluation"  # all that a cell of finished models needs


class Opener:
    """The details of all cells; models, records and timings are read once."""

    def __init__(
        self, folder: Path, benchmarks: Path, posthoc: Sequence[str], names: list[str], where: str
    ):
        """folder: results/{scale}; names: paths below it of all cells, which `read` then holds.

        where: the option of Snakemake by which the scale is run.
        """
        self.where = where
        self.results, self.scale, self.benchmarks = folder.parent, folder.name, benchmarks.parent
        self.read = {name: records.read(folder / name) for name in names}
        self.metrics = [s for cell in self.read.values() for s in cell["made_from"]]
        self.metrics = [s for s in dict.fromkeys(self.metrics) if s.endswith("/metrics.json")]
        self.runs = load_runs([str(self.results / name) for name in self.metrics], None, posthoc)
        self.trace = trace.Results(self.results)
        self.sources = {name: self.trace.behind(f"{self.scale}/{name}") for name in names}
        self._diagrams: dict[Key, dict] = {}

    def details(self, shown: dict, means: dict[tuple, dict]) -> dict:
        """Return what a cell of the table opens; shown: `table.cell`, means: `table.paper_means`.

        `means` has the paper's, where it prints no value for the cell itself.
        """
        own, place = self.read[shown["place"]], f"results/{self.scale}/{shown['place']}"
        again, has_own = records.command(self.scale, self.where), shown["values"]["ece"]["paper"]
        return {
            **shown,
            "diagram": self._diagram(own),
            "alt": alt(shown, own),
            "means": {} if has_own else means.get((shown["method"], shown["column"]), {}),
            "seeds": seeds(own),
            "debiased": number(own["ece"].get("debiased")),
            "marks": [text for mark, text in MARKS.items() if mark in shown["marks"]],
            "facts": facts(own),
            "inputs": inputs(self.sources[shown["place"]]),
            "cost": cost(trace.seconds(self.sources[shown["place"]], self.benchmarks)),
            "commands": {
                "Make it in a fresh clone, with all that it needs": f"{again[:-3]} -- {place}",
                "Make it again from what is here": f"{again} {place} -- {place}",
                "Check it, down to the data": f"python -m scripts.verify results/{self.scale} "
                + place,
            },
        }

    def _diagram(self, cell: dict) -> dict:
        corpus = "none" if cell["method"] in UNTUNED else cell["corpus"]
        key = Key(cell["family"], corpus, cell["method"], cell["benchmark"])
        if key not in self._diagrams:
            self._diagrams[key] = diagram(self.runs[key], cell)
        return self._diagrams[key]


def alt(shown: dict, cell: dict) -> str:
    """Return the diagram in words."""
    confidence, accuracy = cell["confidence"]["value"], cell["accuracy"]["value"]
    way = "above" if confidence > accuracy else "below"
    return (
        f"Reliability diagram of {shown['method']}, {shown['family']}, {shown['column']}: accuracy "
        f"of ten bins of confidence against the diagonal, and the share of questions in each. Mean "
        f"confidence {confidence:.1f} % lies {way} the accuracy of {accuracy:.1f} %; "
        f"ECE {cell['ece']['value']:.1f} %."
    )


def seeds(cell: dict) -> list[dict]:
    """Return {name, values} of each seed, then mean and deviation where there are several."""
    names = (*HEADLINE, "confidence", "gap")
    per_seed = zip(*(cell[name]["per_seed"] for name in names), strict=True)
    rows = [
        {"name": str(seed), "values": [number(value) for value in values]}
        for seed, values in zip(cell["seeds"], per_seed, strict=True)
    ]
    if len(rows) > 1:
        for name, key in (("mean", "value"), ("sd", "sd")):
            rows.append({"name": name, "values": [number(cell[n][key]) for n in names]})
    return rows


def facts(cell: dict) -> dict[str, str]:
    """Return what else bears on a cell, by name."""
    found = {
        "questions": f"{cell['n_questions']:,}",
        "chance": f"{cell['chance']:.1f} %",
        "majority answer": f"{cell['majority']:.1f} %",
        "bins of the ECE": str(cell["bins"]),
    }
    if cell["c"] is not None:
        edge = ", at the edge of its grid" if cell["c_at_edge"] else ""
        found["c of Eq. 4"] = f"{cell['c']:{FORMATS['c']}}{edge}"
    return found


def inputs(sources: Sequence[trace.Source]) -> list[dict]:
    """Return what stands behind a cell, nearest first: stage, path, hash, any problem."""
    return [
        {
            "stage": "from elsewhere" if source.outside else source.path.split("/")[1],
            "path": source.path,
            "sha256": source.sha256,
            "problem": source.problem,
        }
        for source in sources[1:]
    ]


def cost(found: trace.Cost) -> dict:
    """Return seconds by stage, of all and of the last steps; `untimed` counts jobs without any."""
    return {
        "stages": {name: spoken(found.seconds[name]) for name in STAGES if name in found.seconds},
        "all": spoken(sum(found.seconds.values())) if found.seconds else None,
        "last": spoken(found.seconds[LAST]) if LAST in found.seconds else None,
        "untimed": found.untimed,
    }


def hours(number: float) -> str:
    """Return hours of cores or GPUs with two decimals; a dash for none."""
    return "–" if not number else "< 0.01" if number < 0.005 else f"{number:,.2f}"
