"""Figure 5: reliability diagrams with 10 bins of the paper's four models, a row for each family.

Reads the predictions.parquet and metrics.json of each model; writes figure5.pdf, .png and .csv.
Seeds are pooled in the bins; the ECE in a panel's corner is the mean over seeds, as in Table 1.
"""

from __future__ import annotations

import argparse

import numpy as np

from scripts.first.calibration.metrics import DEFAULT_BINS as BINS
from scripts.first.calibration.metrics import reliability_bins
from scripts.first.errors import UserError
from scripts.first.reporting.figures import style
from scripts.first.reporting.names import dataset_name, family_name, method_name
from scripts.first.reporting.runs import load_runs, score_runs

METHODS = ("teacher", "finetune", "distill", "first_ts")
WIDTH = 100 / BINS  # percent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts figure5`."""
    parser.add_argument("--predictions", nargs="+", required=True, help="files of one benchmark")
    parser.add_argument("--metrics", nargs="+", required=True, help="same order as --predictions")
    parser.add_argument("--benchmark", required=True, help="the benchmark to show, e.g. csqa")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="columns, in order")
    parser.add_argument("--output-prefix", required=True, help="path without .pdf, .png, .csv")


def run(args: argparse.Namespace) -> None:
    """Make Figure 5."""
    groups = load_runs(args.predictions, args.metrics, args.benchmark)
    if len({(corpus, benchmark) for _, corpus, _, benchmark in groups}) != 1:
        raise UserError("several corpora or benchmarks: figure5: give the files of one of each")
    rows = bin_rows(groups, args.methods)
    style.publish("figure5", rows, draw, args.output_prefix, args.metrics)


def bin_rows(groups: dict, methods: list[str]) -> list[dict]:
    """Return one row for each family, method and bin; empty bins have count 0 and no means.

    `confidence`, `accuracy` (percent) and `count` pool the seeds.
    """
    rows = []
    for family in dict.fromkeys(key[0] for key in groups):
        for method in methods:
            found = [runs for key, runs in groups.items() if key[0] == family and key[2] == method]
            if not found:
                raise UserError(f"no predictions: figure5: {method} of {family}: evaluate it first")
            runs = found[0]
            scores = score_runs(runs)
            ece = scores.summary("ece")
            ece["low"] = max(0.0, ece["low"])
            confidence = np.concatenate([r.confidence for r in runs])
            correct = np.concatenate([r.correct for r in runs])
            bins = reliability_bins(confidence, correct, BINS)
            label = {"family": family, "corpus": runs[0].corpus, "benchmark": runs[0].benchmark}
            label |= {"method": method, "n_questions": len(runs[0].ids), "n_seeds": len(runs)}
            model = {"ece": ece["value"], "ece_low": ece["low"], "ece_high": ece["high"]}
            model |= {f"mean_{name}": scores.value[name] for name in ("confidence", "accuracy")}
            model |= style.dead_mark(run.metrics for run in runs)
            for b in range(BINS):
                percent = {name: 100 * bins[name][b] for name in ("lower", "upper")}
                percent["count"] = int(bins["count"][b])
                percent |= {name: 100 * bins[name][b] for name in ("confidence", "accuracy")}
                rows.append(label | percent | model)
    return rows


def draw(data):
    """Return the figure: each bin's accuracy against the diagonal, its share of questions below."""
    families, methods = list(data["family"].unique()), list(data["method"].unique())
    figure, axes = style.start().subplots(
        2 * len(families),
        len(methods),
        figsize=(style.TEXT, 0.35 + 2.15 * len(families)),
        height_ratios=[3, 1] * len(families),
        sharex=True,
        squeeze=False,
    )
    for i, family in enumerate(families):
        for j, method in enumerate(methods):
            part = data[(data["family"] == family) & (data["method"] == method)]
            _reliability(axes[2 * i, j], part)
            _shares(axes[2 * i + 1, j], part)
            for axis in axes[2 * i : 2 * i + 2, j]:
                axis.tick_params(labelleft=j == 0)
        axes[2 * i, 0].set_ylabel(f"{family_name(family)}\nAccuracy (%)")
        axes[2 * i + 1, 0].set_ylabel("Share (%)")
    for axis, method in zip(axes[0], methods, strict=True):
        axis.set_title(method_name(method))
    row = data.iloc[0]
    trained = f"{dataset_name(row['corpus'])}-trained, tested on {dataset_name(row['benchmark'])}"
    caption = f"Confidence (%), {BINS} bins; {trained}, n = {row['n_questions']}"
    figure.supxlabel(caption, fontsize=8)
    figure.align_ylabels(axes[:, 0])
    handles = [h for axis in axes[:2, 0] for h in axis.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, handlelength=1.5)
    return figure


def _reliability(axis, part) -> None:
    filled = part[part["count"] > 0]
    middle = filled["lower"] + WIDTH / 2
    bar = {"width": 0.94 * WIDTH, "color": "C0", "alpha": 0.75}
    axis.bar(middle, filled["accuracy"], label="accuracy of the bin", **bar)
    dash = {"color": "C3", "markersize": 9, "markeredgewidth": 1.6}
    axis.plot(middle, filled["confidence"], "_", label="mean confidence of the bin", **dash)
    axis.plot([0, 100], [0, 100], label="calibrated", **style.DASHED)
    one = part.iloc[0]
    text = f"ECE {one['ece']:.1f}\n[{one['ece_low']:.1f}, {one['ece_high']:.1f}]"
    style.note(axis, 0.03, 0.94, text + style.dead_text(part, "\n{}"), va="top", fontsize=8)
    ticks = [0, 25, 50, 75, 100]
    axis.set(xlim=(0, 100), ylim=(0, 103), xticks=ticks, yticks=ticks)


def _shares(axis, part) -> None:
    share = 100 * part["count"] / part["count"].sum()
    axis.bar(part["lower"] + WIDTH / 2, share, 0.94 * WIDTH, color="0.55")
    line, one = {"color": "black", "linewidth": 0.9}, part.iloc[0]
    axis.axvline(one["mean_confidence"], label="mean confidence", **line)
    axis.axvline(one["mean_accuracy"], label="accuracy", linestyle=":", **line)
    axis.set(ylim=(0, 100), yticks=[0, 50, 100])
