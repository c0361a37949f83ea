"""How a model is trained: the settings, which are command-line options too."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

from first_distill import cli
from first_distill.errors import UserError, positive, whole

HUGE = 1e18  # products of two settings stay within float32
FLAG, DTYPES = {"action": BooleanOptionalAction}, ("float32", "bfloat16")


def option(default: object = MISSING, **argument: object):
    """A field of `Settings` with the keyword arguments of its `add_argument`."""
    return field(default=default, metadata=argument)


@dataclass(frozen=True)
class Settings:
    """Settings of one training run, with their options."""

    epochs: float = option(type=float, help="passes over the training split")
    batch_size: int = option(type=positive, help="rows of an optimizer step, of all processes")
    learning_rate: float = option(type=float, help="peak of the cosine")
    seed: int = option(type=whole, help="seed of order and initialisation")
    micro_batch_size: int | None = option(None, type=positive, help="rows of one forward pass")
    warmup_ratio: float = option(0.03, type=float, help="share of the steps")
    weight_decay: float = option(0.0, type=float, help="AdamW's weight decay")
    adam_eps: float = option(1e-6, type=float, help="AdamW's epsilon")
    max_grad_norm: float = option(1.0, type=float, help="gradients are clipped to this norm")
    gradient_checkpointing: bool = option(False, **FLAG, help="trade time for memory")
    offload_optimizer: bool = option(False, **FLAG, help="keep weights and moments on the host")
    dtype: str = option("float32", choices=DTYPES, help="of arithmetic and checkpoint, not weights")
    length_pool: int = option(128, type=positive, help="batches whose rows are sorted together")

    def __post_init__(self) -> None:
        """Raise UserError for values that would silently train nothing or something else."""
        for name in ("epochs", "learning_rate", "adam_eps", "max_grad_norm"):
            if not 0 < (value := getattr(self, name)) < HUGE:
                raise UserError(f"{name} = {value}: training settings: must be in (0, {HUGE:g})")
        if not (0 <= self.warmup_ratio <= 1 and 0 <= self.weight_decay < HUGE):
            raise UserError(
                f"training settings: warmup_ratio must lie in [0, 1], weight_decay in [0, {HUGE:g})"
            )


def add_training_options(options: ArgumentParser) -> None:
    """Options for the fields of `Settings`, --state-dir and those of encoding."""
    cli.add_encoding_options(options)
    group = options.add_argument_group("training")
    for one in fields(Settings):
        needed = {"required": True} if one.default is MISSING else {"default": one.default}
        group.add_argument("--" + one.name.replace("_", "-"), **needed, **one.metadata)
    group.add_argument("--state-dir", type=Path, help="state that a stopped run resumes from")


def add_finetuning_options(options: ArgumentParser) -> None:
    """Options of a teacher's or a student's training."""
    options.add_argument("--model", type=Path, required=True, help="base checkpoint folder")
    options.add_argument("--train", type=Path, required=True, help="training split (parquet)")
    options.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    add_training_options(options)
    cli.add_validation_options(options)


def settings_from(arguments: Namespace) -> Settings:
    """Settings from parsed options."""
    return Settings(**{one.name: getattr(arguments, one.name) for one in fields(Settings)})
