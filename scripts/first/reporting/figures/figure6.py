"""Figure 6: the teacher's ECE against c, and what students make of other values of c.

Reads coarse.csv, refined.csv and selected.json of each family's temperature search, and the
metrics.json of students trained at given c; writes figure6.pdf, .png and .csv.
"""

from __future__ import annotations

import argparse

import numpy as np

from scripts.first.files import read_csv
from scripts.first.provenance import records
from scripts.first.reporting.figures import style
from scripts.first.reporting.names import dataset_name, family_name
from scripts.first.reporting.options import paired
from scripts.first.reporting.runs import metrics_on

PAPER_C = 0.3
STUDENT_COLORS = {"accuracy": "black", "trust": "C4", "ece": "C3"}  # none of a family's


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
    rows: list[dict] = []
    for family, *files, selected in paired(args, "families", "coarse", "refined", "selected"):
        rows += curve_rows(family, args.corpus, *files, records.read(selected))
    for path, c in paired(args, "student_metrics", "student_c"):
        rows.append(student_row(metrics_on(path, args.corpus), temperature(c)))
    chosen = [word for word in args.student_c if word.endswith(".json")]
    sources = dict.fromkeys([*args.selected, *args.student_metrics, *chosen])
    style.publish("figure6", rows, draw, args.output_prefix, sources)


def temperature(word: str) -> float:
    """A student's c: a number, or the chosen one of a selected.json."""
    return records.read(word)["c"] if word.endswith(".json") else float(word)


def curve_rows(family: str, corpus: str, coarse: str, refined: str, selected: dict) -> list[dict]:
    """Return the points of one search, in percent, and its choice (`part` = selected)."""
    rows = []
    for part, path in (("coarse", coarse), ("refined", refined)):
        for point in read_csv(records.verified(path)).to_dict("records"):
            row = {"part": part, "family": family, "corpus": corpus, "benchmark": None}
            row |= {"seed": None, "c": point["c"], "n": int(point["n"])}
            row |= {name: 100 * point[name] for name in ("ece", "accuracy", "confidence")}
            row |= {"trust": 100 * (point["accuracy"] - point["ece"]), "nll": point["nll"]}
            rows.append(row | {"at_edge": None, "teacher_ece": None})
    chosen = next(row for row in reversed(rows) if abs(row["c"] - selected["c"]) < 1e-9)
    extra = {"at_edge": selected["at_edge"], "teacher_ece": 100 * selected["teacher_ece"]}
    return [*rows, {**chosen, "part": "selected", **extra}]


def student_row(metrics: dict, c: float) -> dict:
    """Return a student's metrics (already percent) at its c, with intervals where recorded."""
    row = {"part": "student", "family": metrics["family"], "corpus": metrics["corpus"]}
    row |= {"benchmark": metrics["benchmark"], "seed": metrics["seed"], "c": c, "n": metrics["n"]}
    for name in ("ece", "accuracy", "trust"):
        row[name] = metrics[name]
        low, high = metrics.get("intervals", {}).get(name, (None, None))
        row[f"{name}_low"], row[f"{name}_high"] = low, high
    return row | {"nll": metrics["nll"], **style.dead_mark([metrics])}


def draw(data):
    """Return the figure: left the search on validation, right students on the test questions."""
    panels = [["search", "top"], ["search", "bottom"]]
    size = {"figsize": (style.TEXT, 2.9), "width_ratios": [1.15, 1]}
    figure, axes = style.start().subplot_mosaic(panels, **size)
    _curves(axes["search"], data)
    students = data[data["part"] == "student"]
    top, bottom = axes["top"], axes["bottom"]
    if students.empty:
        top.set_axis_off()
        bottom.set_axis_off()
        style.note(top, 0.5, 0, "no students at other c", ha="center", fontsize=8)
        return figure
    several = students["family"].nunique() > 1
    for i, (name, color) in enumerate(STUDENT_COLORS.items()):
        axis = bottom if name == "ece" else top
        by_family = students.groupby(["family", "c"])[name].mean()
        for _, part in by_family.groupby("family"):
            axis.plot(part.index.get_level_values("c"), part, color=color, lw=0.6, alpha=0.45)
        mean = by_family.groupby("c").mean()
        # Of several families the spread says more than the questions do.
        ends = students.groupby("c")[[f"{name}_low", f"{name}_high"]].mean()
        reach = None if several else np.abs(ends.to_numpy().T - mean.to_numpy())
        line = {**style.look(i), "color": color, "label": name.capitalize()}
        axis.errorbar(mean.index, mean, yerr=reach, **line)
        if text := style.dead_text(students):
            dead = students[students["constant_output"].notna()]
            label = text if name == "accuracy" else None
            axis.plot(dead["c"], dead[name], "rx", markersize=7, zorder=5, label=label)
    for axis in (top, bottom):
        axis.margins(y=0.15)
        axis.set_ylim(bottom=0)
    top.sharex(bottom)
    top.tick_params(labelbottom=False)
    top.set_ylabel("Student (%)")
    top.legend(loc="lower right", ncol=2, title="thin: one family" if several else None)
    bottom.set(ylabel="Student ECE (%)", xlabel="$c$ of the student's targets")
    if not several:
        style.note(bottom, 0.98, 0.05, "bars: 95 %", ha="right")
    corpus, benchmark = students.iloc[0][["corpus", "benchmark"]].map(dataset_name)
    whose = "Students" if several else f"{family_name(students.iloc[0]['family'])}'s students"
    style.title(top, "b", f"{whose}, {corpus} → {benchmark}")
    return figure


def _curves(axis, data) -> None:
    searches = data[data["part"] != "student"]
    for i, family in enumerate(searches["family"].unique()):
        own = searches[searches["family"] == family]
        parts = dict(list(own.groupby("part")))
        points, chosen = {**style.look(i), "linestyle": "none"}, parts["selected"].iloc[0]
        edge = ", edge" if chosen["at_edge"] else ""
        label = f"{family_name(family)} ($c$ = {chosen['c']:.2f}{edge})"
        line = own.sort_values("c").drop_duplicates("c")
        axis.plot(line["c"], line["ece"], **{**style.look(i), "marker": ""}, linewidth=0.9)
        axis.plot(parts["coarse"]["c"], parts["coarse"]["ece"], label=label, **points)
        hollow = {"markersize": 2.6, "markerfacecolor": "white", "markeredgewidth": 0.7}
        axis.plot(parts["refined"]["c"], parts["refined"]["ece"], **points, **hollow)
        star = {"markersize": 9, "markeredgecolor": "black", "markeredgewidth": 0.6, "zorder": 5}
        axis.plot(chosen["c"], chosen["ece"], "*", color=f"C{i}", **star)
    axis.axvline(PAPER_C, **style.DASHED)
    place = {"transform": axis.get_xaxis_transform(), "color": "0.35", "va": "bottom"}
    style.note(axis, PAPER_C + 0.012, 0.02, f"paper {PAPER_C}", **place)
    axis.set(xlabel="$c$ of Eq. 4", ylabel="ECE of recalibrated teacher\non validation (%)")
    axis.set_ylim(0, 1.1 * axis.dataLim.y1)
    axis.legend(loc="upper right", title="coarse filled, refined open, star chosen", framealpha=1)
    style.title(axis, "a", f"Search on {dataset_name(searches.iloc[0]['corpus'])}")
