"""One cell of Table 1: a method of a family on one benchmark, aggregated over seeds.

Reads the predictions.parquet and metrics.json of every seed, optionally the selected.json of the
temperature search and the paper's printed values; writes one JSON file.
"""

from __future__ import annotations

import argparse

import numpy as np

from scripts.first.calibration.intervals import LEVEL, RESAMPLES, SEED, mean_scores
from scripts.first.errors import UserError
from scripts.first.files import read_csv
from scripts.first.provenance import records
from scripts.first.provenance.made_by import provenance
from scripts.first.reporting.names import HEADLINE, METRICS, SETTINGS, UNTUNED, setting_of
from scripts.first.reporting.runs import Run, load_runs, score_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts cell`."""
    parser.add_argument("--predictions", nargs="+", required=True, help="one file a seed")
    parser.add_argument("--metrics", nargs="+", required=True, help="same order as --predictions")
    for label in ("scale", "family", "method", "benchmark", "corpus"):
        parser.add_argument(f"--{label}", required=True)
    parser.add_argument("--setting", required=True, choices=sorted(SETTINGS))
    parser.add_argument("--selected", nargs="?", help="selected.json, for a method with chosen c")
    parser.add_argument("--paper-table", nargs="?", help="config/paper_table1.csv, at paper scale")
    parser.add_argument("--output", required=True, help="the cell's JSON")


def run(args: argparse.Namespace) -> None:
    """Make one cell."""
    if args.setting != setting_of(args.corpus, args.benchmark):
        raise UserError(
            f"setting {args.setting}: corpus {args.corpus}, benchmark {args.benchmark}: "
            f"trained and tested so, the setting is {setting_of(args.corpus, args.benchmark)}"
        )
    groups = load_runs(args.predictions, args.metrics, args.benchmark)
    corpus = "none" if args.method in UNTUNED else args.corpus
    wanted = (args.family, corpus, args.method, args.benchmark)
    others = sorted(set(groups) - {wanted})
    runs = groups.get(wanted, [])
    if others or not runs or runs[0].scale != args.scale:
        found = "/".join(others[0]) if others else f"scale {runs[0].scale}" if runs else "none"
        raise UserError(
            f"wrong run: cell {args.scale} {'/'.join(wanted)} was given {found}: "
            "pass the files of this cell only"
        )
    selected = records.read(args.selected) if args.selected else None
    paper = _printed_values(args) if args.paper_table else None
    cell = {
        "scale": args.scale,
        "family": args.family,
        "method": args.method,
        "setting": args.setting,
        "corpus": args.corpus,
        "benchmark": args.benchmark,
        **aggregate(runs),
        "c": selected["c"] if selected else None,
        "c_at_edge": bool(selected["at_edge"]) if selected else None,
        "paper": paper,
        "bootstrap": {"unit": "question", "level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
        "provenance": provenance("cell"),
    }
    sources = [*args.metrics, *filter(None, [args.selected, args.paper_table])]
    records.write(args.output, cell, made_from=sources)


def aggregate(runs: list[Run]) -> dict:
    """Return the numbers of a cell from the runs of its seeds.

    Each metric is computed seed by seed and averaged (`value`); `sd` is the sample deviation over
    seeds, null for one seed. The interval resamples questions and keeps all seeds of a question.
    """
    scores = [score_run(run) for run in runs]
    mean = mean_scores(scores)
    first = runs[0].metrics
    cell: dict = {
        "n_questions": len(runs[0].ids),
        "n_seeds": len(runs),
        "seeds": [run.seed for run in runs],
        "bins": runs[0].metrics["bins"],
    }
    for name in (metric.key for metric in METRICS if metric.resampled):
        per_seed = [s.value[name] for s in scores]
        summary = mean.summary(name)
        if name == "ece":
            summary["low"] = max(0.0, summary["low"])
        cell[name] = {**summary, "sd": _deviation(per_seed), "per_seed": per_seed}
    for name in (metric.key for metric in METRICS if not metric.resampled):
        per_seed = [float(run.metrics[name]) for run in runs]
        cell[name] = {"value": float(np.mean(per_seed)), "sd": _deviation(per_seed)}
    cell["chance"] = float(first["chance"])
    cell["majority"] = float(first["majority"])
    cell["constant_output"] = any(bool(run.metrics["constant_output"]) for run in runs)
    cell["above_chance"] = cell["accuracy"]["low"] > max(cell["chance"], cell["majority"])
    return cell


def _deviation(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _printed_values(args: argparse.Namespace) -> dict[str, float] | None:
    """Return the paper's printed ECE, accuracy and trust of this cell; None where it has none."""
    table = read_csv(args.paper_table)
    labels = ("family", "method", "setting", "benchmark")
    missing = [name for name in (*labels, *HEADLINE) if name not in table]
    if missing:
        raise UserError(f"missing column(s) {', '.join(missing)}: {args.paper_table}: restore it")
    for label in labels:
        table = table[table[label] == getattr(args, label)]
    if table.empty:
        return None
    return {name: float(table.iloc[0][name]) for name in HEADLINE}
