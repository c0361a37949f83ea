"""Figure 6: the teacher's ECE against c, and what students make of other values of c.

Reads coarse.csv, refined.csv and selected.json of each family's temperature search, and the
metrics.json of students trained at given c; writes figure6.pdf, .png and .csv.
"""

from __future__ import annotations

import argparse

import numpy as np

from scripts.first.errors import UserError
from scripts.first.files import read_csv
from scripts.first.provenance import records
from scripts.first.reporting.figures.style import (
    LINES,
    MARKERS,
    PAPER_LINE,
    TEXT,
    panel_letter,
    save,
    start,
)
from scripts.first.reporting.names import ONE_ANSWER, dataset_name, dead_mark, family_name, is_dead
from scripts.first.reporting.sealing import FIGURE, seal

PAPER_C = 0.3
SHOWN = {"ece": "ECE", "accuracy": "Accuracy", "trust": "Trust"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts figure6`."""
    parser.add_argument("--coarse", nargs="+", required=True, help="coarse.csv of each family")
    parser.add_argument("--refined", nargs="+", required=True, help="refined.csv, same order")
    parser.add_argument("--selected", nargs="+", required=True, help="selected.json, same order")
    parser.add_argument("--families", nargs="+", required=True, help="names, same order")
    parser.add_argument("--corpus", required=True, help="the corpus of the search, e.g. csqa")
    parser.add_argument("--student-metrics", nargs="*", default=[], help="metrics.json of students")
    parser.add_argument(
        "--student-c", nargs="*", default=[], help="their c, or the selected.json that holds it"
    )
    parser.add_argument("--output-prefix", required=True, help="path without .pdf, .png, .csv")


def run(args: argparse.Namespace) -> None:
    """Make Figure 6."""
    import pandas

    lists = {name: getattr(args, name) for name in ("coarse", "refined", "selected", "families")}
    if len({len(values) for values in lists.values()}) != 1:
        raise UserError(
            "lists of unequal length: figure6: --coarse, --refined, --selected, --families"
        )
    if len(args.student_metrics) != len(args.student_c):
        raise UserError(
            "lists of unequal length: figure6: --student-metrics and --student-c pair up"
        )
    rows = []
    for coarse, refined, selected, family in zip(*lists.values(), strict=True):
        rows += curve_rows(family, args.corpus, coarse, refined, records.read(selected))
    for path, c in zip(args.student_metrics, map(temperature, args.student_c), strict=True):
        rows.append(student_row(records.read(path), c))
    data = pandas.DataFrame(rows)
    save(draw(data), data, args.output_prefix)
    chosen = [word for word in args.student_c if word.endswith(".json")]
    sources = dict.fromkeys([*args.selected, *args.student_metrics, *chosen])
    seal(args.output_prefix, "figure6", FIGURE, sources)


def temperature(word: str) -> float:
    """A student's c: a number, or the chosen one of a selected.json."""
    return records.read(word)["c"] if word.endswith(".json") else float(word)


def curve_rows(family: str, corpus: str, coarse: str, refined: str, selected: dict) -> list[dict]:
    """Return the points of one search, in percent, and its choice (`part` = selected)."""
    rows = []
    for part, path in (("coarse", coarse), ("refined", refined)):
        for point in read_csv(records.verified(path)).to_dict("records"):
            rows.append(
                {
                    "part": part,
                    "family": family,
                    "corpus": corpus,
                    "benchmark": None,
                    "seed": None,
                    "c": point["c"],
                    "n": int(point["n"]),
                    **{name: 100 * point[name] for name in ("ece", "accuracy", "confidence")},
                    "trust": 100 * (point["accuracy"] - point["ece"]),
                    "nll": point["nll"],
                    "at_edge": None,
                    "teacher_ece": None,
                }
            )
    chosen = next(row for row in reversed(rows) if abs(row["c"] - selected["c"]) < 1e-9)
    extra = {"at_edge": selected["at_edge"], "teacher_ece": 100 * selected["teacher_ece"]}
    return [*rows, {**chosen, "part": "selected", **extra}]


def student_row(metrics: dict, c: float) -> dict:
    """Return a student's metrics (already percent) at its c, with intervals where recorded."""
    row = {"part": "student", "family": metrics["family"], "corpus": metrics["corpus"]}
    row |= {"benchmark": metrics["benchmark"], "seed": metrics["seed"], "c": c, "n": metrics["n"]}
    for name in SHOWN:
        row[name] = metrics[name]
        low, high = metrics.get("intervals", {}).get(name, (None, None))
        row[f"{name}_low"], row[f"{name}_high"] = low, high
    return row | {"nll": metrics["nll"], **dead_mark([metrics])}


def draw(data):
    """Return the figure: left the search on validation, right students on the test questions."""
    palette = start()
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(TEXT, 2.9))
    grid = figure.add_gridspec(2, 2, width_ratios=[1.15, 1])
    left = figure.add_subplot(grid[:, 0])
    top = figure.add_subplot(grid[0, 1])
    bottom = figure.add_subplot(grid[1, 1], sharex=top)
    families = list(data["family"].unique())
    _curves(left, data, families, palette)
    students = data[data["part"] == "student"]
    if students.empty:
        for axis in (top, bottom):
            axis.set_axis_off()
        top.text(0.5, 0, "no students at other c", ha="center", transform=top.transAxes)
        return figure
    several = students["family"].nunique() > 1
    for i, name in enumerate(("accuracy", "trust", "ece")):
        axis = bottom if name == "ece" else top
        color = ("black", palette[4], palette[3])[i]  # none of a family's
        for _, part in students.groupby("family"):
            mean = part.groupby("c")[name].mean()
            axis.plot(mean.index, mean, color=color, linewidth=0.6, alpha=0.45)
        mean = students.groupby(["c", "family"])[name].mean().groupby("c").mean()
        ends = students.groupby("c")[[f"{name}_low", f"{name}_high"]].mean()
        if several:  # the spread over families says more than the questions do
            ends[:] = np.nan
        reach = np.abs(ends.to_numpy().T - mean.to_numpy())
        axis.errorbar(
            mean.index,
            mean,
            yerr=reach,
            color=color,
            marker=MARKERS[i],
            linestyle=LINES[i],
            label=SHOWN[name],
        )
        if is_dead(students):
            dead = students[students["constant_output"].notna()]
            label = ONE_ANSWER if name == "accuracy" else None
            axis.plot(dead["c"], dead[name], "rx", markersize=7, zorder=5, label=label)
    top.tick_params(labelbottom=False)
    top.set_ylabel("Student (%)")
    top.margins(y=0.15)
    top.set_ylim(bottom=0)
    top.legend(loc="lower right", ncol=2, title="thin: one family" if several else None)
    bottom.set_ylabel("Student ECE (%)")
    bottom.set_xlabel("$c$ of the student's targets")
    bottom.set_ylim(bottom=0)
    bottom.margins(y=0.15)
    if not several:
        bottom.text(0.98, 0.05, "bars: 95 %", ha="right", fontsize=7, transform=bottom.transAxes)
    corpus, benchmark = students.iloc[0][["corpus", "benchmark"]].map(dataset_name)
    whose = "Students" if several else f"{family_name(students.iloc[0]['family'])}'s students"
    panel_letter(top, "b", f"{whose}, {corpus} → {benchmark}")
    return figure


def _curves(axis, data, families: list[str], palette) -> None:
    for i, family in enumerate(families):
        own = data[data["family"] == family]
        coarse, refined = own[own["part"] == "coarse"], own[own["part"] == "refined"]
        both = own[own["part"].isin(("coarse", "refined"))].sort_values("c").drop_duplicates("c")
        if both.empty:
            continue
        style = {"color": palette[i], "marker": MARKERS[i]}
        axis.plot(both["c"], both["ece"], color=palette[i], linestyle=LINES[i % 4], linewidth=0.9)
        chosen = own[own["part"] == "selected"].iloc[0]
        edge = ", edge" if chosen["at_edge"] else ""
        label = f"{family_name(family)} ($c$ = {chosen['c']:.2f}{edge})"
        axis.plot(coarse["c"], coarse["ece"], linestyle="none", label=label, **style)
        axis.plot(
            refined["c"],
            refined["ece"],
            linestyle="none",
            markersize=2.6,
            markerfacecolor="white",
            markeredgewidth=0.7,
            **style,
        )
        axis.plot(
            chosen["c"],
            chosen["ece"],
            "*",
            color=palette[i],
            markersize=9,
            markeredgecolor="black",
            markeredgewidth=0.6,
            zorder=5,
        )
    axis.axvline(PAPER_C, **PAPER_LINE)
    axis.text(
        PAPER_C + 0.012,
        0.02,
        "paper 0.3",
        color="0.35",
        fontsize=7,
        va="bottom",
        transform=axis.get_xaxis_transform(),
    )
    axis.set_xlabel("$c$ of Eq. 4")
    axis.set_ylabel("ECE of recalibrated teacher\non validation (%)")
    axis.set_ylim(0, 1.1 * axis.dataLim.y1)
    axis.legend(loc="upper right", title="coarse filled, refined open, star chosen", framealpha=1)
    corpus = dataset_name(data.iloc[0]["corpus"])
    panel_letter(axis, "a", f"Search on {corpus}")
