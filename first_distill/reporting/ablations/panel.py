"""The panel of an ablation: ECE and accuracy of its points, with intervals, a row a column."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from first_distill.reporting.ablations.points import label_of
from first_distill.reporting.figures import style
from first_distill.reporting.names import printed

AXES = {"ece": "ECE (%)", "accuracy": "Accuracy (%)"}
# Of lines, as many as there are colours.
DASHES = ((0, (5, 1)), "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 3)))
DASHES += ((0, (8, 2, 2, 2)), (0, (2, 2)), (0, (10, 1)))
SHIFT = 0.03  # between series over x, of the points' range


def draw(entry: dict, rows):
    """Return the figure; rows: `Comparison.rows`. Points over x if they have one, else by label."""
    columns = list(rows.groupby(["corpus", "benchmark"], sort=False))
    points = rows[~rows["line"]]
    placed, labels = points["x"].notna().all(), points["label"].unique()
    height = 1.5 if placed else 0.35 + 0.17 * len(labels)
    figure, axes = style.start().subplots(
        *(len(columns), 2),
        figsize=(style.TEXT, 1.0 + height * len(columns)),
        squeeze=False,
        sharex="col",
        sharey="col" if placed else "row",
    )
    found = looks(entry)
    for pair, ((corpus, benchmark), own) in zip(axes, columns, strict=True):
        for axis, metric in zip(pair, AXES, strict=True):
            over = _over_x if placed else _by_label
            over(axis, own[~own["line"]], metric, found, entry)
            _lines(axis.axhline if placed else axis.axvline, own[own["line"]], metric, found)
        pair[0].set_title(
            printed(benchmark) + ("" if corpus == benchmark else f" from {printed(corpus)}")
        )
    for axis, name in zip(axes[-1], AXES.values(), strict=True):
        axis.set_xlabel(entry.get("axis", "") if placed else name)
    # An ECE of 0 is in sight, and the cap of a bar that reaches it.
    ends = axes[0][0].get_ylim() if placed else axes[0][0].get_xlim()
    (axes[0][0].set_ylim if placed else axes[0][0].set_xlim)(-0.02 * ends[1])
    leakage = "; *: leakage" if points["leakage"].any() else ""
    figure.suptitle(f"{entry['title']} (lines: 95 % intervals{leakage})")
    named = {}
    for axis in figure.axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    if named:
        figure.legend([*named.values()], [*named], loc="outside lower center", ncols=4)
    return figure


def looks(entry: dict) -> dict[tuple, dict]:
    """{(whether a line, its name or that of a series): look}.

    A series whose points have one method looks as that method does, others by their order; points
    of several methods that have no series are dark. Series have solid lines, lines have dashes.
    """
    methods: dict[tuple, set[str]] = {}
    for point in entry["points"]:
        line = bool(point.get("line"))
        name = label_of(point) if line else point.get("series") or ""
        methods.setdefault((line, name), set()).add(point.get("printed", point["method"]))
    others, found = cycle(range(len(style.METHODS), len(style.COLORS))), {}
    for (line, name), (method, *more) in methods.items():
        known = method in style.METHODS and not more
        if not (known or name):
            found[line, name] = {"color": "0.25", "marker": "o", "linestyle": "-"}
            continue
        i = style.METHODS.index(method) if known else next(others)
        look = {**style.look(i), "linestyle": "-"}
        if line:
            look = {"color": look["color"], "linestyle": DASHES[i], "zorder": 1}
        found[line, name] = look
    return found


def _series(points) -> list[tuple]:
    """(name, its rows); '' is the name of points without a series."""
    return list(points.fillna({"series": ""}).groupby("series", sort=False))


def _over_x(axis, points, metric: str, found: dict, entry: dict) -> None:
    series, places = _series(points), sorted(points["x"].unique())
    for i, (name, own) in enumerate(series):
        own, step = own.sort_values("x"), SHIFT * (i - (len(series) - 1) / 2)
        if entry.get("log"):
            x = own["x"] * (places[-1] / places[0]) ** step
        else:
            x = own["x"] + (places[-1] - places[0]) * step
        look = {**found[False, name], "label": name or None, "capsize": 2}
        axis.errorbar(x, own[metric], yerr=_bars(own, metric), **look)
        _dead(axis, own, x, own[metric])
    axis.set_ylabel(AXES[metric])
    axis.set_xscale("log" if entry.get("log") else "linear")
    axis.set_xticks(places, [f"{place:g}" for place in places])
    axis.minorticks_off()


def _by_label(axis, points, metric: str, found: dict, entry: dict) -> None:
    places = np.arange(len(points))
    for name, own in _series(points):
        at = places[points["label"].isin(own["label"])]
        look = {**found[False, name], "linestyle": "none", "label": name or None, "capsize": 2}
        axis.errorbar(own[metric], at, xerr=_bars(own, metric), **look)
        _dead(axis, own, own[metric], at)
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


def _lines(draw_line, lines, metric: str, found: dict) -> None:
    """A line for each value: a post-hoc temperature changes no accuracy."""
    for _, row in lines.drop_duplicates(metric).iterrows():
        draw_line(row[metric], label=row["label"], **found[True, row["label"]])
