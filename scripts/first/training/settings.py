"""How a model is trained: the settings and their command-line options."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

from scripts.first.errors import UserError, whole

POSITIVE = "epochs batch_size micro_batch_size learning_rate adam_eps length_pool".split()
HUGE = 1e18  # products of two settings stay within float32


@dataclass(frozen=True)
class Settings:
    """`batch_size` counts the rows of one optimizer step, of all processes together."""

    epochs: float
    batch_size: int
    learning_rate: float
    seed: int
    micro_batch_size: int | None = None
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    adam_eps: float = 1e-6
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    offload_optimizer: bool = False
    dtype: str = "float32"
    length_pool: int = 128

    def __post_init__(self) -> None:
        """Raise UserError for values that would train nothing, or something else, silently."""
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not 0 < value < HUGE:
                raise UserError(
                    f"{name} = {value}: training settings: it must be positive and below {HUGE:g}"
                )
        if not (0 <= self.warmup_ratio <= 1 and 0 <= self.weight_decay < HUGE):
            raise UserError(
                f"training settings: warmup_ratio must lie in [0, 1], weight_decay in [0, {HUGE:g})"
            )
        if not self.max_grad_norm > 0:
            raise UserError("training settings: max_grad_norm must be positive")


def add_training_options(options: argparse.ArgumentParser) -> None:
    """Options for the fields of `Settings`, and --state-dir."""
    group = options.add_argument_group("training")
    group.add_argument("--epochs", type=float, required=True, help="passes over the training split")
    group.add_argument("--batch-size", type=int, required=True, help="rows of one optimizer step")
    group.add_argument("--micro-batch-size", type=int, help="rows of one forward pass")
    group.add_argument("--learning-rate", type=float, required=True, help="peak of the cosine")
    group.add_argument("--seed", type=whole, required=True, help="seed of order and initialisation")
    for name, kind, text in (
        ("length_pool", int, "batches whose rows are sorted by length together"),
        ("warmup_ratio", float, "share of the steps"),
        ("weight_decay", float, "AdamW's weight decay"),
        ("adam_eps", float, "AdamW's epsilon"),
        ("max_grad_norm", float, "gradients are clipped to this norm"),
    ):
        option = "--" + name.replace("_", "-")
        group.add_argument(option, type=kind, default=getattr(Settings, name), help=text)
    group.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default=Settings.dtype,
        help="dtype of the arithmetic and of the checkpoint; weights are trained in float32",
    )
    group.add_argument(
        "--gradient-checkpointing",
        action=argparse.BooleanOptionalAction,
        default=Settings.gradient_checkpointing,
        help="trade time for memory",
    )
    group.add_argument(
        "--offload-optimizer",
        action=argparse.BooleanOptionalAction,
        default=Settings.offload_optimizer,
        help="keep weights, gradients and the optimizer's state in host memory",
    )
    group.add_argument(
        "--state-dir", type=Path, help="folder of the state that a stopped run resumes from"
    )


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Settings from parsed options."""
    return Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})
