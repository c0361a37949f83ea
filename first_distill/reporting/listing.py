"""A line for each cell of Table 1: what the paper and we have, its state, and its cost."""

from __future__ import annotations

import json
import shlex
import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tabulate import tabulate

from first_distill import ROOT
from first_distill.errors import few
from first_distill.files import read_csv
from first_distill.reporting.names import HEADLINE
from first_distill.reporting.output import MISSING
from first_distill.reporting.trace import Cost, Results, seconds
from first_distill.runtime.tally import spoken

FOLDER = "results/{scale}/tables/table1/cells"
NOT_MADE, MADE = "not made", "made"
PAPER = ROOT / "config" / "paper_table1.csv"
NAMES = ["family", "method", "setting", "benchmark"]
COST = "cost: of all jobs behind a cell (cells share jobs), measured where it is made, else planned"


def cells(scale: str, settings: dict, methods: list[str]) -> list[dict]:
    """{path, family, method, setting, benchmark, corpus, paper} of each cell, sorted as Table 1.

    settings: of the scale; methods: rows of the table. paper: {ece, accuracy, trust} in percent,
    as config/paper_table1.csv has them for these names, or None.
    """
    printed = read_csv(PAPER).set_index(NAMES)[[*HEADLINE]].to_dict("index")
    found = []
    for family in settings["families"]:
        for method in methods:
            for setting, columns in settings["settings"].items():
                for benchmark, corpus in columns.items():
                    names = dict(zip(NAMES, (family, method, setting, benchmark), strict=True))
                    name = f"{family}/{method}/{setting}-{benchmark}.json"
                    path = f"{FOLDER.format(scale=scale)}/{name}"
                    paper = printed.get(tuple(names.values()))
                    found.append({"path": path, **names, "corpus": corpus, "paper": paper})
    return found


def measure(cells: list[dict], results: Path, benchmarks: Path) -> dict:
    """Add state, problems, ours, seconds, untimed of each cell; return the seconds of all, once.

    state: NOT_MADE, MADE, or the kind of the first of `problems` (stale, altered, missing, ..) of
    the cell or of anything behind it. ours: {ece, accuracy, trust}, each with value, low and high.
    seconds: {stage: seconds} of the jobs behind it; untimed: how many of them have no timing.
    """
    all_results, everything = Results(results.absolute()), []
    for cell in cells:
        name = cell["path"].partition("/")[2]
        sources = all_results.behind(name) if (results / name).exists() else []
        everything += sources
        wrong = [source for source in sources if source.problem]
        state = wrong[0].problem.partition(":")[0] if wrong else MADE
        cell |= {"state": state if sources else NOT_MADE, "ours": None}
        cell["problems"] = list(dict.fromkeys(f"{own.record}: {own.problem}" for own in wrong))
        content = all_results.content(name) if sources else {}
        if all(metric in content for metric in HEADLINE):
            ends = ("value", "low", "high")
            cell["ours"] = {m: {end: content[m][end] for end in ends} for m in HEADLINE}
        cell |= _cost(seconds(sources, benchmarks))
    return _cost(seconds(everything, benchmarks))


def _cost(cost: Cost) -> dict:
    return {"seconds": cost.seconds, "untimed": cost.untimed}


def show(scale: str, cells: list[dict], whole: dict, command: list[str], as_json: bool) -> None:
    """Print cells that are measured, and planned where `gpu_hours` is there, with what all took."""
    if as_json:
        print(json.dumps({"scale": scale, "cells": cells, **whole}, indent=2))
        return
    head, whole_paths = ["", "paper", "ours: ECE", "Acc", "Trust", "", "cost"], not is_terminal()
    rows = [row(cell, whole_paths) for cell in cells]
    if not any(cell["paper"] for cell in cells):
        head, rows = head[:1] + head[2:], [own[:1] + own[2:] for own in rows]
    title, *lines = tabulate(rows, head, "plain", disable_numparse=True).splitlines()
    print(f"Table 1, scale {scale}: ECE with its 95 % interval, accuracy, trust, in %")
    print(COST, title, sep="\n")
    lines = iter(lines)
    for family, group in groupby(cells, key=itemgetter("family")):
        if not whole_paths:
            print(f"{FOLDER.format(scale=scale)}/{family}/")
        for _ in group:
            print(next(lines).rstrip())
    problems = list(dict.fromkeys(text for cell in cells for text in cell["problems"]))
    if problems:
        print(f"{few(problems)}: see python -m scripts.verify results/{scale}")
    if "not_planned" in whole:
        print(f"not planned: {whole['not_planned']}")
    made = sum(cell["state"] != NOT_MADE for cell in cells)
    totals = [f"{made} of {len(cells)} cells made"]
    totals += [f"their jobs, each once: {spent(whole)}"] if made else []
    totals += [f"the others: {planned(whole)}"] if made < len(cells) else []
    print("; ".join(totals))
    print(f"one cell: {shlex.join(command)}")


def is_terminal() -> bool:
    """Whether a person reads the list, and not `grep` or `awk`, which need whole paths."""
    return sys.stdout.isatty()


def row(cell: dict, whole_path: bool) -> list[str]:
    """The columns of a cell's line."""
    paper, ours = (cell[key] or {} for key in ("paper", "ours"))
    printed = " ".join(f"{paper[metric]:z.1f}" for metric in HEADLINE) if paper else MISSING
    texts = [f"{ours[metric]['value']:z.1f}" if ours else MISSING for metric in HEADLINE]
    texts[0] += " [{low:z.1f}, {high:z.1f}]".format(**ours["ece"]) if ours else ""
    name = cell["path"] if whole_path else f"{cell['method']}/{Path(cell['path']).name}"
    cost = planned(cell) if cell["state"] == NOT_MADE else spent(cell)
    return [name, printed, *texts, cell["state"], cost]


def spent(cost: dict) -> str:
    """`2 min 6 s`, and how many jobs that leaves out."""
    if not cost["seconds"]:
        return "not measured"
    text = spoken(sum(cost["seconds"].values()))
    return f"{text}, {cost['untimed']} jobs not timed" if cost["untimed"] else text


def planned(cost: dict) -> str:
    """`1.5 GPU-hours`, where the plan says so."""
    return f"{cost['gpu_hours']:.2f} GPU-hours" if "gpu_hours" in cost else "not measured"
