"""index.html of a scale: verdicts first, then Table 1, whose cells open what stands behind them.

One file that needs no other: read from the file system, offline, with or without JavaScript. Of
all artifacts it alone holds timings, and so differs between two runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jinja2

from first_distill.provenance import records
from first_distill.provenance.made_by import commit
from first_distill.reporting import output, trace
from first_distill.reporting.costs import of_results, places, span, timings, told
from first_distill.reporting.names import HEADLINE, LEVEL_SHOWN, meanings, printed
from first_distill.reporting.page import ablations, stages, verdicts
from first_distill.reporting.page.cells import Opener, hours
from first_distill.reporting.page.embed import caption, figure, prose
from first_distill.reporting.page.table import end_of_plots, families, paper_means, printed_rows
from first_distill.reporting.tables import table1
from first_distill.runtime.tally import spoken

TEMPLATES = Path(__file__).parent / "templates"
FIGURES = ("figure2", "figure3", "figure5", "figure6", "meters")
FILES = ("claims", "tables/*", "figures/*", "ablations")  # without a suffix


def run(args: argparse.Namespace) -> None:
    """Make the page of a scale's finished results."""
    context, sources = gather(args)
    output.publish(args.output_prefix, "page", sources, html=render(context))


def render(context: dict) -> str:
    """Return the page. Raises jinja2.UndefinedError where the context lacks something."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(spoken=spoken, hours=hours)
    return environment.get_template("index.html.j2").render(context)


def gather(args: argparse.Namespace) -> tuple[dict, list[Path]]:
    """Return what the page shows, and the files that it was read from."""
    folder, benchmarks = Path(args.results), Path(args.benchmarks)
    table = output.read("table1.csv", folder / "tables/table1.csv", *table1.COLUMNS)
    report = records.verified(folder / "tables/data_report.md")
    paper = output.read("paper_table1.csv", args.paper_table, "method", *HEADLINE)
    rows, end = table1.with_names(table), end_of_plots(table)
    by_family = families(table, end)
    shown = [c for own in by_family for row in own["rows"] for c in row["cells"] if c]
    resources, timed = json.loads(args.resources), timings(benchmarks, Path(args.logs))
    where = "--profile slurm" if any(own.get("gpu") for own in resources.values()) else "-c2"
    names = [cell["place"] for cell in shown]
    opener = Opener(folder, benchmarks, args.posthoc, names, where)
    behind = {source.path: source for own in opener.sources.values() for source in own}.values()
    made = [folder.parent / source.path for source in behind if not source.outside]
    jobs = of_results(timed, folder, made)
    ablated, sources = ablations.read(folder)
    params = {"benchmark": printed(args.benchmark), "corpus": printed(args.corpus)}
    params["methods"] = [printed(name) for name in args.methods]
    means = paper_means(paper, table)
    notes, graph = table1.notes(rows), stages.graph(opener.trace, behind)
    made_by = stages.made_by(opener.trace, behind)
    context = {
        "scale": str(table["scale"].iloc[0]),
        "description": args.description,
        "level": LEVEL_SHOWN,
        **verdicts.read(folder / "claims.json"),
        "columns": {row["column"]: notes[row["column"]] for row in rows},
        "marks": {mark: text for mark, text in notes.items() if mark in table1.MARKS},
        "limits": table1.left_out(rows),
        "metrics": HEADLINE,
        "meanings": meanings(row["method"] for row in rows),
        "families": by_family,
        "end_of_plots": end,
        "paper_rows": printed_rows(means, table),
        "paper_families": [printed(name) for name in paper["family"].unique()],
        "has_paper": bool(table["paper_ece"].notna().any()),
        "cells": [opener.details(cell, means) for cell in shown],
        "figures": [_figure(folder / "figures" / name, params) for name in FIGURES],
        "ablation": caption("ablation", {}),
        "ablations": ablated,
        "report": prose(report.read_text(encoding="utf-8"), 3),
        "stages": graph,
        "drawing": stages.drawing(graph),
        "costs": stages.costs(timed, resources),
        "places": places(jobs),
        "span": span(jobs),
        "told": {name: told(jobs, name) for name in ("commit", "processor", "GPUs")},
        "table1_seconds": sum(trace.seconds(behind, benchmarks.parent).seconds.values()),
        "made_by": made_by,
        "packages": list(
            dict.fromkeys(name for own in made_by for name in sorted(own["packages"]))
        ),
        "differences": stages.differences(made_by),
        "commit": commit(),
        "files": _files(folder),
        "css": (TEMPLATES / "style.css").read_text(encoding="utf-8"),
        "js": (TEMPLATES / "page.js").read_text(encoding="utf-8"),
    }
    sources += [folder / "tables/table1.csv", folder / "claims.json", report, args.paper_table]
    sources += [folder / f"figures/{name}.csv" for name in FIGURES]
    sources += [folder / name for name in opener.read]
    return context, [*sources, *(folder.parent / name for name in opener.metrics)]


def _figure(prefix: Path, params: dict) -> dict:
    records.verified(prefix.with_suffix(".csv"))
    return {"name": prefix.name, "image": figure(prefix), **caption(prefix.name, params)}


def _files(folder: Path) -> dict[str, list[str]]:
    """{path without suffix: its suffixes} of what may be read beside the page."""
    found: dict[str, list[str]] = {}
    for pattern in FILES:
        for path in sorted(folder.glob(f"{pattern}.*")):
            if path.is_file() and not path.name.endswith(records.SUFFIX):
                name = path.relative_to(folder).with_suffix("").as_posix()
                found.setdefault(name, []).append(path.suffix[1:])
    return found
