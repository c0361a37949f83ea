"""Ablations, and variants of scales: settings laid over those of every scale."""

from typing import Annotated, Literal

from pydantic import Field

from scripts.first.config.types import Line, Model, Name, Names, Number, key

Text = Annotated[Line, Field(min_length=1)]


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
    printed: Name = key("Method of the paper's Table 1 for which the point stands.", None)


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
