"""One cell of Table 1: a method of a family on one benchmark, aggregated over seeds.

Reads metrics.json and predictions.parquet of every seed, optionally the selected.json of the
temperature search and the paper's printed values; writes one JSON file.
"""

from __future__ import annotations

import argparse
import statistics

from first_distill.calibration.intervals import LEVEL, LOWEST
from first_distill.calibration.statistic import RESAMPLES, SEED
from first_distill.calibration.temperature_search import read_temperature
from first_distill.errors import UserError
from first_distill.provenance import records
from first_distill.provenance.made_by import provenance
from first_distill.reporting.names import HEADLINE, LABELS, OTHER, RESAMPLED, SECONDARY, UNTUNED
from first_distill.reporting.output import read
from first_distill.reporting.runs import Key, Run, estimates, load_runs


def run(args: argparse.Namespace) -> None:
    """Make one cell of Table 1: mean over seeds, with intervals."""
    corpus = "none" if args.method in UNTUNED else args.corpus
    wanted = (args.scale, args.family, corpus, args.method, args.benchmark)
    groups = load_runs(args.metrics, args.benchmark, args.posthoc)
    runs = groups.get(Key(*wanted[1:]), [])
    if len(runs) != len(args.metrics) or runs[0].metrics["scale"] != args.scale:
        raise UserError(f"wrong run: --metrics: the cell {'/'.join(wanted)} needs its own files")
    selected = read_temperature(args.c, what="--c") if args.c else {"c": None, "at_edge": None}
    paper: dict = {}  # printed values
    if args.paper_table:
        names = ["family", "method", "setting", "benchmark"]
        table = read("paper_table1.csv", args.paper_table, *names, *HEADLINE)
        paper = table.set_index(names)[[*HEADLINE]].to_dict("index")
    cell = {
        **{label: getattr(args, label) for label in LABELS},
        **aggregate(runs),
        "c": selected["c"],
        "c_at_edge": selected["at_edge"],
        "paper": paper.get((args.family, args.method, args.setting, args.benchmark)),
        "bootstrap": {
            "units": ["question", "seed"],
            "level": LEVEL,
            "resamples": RESAMPLES,
            "seed": SEED,
        },
        "provenance": provenance("cell"),
    }
    search = args.c if args.c and args.c.endswith(".json") else None
    sources = filter(None, [*args.metrics, search, args.paper_table])
    records.write(args.output, cell, made_from=sources)


def aggregate(runs: list[Run]) -> dict:
    """Return the numbers of a cell from the runs of its seeds.

    Each metric is computed seed by seed and averaged (`value`); `sd` is the sample deviation over
    seeds, null for one seed. The interval is for further questions and, with several seeds,
    further seeds.
    """
    found, first = estimates(runs), runs[0].metrics
    cell: dict = {"n_questions": first["n"], "n_seeds": len(runs), "bins": first["bins"]}
    cell["seeds"] = [run.metrics["seed"] for run in runs]
    for name in (*HEADLINE, *SECONDARY, *OTHER):
        if name in RESAMPLED:
            numbers = found[name].summary(LOWEST.get(name, -100.0))
            per_seed = [own.value for own in found[name].units]
        else:
            per_seed = [run.metrics[name] for run in runs]
            # Not over the other seeds where one has none (an AUROC without wrong answers).
            numbers = {"value": None if None in per_seed else statistics.fmean(per_seed)}
        several = len(per_seed) > 1 and None not in per_seed
        sd = statistics.stdev(per_seed) if several else None
        cell[name] = {**numbers, "sd": sd, "per_seed": per_seed}
    cell |= {name: float(first[name]) for name in ("chance", "majority")}
    cell["constant_output"] = any(run.metrics["constant_output"] for run in runs)
    cell["above_chance"] = cell["accuracy"]["low"] > max(cell["chance"], cell["majority"])
    return cell
