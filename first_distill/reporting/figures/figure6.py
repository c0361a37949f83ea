"""Figure 6: the teacher's ECE against c, and what students make of other values of c.

Reads coarse.csv, refined.csv and selected.json of each family's temperature search, and the
metrics.json of students trained at given c; writes figure6.csv and the picture.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas

from first_distill.calibration.metrics import trust_score
from first_distill.calibration.temperature_search import read_temperature
from first_distill.reporting.figures import style
from first_distill.reporting.names import HEADLINE, printed
from first_distill.reporting.output import paired, read
from first_distill.reporting.runs import read_metrics

PAPER_C = 0.3
COLUMNS = (
    *("part", "family", "corpus", "benchmark", "seed", "c", "n", "ece", "accuracy", "confidence"),
    *("trust", "nll", "at_edge", "teacher_ece"),
)
SPOKEN = {"ece": "ECE"}
STUDENT_COLORS = {"accuracy": "black", "trust": "0.5", "ece": "#994455"}  # none of a family's


def run(args: argparse.Namespace) -> None:
    """Make Figure 6."""
    searches = paired(args, "families", "coarse", "refined", "selected")
    students = paired(args, "student_metrics", "student_c")
    metrics = read_metrics([path for path, _ in students], args.benchmark)
    frames = [curves(args.corpus, *search) for search in searches]
    rows = [student(*own) for own in zip(metrics, args.student_c, strict=True)]
    data = pandas.concat([*frames, *([pandas.DataFrame(rows)] if rows else [])])
    data = data.reindex(columns=list(dict.fromkeys([*COLUMNS, *data])))
    given = dict.fromkeys([*args.selected, *args.student_metrics, *args.student_c])
    sources = [word for word in given if word.endswith(".json")]  # not the temperatures
    style.draw_and_publish("figure6", data, draw, args.output_prefix, sources)


def curves(corpus: str, family: str, coarse: str, refined: str, selected: str):
    """Return a data frame of one search's points, in percent, and its choice (`part`)."""
    files = {"coarse": coarse, "refined": refined}
    parts = [read(f"{part}.csv", path, "c", "n").assign(part=part) for part, path in files.items()]
    points = pandas.concat(parts).assign(family=family, corpus=corpus)
    points[["ece", "accuracy", "confidence"]] *= 100
    points["trust"] = trust_score(points["accuracy"], points["ece"])
    search = read("selected.json", selected, "c", "at_edge")
    chosen = points[(points["c"] - search["c"]).abs() < 1e-9].tail(1)
    extra = {"at_edge": search["at_edge"], "teacher_ece": 100 * search["teacher_ece"]}
    return pandas.concat([points, chosen.assign(part="selected", **extra)])


def student(metrics: dict, word: str) -> dict:
    """Return a student's metrics (already percent), intervals and c (from a selected.json)."""
    c = read_temperature(word, what="--student-c")["c"]
    labels = ("family", "corpus", "benchmark", "seed", "n", *HEADLINE, "nll")
    row = {"part": "student", "c": c, **{name: metrics[name] for name in labels}}
    for name in HEADLINE:
        row[f"{name}_low"], row[f"{name}_high"] = metrics["intervals"][name]
    return row | style.dead_mark([metrics])


def draw(data):
    """Return the figure: left the search on validation, right students on the test questions."""
    panels = [["search", "top"], ["search", "bottom"]]
    figure, axes = style.start().subplot_mosaic(panels, figsize=(style.TEXT, 2.7))
    _curves(axes["search"], data[data["part"] != "student"])
    if (data["part"] == "student").any():
        _students(axes["top"], axes["bottom"], data[data["part"] == "student"])
    else:
        axes["top"].set_title("no students at other c")
    shown = [axes[name].get_legend_handles_labels()[0] for name in ("search", "top", "bottom")]
    figure.legend(handles=sum(shown, []), loc="outside lower center", ncols=4)
    return figure


def _students(top, bottom, students) -> None:
    by_c = students.groupby("c")
    for i, (name, color) in enumerate(STUDENT_COLORS.items(), 4):  # no family's marker
        axis = bottom if name == "ece" else top
        mean, ends = by_c[name].mean(), by_c[[f"{name}_low", f"{name}_high"]].mean()
        line = {
            **style.look(i),
            "color": color,
            "capsize": 2,
            "label": f"student's {SPOKEN.get(name, name)}",
        }
        axis.errorbar(mean.index, mean, yerr=np.abs(ends.to_numpy().T - mean.to_numpy()), **line)
        if text := style.dead_text(students):
            dead = students[students["constant_output"].notna()]
            mark = {"label": text if name == "accuracy" else None, "markersize": 9, "zorder": 5}
            axis.plot(dead["c"], dead[name], "kx", **mark)
    top.sharex(bottom)
    bottom.set(ylabel="Student ECE (%)", xlabel="$c$ of the student's targets")
    family, corpus, benchmark = students.iloc[0][["family", "corpus", "benchmark"]].map(printed)
    title = f"{family}'s students (lines: 95 % interval), {corpus} → {benchmark}"
    top.set(ylabel="Student (%)", title=title)
    style.from_zero(top)
    style.from_zero(bottom)


def _curves(axis, searches) -> None:
    for i, (family, own) in enumerate(searches.groupby("family", sort=False)):
        coarse, refined = own[own["part"] == "coarse"], own[own["part"] == "refined"]
        chosen = own[own["part"] == "selected"].iloc[0]
        edge = ", edge" if chosen["at_edge"] else ""
        label = f"{printed(family)} ($c$ = {chosen['c']:.2f}{edge})"
        line = own.sort_values("c")
        axis.plot(line["c"], line["ece"], **{**style.family_look(i), "marker": ""})
        points = {**style.family_look(i), "linestyle": "none"}
        axis.plot(coarse["c"], coarse["ece"], label=label, **points)
        axis.plot(refined["c"], refined["ece"], **points, markerfacecolor="white")
        star = {"markersize": 9, "markeredgecolor": "black", "zorder": 5}
        axis.plot(chosen["c"], chosen["ece"], "*", color=points["color"], **star)
    axis.axvline(PAPER_C, label=f"paper ($c$ = {PAPER_C})", **style.DASHED)
    axis.set(xlabel="$c$ of Eq. 4", ylabel="Recalibrated teacher's ECE (%)")
    axis.set_title(
        f"{printed(searches.iloc[0]['corpus'])}, validation (open: refined, star: chosen)"
    )
    style.from_zero(axis)
