"""Figure 5: reliability diagrams with 10 bins of the paper's four models, a row for each family.

Reads the predictions.parquet and metrics.json of each model; writes figure5.pdf, .png and .csv.
Seeds are pooled in the bins; the ECE in a panel's corner is the mean over seeds, as in Table 1.
"""

from __future__ import annotations

import argparse

from scripts.first.calibration.metrics import DEFAULT_BINS as BINS
from scripts.first.calibration.metrics import reliability_bins
from scripts.first.errors import UserError
from scripts.first.reporting.figures import style
from scripts.first.reporting.names import printed
from scripts.first.reporting.runs import Key, Run, load_runs, score_runs

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
    import pandas

    frames = []
    one = next(iter(groups))
    for family in dict.fromkeys(key.family for key in groups):
        for method in methods:
            runs = groups.get(key := one._replace(family=family, method=method))
            if not runs:
                raise UserError(f"no predictions: figure5: {method} of {family}: evaluate it first")
            scores = score_runs(runs)
            ece = scores.summary("ece")
            pooled = pandas.concat([run.rows for run in runs])
            bins = reliability_bins(pooled["confidence"], pooled["correct"], BINS)
            table = {**key._asdict(), "n_questions": len(runs[0].rows), "n_seeds": len(runs)}
            table |= {name: 100 * bins[name] for name in ("lower", "upper")}
            table |= {"count": bins["count"]}
            table |= {name: 100 * bins[name] for name in ("confidence", "accuracy")}
            table |= {"ece": ece["value"], "ece_low": max(0.0, ece["low"]), "ece_high": ece["high"]}
            table |= {f"mean_{name}": scores.value[name] for name in ("confidence", "accuracy")}
            frames.append(pandas.DataFrame(table | style.dead_mark(run.metrics for run in runs)))
    data = pandas.concat(frames)
    data.insert(2, "benchmark", data.pop("benchmark"))
    return data


def draw(data):
    """Return the figure: each bin's accuracy against the diagonal, its share of questions below."""
    families, methods = list(data["family"].unique()), list(data["method"].unique())
    figure, axes = style.start().subplots(
        2 * len(families),
        len(methods),
        figsize=(style.TEXT, 0.35 + 2.15 * len(families)),
        height_ratios=[3, 1] * len(families),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for (family, method), part in data.groupby(["family", "method"]):
        row, column = 2 * families.index(family), methods.index(method)
        _panel(axes[row, column], axes[row + 1, column], part)
        axes[row, 0].set_ylabel(f"{printed(family)}\nAccuracy (%)")
        axes[row + 1, 0].set_ylabel("Share (%)")
        axes[0, column].set_title(printed(method))
    one = data.iloc[0]
    trained = f"{printed(one['corpus'])}-trained, tested on {printed(one['benchmark'])}"
    caption = f"Confidence (%), {BINS} bins; {trained}, n = {one['n_questions']}"
    figure.supxlabel(caption, fontsize=8)
    figure.align_ylabels(axes[:, 0])
    handles = [h for axis in axes[:2, 0] for h in axis.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, handlelength=1.5)
    return figure


def _panel(top, bottom, part) -> None:
    one, middle = part.iloc[0], part["lower"] + WIDTH / 2
    bar = {"width": 0.94 * WIDTH, "color": "C0", "alpha": 0.75}
    top.bar(middle, part["accuracy"], label="accuracy of the bin", **bar)
    dash = {"color": "C3", "markersize": 9, "markeredgewidth": 1.6}
    top.plot(middle, part["confidence"], "_", label="mean confidence of the bin", **dash)
    top.plot([0, 100], [0, 100], label="calibrated", **style.DASHED)
    text = f"ECE {one['ece']:.1f}\n[{one['ece_low']:.1f}, {one['ece_high']:.1f}]"
    style.note(top, 0.03, 0.94, text + style.dead_text(part, "\n{}"), va="top", fontsize=8)
    ticks = [0, 25, 50, 75, 100]
    top.set(xlim=(0, 100), ylim=(0, 103), xticks=ticks, yticks=ticks)
    share = 100 * part["count"] / part["count"].sum()
    bottom.bar(middle, share, 0.94 * WIDTH, color="0.55")
    line = {"color": "black", "linewidth": 0.9}
    bottom.axvline(one["mean_confidence"], label="mean confidence", **line)
    bottom.axvline(one["mean_accuracy"], label="accuracy", linestyle=":", **line)
    bottom.set(ylim=(0, 100), yticks=[0, 50, 100])
