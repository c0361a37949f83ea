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
from scripts.first.reporting.figures.style import TEXT, save, start
from scripts.first.reporting.names import (
    ONE_ANSWER,
    dataset_name,
    dead_mark,
    family_name,
    is_dead,
    method_name,
)
from scripts.first.reporting.runs import load_runs, score_runs
from scripts.first.reporting.sealing import FIGURE, seal

METHODS = ("teacher", "finetune", "distill", "first_ts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts figure5`."""
    parser.add_argument("--predictions", nargs="+", required=True, help="files of one benchmark")
    parser.add_argument("--metrics", nargs="+", required=True, help="same order as --predictions")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="columns, in order")
    parser.add_argument("--output-prefix", required=True, help="path without .pdf, .png, .csv")


def run(args: argparse.Namespace) -> None:
    """Make Figure 5."""
    import pandas

    groups = load_runs(args.predictions, args.metrics)
    if len({(corpus, benchmark) for _, corpus, _, benchmark in groups}) != 1:
        raise UserError("several corpora or benchmarks: figure5: give the files of one of each")
    data = pandas.DataFrame(bin_rows(groups, args.methods))
    save(draw(data), data, args.output_prefix)
    seal(args.output_prefix, "figure5", FIGURE, args.metrics)


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
            bins = reliability_bins(
                np.concatenate([r.confidence for r in runs]),
                np.concatenate([r.correct for r in runs]),
                BINS,
            )
            for b in range(BINS):
                rows.append(
                    {
                        "family": family,
                        "corpus": runs[0].corpus,
                        "benchmark": runs[0].benchmark,
                        "method": method,
                        "n_questions": len(runs[0].ids),
                        "n_seeds": len(runs),
                        "lower": 100 * bins["lower"][b],
                        "upper": 100 * bins["upper"][b],
                        "count": int(bins["count"][b]),
                        "confidence": 100 * bins["confidence"][b],
                        "accuracy": 100 * bins["accuracy"][b],
                        "ece": ece["value"],
                        "ece_low": ece["low"],
                        "ece_high": ece["high"],
                        "mean_confidence": scores.value["confidence"],
                        "mean_accuracy": scores.value["accuracy"],
                        **dead_mark([run.metrics for run in runs]),
                    }
                )
    return rows


def draw(data):
    """Return the figure: each bin's accuracy against the diagonal, its share of questions below."""
    palette = start()
    import matplotlib.pyplot as plt

    families, methods = list(data["family"].unique()), list(data["method"].unique())
    figure, axes = plt.subplots(
        2 * len(families),
        len(methods),
        figsize=(TEXT, 0.35 + 2.15 * len(families)),
        height_ratios=[3, 1] * len(families),
        sharex=True,
        squeeze=False,
    )
    # A data frame's groups in a fixed order, so that one model's panels share their columns.
    for i, family in enumerate(families):
        for j, method in enumerate(methods):
            part = data[(data["family"] == family) & (data["method"] == method)]
            _reliability(axes[2 * i, j], part, palette)
            _shares(axes[2 * i + 1, j], part)
            if i == 0:
                axes[0, j].set_title(method_name(method))
            if j:
                axes[2 * i, j].tick_params(labelleft=False)
                axes[2 * i + 1, j].tick_params(labelleft=False)
        axes[2 * i, 0].set_ylabel(f"{family_name(family)}\nAccuracy (%)")
        axes[2 * i + 1, 0].set_ylabel("Share (%)")
    row = data.iloc[0]
    trained = f"{dataset_name(row['corpus'])}-trained, tested on {dataset_name(row['benchmark'])}"
    figure.supxlabel(
        f"Confidence (%), {BINS} bins; {trained}, n = {row['n_questions']}", fontsize=8
    )
    figure.align_ylabels(axes[:, 0])
    handles = [h for axis in axes[:2, 0] for h in axis.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, handlelength=1.5)
    return figure


def _reliability(axis, part, palette) -> None:
    width = 100 / BINS
    filled = part[part["count"] > 0]
    middle = filled["lower"] + width / 2
    axis.bar(
        middle,
        filled["accuracy"],
        width * 0.94,
        color=palette[0],
        alpha=0.75,
        label="accuracy of the bin",
    )
    axis.plot(
        middle,
        filled["confidence"],
        linestyle="none",
        marker="_",
        markersize=9,
        markeredgewidth=1.6,
        color=palette[3],
        label="mean confidence of the bin",
    )
    axis.plot(
        [0, 100], [0, 100], color="0.35", linewidth=0.8, linestyle=(0, (4, 2)), label="calibrated"
    )
    one = part.iloc[0]
    text = f"ECE {one['ece']:.1f}\n[{one['ece_low']:.1f}, {one['ece_high']:.1f}]"
    axis.text(3, 97, text + (f"\n{ONE_ANSWER}" if is_dead(part) else ""), va="top")
    axis.set(xlim=(0, 100), ylim=(0, 103), xticks=[0, 25, 50, 75, 100], yticks=[0, 25, 50, 75, 100])


def _shares(axis, part) -> None:
    width = 100 / BINS
    share = 100 * part["count"] / part["count"].sum()
    axis.bar(part["lower"] + width / 2, share, width * 0.94, color="0.55")
    axis.axvline(
        part.iloc[0]["mean_confidence"], color="black", linewidth=0.9, label="mean confidence"
    )
    axis.axvline(
        part.iloc[0]["mean_accuracy"], color="black", linewidth=0.9, linestyle=":", label="accuracy"
    )
    axis.set(ylim=(0, 100), yticks=[0, 50, 100])
