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
from first_distill.reporting.names import printed
from first_distill.reporting.runs import Key, Run, estimates, load_runs

WIDTH = 100 / BINS  # percent


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
    """Return the figure: each bin's accuracy against the diagonal, its share of questions below."""
    families, methods = list(data["family"].unique()), list(data["method"].unique())
    shape, size = (2 * len(families), len(methods)), (style.TEXT, 0.35 + 2.15 * len(families))
    layout = {"height_ratios": [3, 1] * len(families), "sharex": True, "sharey": "row"}
    figure, axes = style.start().subplots(*shape, figsize=size, squeeze=False, **layout)
    for (family, method), part in data.groupby(["family", "method"]):
        row, column = 2 * families.index(family), methods.index(method)
        _panel(axes[row, column], axes[row + 1, column], part)
        axes[row, 0].set_ylabel(f"{printed(family)}\nAccuracy (%)")
        axes[row + 1, 0].set_ylabel("Share (%)")
        axes[0, column].set_title(printed(method))
    corpus, benchmark, n = data.iloc[0][["corpus", "benchmark", "n_questions"]]
    trained = f"{printed(corpus)}-trained, tested on {printed(benchmark)}"
    figure.supxlabel(f"Confidence (%), {BINS} bins; {trained}, n = {n}", fontsize="medium")
    handles = [h for axis in axes[:2, 0] for h in axis.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=5)
    return figure


def _panel(top, bottom, part) -> None:
    one, middle = part.iloc[0], part["lower"] + WIDTH / 2
    top.bar(middle, part["accuracy"], 0.94 * WIDTH, alpha=0.75, label="accuracy of the bin")
    dash = {"color": "C3", "markersize": 9, "markeredgewidth": 1.6}
    top.plot(middle, part["confidence"], "_", label="mean confidence of the bin", **dash)
    top.plot([0, 100], [0, 100], label="calibrated", **style.DASHED)
    text = f"ECE {one['ece']:.1f}\n[{one['ece_low']:.1f}, {one['ece_high']:.1f}]"
    text += style.dead_text(part, "\n{}")
    box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
    top.text(0.03, 0.94, text, transform=top.transAxes, va="top", fontsize="medium", bbox=box)
    ticks = [0, 25, 50, 75, 100]
    top.set(xlim=(0, 100), ylim=(0, 103), xticks=ticks, yticks=ticks)
    share = 100 * part["count"] / part["count"].sum()
    bottom.bar(middle, share, 0.94 * WIDTH, color="0.55")
    bottom.axvline(one["mean_confidence"], label="mean confidence", color="black")
    bottom.axvline(one["mean_accuracy"], label="accuracy", color="black", linestyle=":")
    bottom.set(ylim=(0, 100), yticks=[0, 50, 100])
