"""The panel of an ablation: ECE and accuracy of its points, with intervals, a row a column."""

from __future__ import annotations

import numpy as np

from scripts.first.reporting.figures import style
from scripts.first.reporting.names import printed

AXES = {"ece": "ECE (%)", "accuracy": "Accuracy (%)"}


def draw(entry: dict, rows):
    """Return the figure; rows: `Comparison.rows`. Points over x if they have one, else by label."""
    columns = list(rows.groupby(["corpus", "benchmark"], sort=False))
    points = rows[~rows["line"]]
    placed, labels = points["x"].notna().all(), points["label"].unique()
    places = sorted(points["x"].unique())
    height = 2.0 if placed else 0.75 + 0.2 * len(labels)
    size = (style.TEXT, 0.55 + height * len(columns))
    figure, axes = style.start().subplots(len(columns), 2, figsize=size, squeeze=False)
    for pair, ((corpus, benchmark), own) in zip(axes, columns, strict=True):
        for axis, (metric, name) in zip(pair, AXES.items(), strict=True):
            over = _over_x if placed else _by_label
            over(axis, own[~own["line"]], metric)
            _lines(axis.axhline if placed else axis.axvline, own[own["line"]], metric)
            if placed:
                axis.set(ylabel=name, xlabel=entry.get("axis", ""))
                axis.set_xscale("log" if entry.get("log") else "linear")
                axis.set_xticks(places, [f"{place:g}" for place in places])
                axis.minorticks_off()
            else:
                axis.set_xlabel(name)
        pair[0].set_title(
            printed(benchmark) + ("" if corpus == benchmark else f" from {printed(corpus)}")
        )
        if not placed:
            pair[1].sharey(pair[0])
            pair[1].tick_params(labelleft=False)
    leakage = " (leakage is marked)" if points["leakage"].any() else ""
    figure.suptitle(entry["title"] + leakage, fontsize="large")
    handles, names = axes[0][0].get_legend_handles_labels()
    if names:
        figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def _over_x(axis, points, metric: str) -> None:
    for i, (series, own) in enumerate(points.fillna({"series": ""}).groupby("series", sort=False)):
        own = own.sort_values("x")
        look = {**style.look(i), "label": series or None, "capsize": 2}
        axis.errorbar(own["x"], own[metric], yerr=_bars(own, metric), **look)
    _dead(axis, points, points["x"], points[metric])


def _by_label(axis, points, metric: str) -> None:
    places = np.arange(len(points))
    for i, (series, own) in enumerate(points.fillna({"series": ""}).groupby("series", sort=False)):
        at = places[points["label"].isin(own["label"])]
        look = {**style.look(i), "linestyle": "none", "label": series or None, "capsize": 2}
        axis.errorbar(own[metric], at, xerr=_bars(own, metric), **look)
    _dead(axis, points, points[metric], places)
    marks = ["*" if leaking else "" for leaking in points["leakage"]]
    names = [label + mark for label, mark in zip(points["label"], marks, strict=True)]
    axis.set_yticks(places, names)
    axis.set_ylim(len(points) - 0.5, -0.5)


def _bars(points, metric: str) -> np.ndarray:
    """Lengths of the bars below and above, (2, n)."""
    value = points[metric].to_numpy()
    ends = points[f"{metric}_low"].to_numpy(), points[f"{metric}_high"].to_numpy()
    return np.array([value - ends[0], ends[1] - value])


def _dead(axis, points, x, y) -> None:
    dead = points["constant_output"].to_numpy()
    if dead.any():
        look = {"label": style.ONE_ANSWER, "markersize": 9, "zorder": 5}
        axis.plot(np.asarray(x)[dead], np.asarray(y)[dead], "kx", **look)


def _lines(draw_line, lines, metric: str) -> None:
    for i, row in enumerate(lines.to_dict("records")):
        look = {**style.DASHED, "linestyle": style.LINES[(i + 1) % len(style.LINES)]}
        draw_line(row[metric], label=row["label"], **look)
