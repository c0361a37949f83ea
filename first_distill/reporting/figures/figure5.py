"""Figure 5: reliability diagrams with 10 bins of the paper's four models, a row for each family.

Reads the predictions.parquet and metrics.json of each model; writes figure5.csv and the picture.
Seeds are pooled in the bins; the ECE in a panel's corner is the mean over seeds, as in Table 1.
"""

from __future__ import annotations

import argparse
from itertools import product

import pandas

from first_distill.calibration.metrics import DEFAULT_BINS as BINS
from first_distill.calibration.metrics import reliability_bins
from first_distill.errors import UserError
from first_distill.reporting.figures import style
from first_distill.reporting.figures.reliability import diagram, shares
from first_distill.reporting.names import printed
from first_distill.reporting.runs import Key, Run, estimates, load_runs


def run(args: argparse.Namespace) -> None:
    """Make Figure 5."""
    groups = load_runs(args.metrics, args.benchmark)
    data = bin_rows(groups, args.methods)
    style.draw_and_publish("figure5", data, draw, args.output_prefix, args.metrics)


def bin_rows(groups: dict[Key, list[Run]], methods: list[str]):
    """Return a data frame, a row for each family, method and bin; empty bins have no means.

    `confidence`, `accuracy` (percent) and `count` pool the seeds.
    """
    frames = []
    one = next(iter(groups))
    for family, method in product(dict.fromkeys(key.family for key in groups), methods):
        runs = groups.get(one._replace(family=family, method=method))
        if not runs:
            raise UserError(f"no predictions: figure5: {method} of {family}: evaluate it first")
        scores = estimates(runs)
        ece = scores["ece"].summary(lowest=0.0)
        pooled = pandas.concat([run.rows for run in runs])
        bins = reliability_bins(pooled["confidence"], pooled["correct"], BINS)
        table = {"family": family, "corpus": one.corpus, "benchmark": one.benchmark}
        table |= {"method": method, "n_questions": len(runs[0].rows), "n_seeds": len(runs)}
        table |= {name: bins[name] * (1 if name == "count" else 100) for name in bins}
        table |= {"ece": ece["value"], "ece_low": ece["low"], "ece_high": ece["high"]}
        table |= {f"mean_{name}": scores[name].value for name in ("confidence", "accuracy")}
        frames.append(pandas.DataFrame(table | style.dead_mark(run.metrics for run in runs)))
    return pandas.concat(frames)


def draw(data):
    """Return the figure: a reliability diagram for each model, its share of questions below."""
    families, methods = list(data["family"].unique()), list(data["method"].unique())
    shape, size = (2 * len(families), len(methods)), (style.TEXT, 0.8 + 2.0 * len(families))
    layout = {"height_ratios": [3.2, 1] * len(families), "sharex": True, "sharey": "row"}
    figure, axes = style.start().subplots(*shape, figsize=size, squeeze=False, **layout)
    for (family, method), part in data.groupby(["family", "method"]):
        row, column, one = 2 * families.index(family), methods.index(method), part.iloc[0]
        top, bottom = axes[row, column], axes[row + 1, column]
        diagram(top, part)
        shares(bottom, part, one["mean_confidence"], one["mean_accuracy"])
        head = f"{printed(method)}\n" * (row == 0)
        # Above the diagram, where no bar can reach.
        top.set_title(head + caption(part), fontsize=style.SMALL, linespacing=1.25)
        axes[row, 0].set_ylabel(f"{printed(family)}\nAccuracy (%)", linespacing=1.0)
        axes[row + 1, 0].set_ylabel("Share (%)")
    highest = 100 * (data["count"] / data.groupby(["family", "method"])["count"].transform("sum"))
    for axis in axes[1::2, 0]:
        axis.set_ylim(0, 1.1 * highest.max())
    corpus, benchmark = data.iloc[0][["corpus", "benchmark"]]
    trained = f"{printed(corpus)}-trained, tested on {printed(benchmark)}"
    figure.supxlabel(f"Confidence (%), {BINS} bins; {trained}", fontsize=8)
    handles = [h for axis in axes[:2, 0] for h in axis.get_legend_handles_labels()[0]]
    named = {handle.get_label(): handle for handle in handles}
    figure.legend(handles=list(named.values()), loc="outside upper center", ncols=3)
    return figure


def caption(part) -> str:
    """Return what stands above a diagram: ECE and interval, accuracy, questions, whether dead."""
    one = part.iloc[0]
    text = f"ECE {one['ece']:.1f} [{one['ece_low']:.1f}, {one['ece_high']:.1f}]\n"
    text += f"Acc {one['mean_accuracy']:.1f}, n = {one['n_questions']}"
    return text + style.dead_text(part, "\n{}")
