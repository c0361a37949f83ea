"""Types that the configuration's models share: bounded numbers, names, closed mappings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _no_bool(value):
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


def _unique(values: list) -> list:
    if len({*values}) < len(values):
        raise ValueError("should not list an entry twice")
    return values


def key(description: str, default=..., **limits):
    """A field of a model. One whose default is None may be left out, but not be null."""
    return Field(default, description=description, **limits)


NoBool, Unique = BeforeValidator(_no_bool), AfterValidator(_unique)
Null = BeforeValidator(lambda value: None if value in ("", "null", "~") else value)  # of --config
Whole, Number = Annotated[int, NoBool], Annotated[float, NoBool]
Seed = Annotated[int, Field(ge=0, lt=2**32), NoBool]
Rows = Annotated[int, Field(ge=1, le=100_000_000), NoBool]
Size = Annotated[int, Field(ge=1, le=2**24), NoBool]
Share = Annotated[float, Field(ge=0, le=1), NoBool]
Fraction = Annotated[float, Field(gt=0, lt=1), NoBool]
Positive = Annotated[float, Field(gt=0, le=1_000_000), NoBool]
Weight = Annotated[float, Field(ge=-1000, le=1000), NoBool]
C = Annotated[float, Field(gt=0, le=1), NoBool]

HUB_NAME = "[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]
VARIANT = "-"  # between the names of a scale and of its variant
ScaleName = Annotated[
    str, Field(pattern=f"^[a-z][a-z0-9_]{{0,47}}({VARIANT}[a-z][a-z0-9_]{{0,47}})?$")
]
ModelName = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,47}$")]
ClaimId = Annotated[str, Field(pattern="^[a-z][a-z0-9_.]{0,79}$")]
HubId = Annotated[str, Field(pattern=f"^{HUB_NAME}/{HUB_NAME}$")]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Partition = Annotated[str, Field(pattern="^[A-Za-z0-9_][A-Za-z0-9_.,-]*$")]
# Columns, labels and candidates: any text of one line.
Line = Annotated[str, Field(pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$", max_length=500)]
Folder = Annotated[str, Field(pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$", max_length=4000)]
Bundled = Annotated[str, Field(pattern="^resources/[a-z0-9/_-]{1,190}$")]
Questions = Annotated[str, Field(pattern=r"^[^-{}\p{C}][^{}\p{C}]*$", max_length=500)]

Official = Literal["csqa", "boolq", "obqa", "alpaca"]
Split = Literal["train", "validation", "test"]
Columns = Annotated[dict[Name, Name], Field(min_length=1)]
Text = Annotated[list[Name], Unique]
Names = Annotated[list[Name], Unique]
Stage = Literal[
    "data", "models", "teacher", "knowledge", "temperature", "student", "evaluation", "artifacts"
]
Recalibration = Literal["none", "label_smoothing", "prob_softmax", "logit_temperature", "sampled"]
StudentSide = Literal["full_vocab", "renorm", "softmax_same_c", "tail_bucket"]
Positions = Literal["all", "answer_only"]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
