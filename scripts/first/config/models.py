"""The whole configuration: where things lie on this machine, methods, Table 1 and the scales."""

from typing import Annotated, Literal

from pydantic import Field

from scripts.first.config.scale import (
    C,
    Folder,
    Fraction,
    Model,
    Name,
    Names,
    Null,
    Partition,
    Positions,
    Scale,
    StudentSide,
    key,
)


class Mirror(Model):
    mirror: Annotated[Folder | None, Null] = key(
        "Local folder in hub layout to read from instead of the hub. The environment variables "
        "FIRST_DATA_MIRROR and FIRST_MODEL_MIRROR do the same."
    )


class Fetch(Model):
    partition: Annotated[Partition | None, Null] = key(
        "Cluster partition with network access, for the rules that download. null: those rules "
        "run where snakemake runs."
    )


class Untuned(Model):
    objective: Literal["none"] = key("A base model without fine-tuning.")
    model: Literal["student", "teacher"] = key("Whose base model; default student.", None)


class FineTuned(Model):
    objective: Literal["teacher", "hard_labels"] = key("Teacher or student, by cross-entropy.")


class Knowledge(Model):
    objective: Literal["knowledge"] = key("A student trained to match knowledge (Eq. 5).")
    recalibration: Literal["none", "label_smoothing", "prob_softmax"] = key(
        "Normalisation of appendix A.1, Eq. 3, or Eq. 4."
    )
    delta: Fraction = key("Shift of Eq. 3.", None)
    ls_space: Literal["prob", "log"] = key(
        "Eq. 3 on probabilities, or on log-probabilities as in the released code.", None
    )
    c: C | Literal["selected"] = key("Temperature of Eq. 4; selected: by the search.", None)
    student_side: StudentSide = key("Replaces the scale's, for an ablation.", None)
    ts_positions: Positions = key("Replaces the scale's, for an ablation.", None)


class Posthoc(Model):
    objective: Literal["posthoc"] = key("A trained student with one temperature on its logits.")
    of: Name = key("Method that trained the student.")


class Table1(Model):
    methods: Names = key("Methods in the order of the table's rows.", min_length=1)


Method = Annotated[Untuned | FineTuned | Knowledge | Posthoc, Field(discriminator="objective")]


class Config(Model):
    scale: Name = key("Scale of targets such as `all` and `table1`; a path names its own.")
    data: Mirror = key("Where datasets lie on this machine.")
    models: Mirror = key("Where models lie on this machine.")
    fetch: Fetch = key("Downloads.")
    methods: dict[Name, Method] = key("Methods by name.", min_length=1)
    table1: Table1 = key("Table 1.")
    scales: dict[Name, Scale] = key("Scales by name, one file each in config/scales.", min_length=1)
