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
from scripts.first.reporting.names import HEADLINE, LABELS, METRICS, UNTUNED
from scripts.first.reporting.output import paired
from scripts.first.reporting.runs import Key, Run, load_runs, score_run


def run(args: argparse.Namespace) -> None:
    """Make one cell."""
    corpus = "none" if args.method in UNTUNED else args.corpus
    wanted = Key(args.family, corpus, args.method, args.benchmark)
    groups = load_runs(paired(args, "predictions", "metrics"), args.benchmark)
    if list(groups) != [wanted]:
        found = ", ".join(map("/".join, groups)) or "none"
        raise UserError(f"wrong run: cell {'/'.join(wanted)} was given {found}: pass its own files")
    selected = records.read(*args.selected) if args.selected else {"c": None, "at_edge": None}
    cell = {
        **{label: getattr(args, label) for label in LABELS},
        **aggregate(groups[wanted]),
        "c": selected["c"],
        "c_at_edge": selected["at_edge"],
        "paper": printed_values(args),
        "bootstrap": {"unit": "question", "level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
        "provenance": provenance("cell"),
    }
    sources = [*args.metrics, *args.selected, *args.paper_table]
    records.write(args.output, cell, made_from=sources)


def aggregate(runs: list[Run]) -> dict:
    """Return the numbers of a cell from the runs of its seeds.

    Each metric is computed seed by seed and averaged (`value`); `sd` is the sample deviation over
    seeds, null for one seed. The interval resamples questions and keeps all seeds of a question.
    """
    scores, first = [score_run(run) for run in runs], runs[0].metrics
    mean = mean_scores(scores)
    cell: dict = {"n_questions": len(runs[0].rows), "n_seeds": len(runs)}
    cell |= {"seeds": [run.metrics["seed"] for run in runs], "bins": first["bins"]}
    for name in (metric.key for metric in METRICS if metric.resampled):
        per_seed = [s.value[name] for s in scores]
        cell[name] = {**mean.summary(name), "sd": _deviation(per_seed), "per_seed": per_seed}
    cell["ece"]["low"] = max(0.0, cell["ece"]["low"])
    for name in (metric.key for metric in METRICS if not metric.resampled):
        per_seed = [run.metrics[name] for run in runs]
        cell[name] = {"value": float(np.mean(per_seed)), "sd": _deviation(per_seed)}
    cell |= {name: float(first[name]) for name in ("chance", "majority")}
    cell["constant_output"] = any(run.metrics["constant_output"] for run in runs)
    cell["above_chance"] = cell["accuracy"]["low"] > max(cell["chance"], cell["majority"])
    return cell


def _deviation(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def printed_values(args: argparse.Namespace) -> dict[str, float] | None:
    """Return the paper's ECE, accuracy and trust of this cell from --paper-table, if it has any."""
    if not args.paper_table:
        return None
    table = read_csv(*args.paper_table).set_index(["family", "method", "setting", "benchmark"])
    rows = table[[*HEADLINE]].to_dict("index")
    return rows.get((args.family, args.method, args.setting, args.benchmark))
