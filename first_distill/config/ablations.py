"""Ablations, and variants of scales: settings laid over those of every scale."""

from collections import Counter
from typing import Annotated, Literal, get_args

from pydantic import Field

from first_distill.config.datasets import Checks
from first_distill.config.types import Line, Model, Name, Names, Number, key

Text = Annotated[Line, Field(min_length=1)]
Printed = Literal["finetune", "distill", "distill_ls", "first_ts"]
PRINTED = get_args(Printed)


class Variant(Model):
    """Not `models`, `families`, `settings`: a variant has the columns and models of its scale."""

    data: dict = key("Laid over the scale's `data`.", None)
    encoding: dict = key("Laid over the scale's `encoding`.", None)
    teacher: dict = key("Laid over the scale's `teacher`.", None)
    knowledge: dict = key("Laid over the scale's `knowledge`.", None)
    temperature: dict = key("Laid over the scale's `temperature`.", None)
    student: dict = key("Laid over the scale's `student`.", None)
    resources: dict = key("Laid over the scale's `resources`.", None)


class Point(Model):
    label: Text = key("Printed name, of this point alone.")
    method: Name = key("One of `methods`.")
    variant: Name = key("One of `variants`; default: the scale itself.", None)
    x: Number = key("Place on the axis: of all points or of none.", None, ge=0, le=1_000_000)
    series: Text = key("Points of one series are joined by a line and compared.", None)
    reference: bool = key("Others of its series are compared with it; default the first.", None)
    printed: Printed = key("Method of the paper's Table 1 for which the point stands.", None)
    table: Text = key("Points with `printed` form a table of all four; default one table.", None)


class Ablation(Model):
    title: Text = key("What is compared.")
    points: list[Point] = key("Each a method of a scale or of its variant.", min_length=2)
    columns: Literal["first", "in_domain", "out_of_domain", "all"] = key(
        "Columns of Table 1; default the first in-domain one.", None
    )
    families: Literal["one", "all"] = key("Default one: `family` of the scale's `figures`.", None)
    lines: Names = key("Methods drawn as lines, beside the points.", None)
    axis: Text = key("Name of the axis of x.", None)
    log: bool = key("Whether that axis is logarithmic.", None)
    note: Text = key("A sentence for the page.", None)


def ablation_checks(path: str, entry: dict) -> Checks:
    """Whether the points of an ablation fit one another; path: of the ablation."""
    points, where = entry["points"], f"{path}.points"
    labels = [repr(point["label"]) for point in points]
    yield from _once(where, "two points have the label", labels)
    series = {point.get("series") for point in points}
    yield len(series) == len(points), where, "no series has two points to compare"
    models = [f"{point['method']}, {point.get('variant', 'none')}" for point in points]
    yield from _once(where, "two points have the same method and variant:", models)
    marked = [
        f"of series {point['series']!r}" if "series" in point else "without a series"
        for point in points
        if point.get("reference")
    ]
    yield from _once(where, "two references among points", marked)
    placed = sum("x" in point for point in points)
    yield placed not in (0, len(points)), where, "all need an x, or none"
    for name in ("axis", "log"):
        yield name in entry and not placed, f"{path}.{name}", "has no effect without x"
    tables: dict[str, list[str]] = {}
    for i, point in enumerate(points):
        alone = "table" in point and "printed" not in point
        yield alone, f"{where}.{i}.table", "has no effect without printed"
        if "printed" in point:
            tables.setdefault(point.get("table", ""), []).append(point["printed"])
    for name, found in tables.items():
        what = f"table {name!r}: needs a point printed as each of {', '.join(PRINTED)}, and no more"
        yield sorted(found) != sorted(PRINTED), where, what


def _once(where: str, what: str, names: list[str]) -> Checks:
    """Whether none of the names is there twice."""
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    yield count > 1, where, f"{what} {name}"
