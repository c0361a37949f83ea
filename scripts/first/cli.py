"""Command-line options that several stages share, and how they become settings and inputs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from scripts.first.errors import positive, whole
from scripts.first.training.loop import Settings


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser named after the module's command line.

    description: the module's docstring, of which the first line is shown; None under `python -OO`.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=(description or "").split("\n")[0],
        formatter_class=_Help,
        allow_abbrev=False,
    )


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        bare = action.required or action.default is None
        return action.help if bare else super()._get_help_string(action)


def add_encoding_options(options: argparse.ArgumentParser) -> None:
    """--block-length and --append-eos."""
    group = options.add_argument_group("encoding")
    group.add_argument("--block-length", type=positive, required=True, help="longest row in tokens")
    group.add_argument(
        "--append-eos",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="teach the end of the response (the authors did not)",
    )


def add_training_options(options: argparse.ArgumentParser) -> None:
    """Optimiser settings and the order's seed."""
    group = options.add_argument_group("training")
    group.add_argument("--epochs", type=float, required=True, help="passes over the training split")
    group.add_argument("--batch-size", type=int, required=True, help="rows of one optimiser step")
    group.add_argument("--micro-batch-size", type=int, help="rows of one forward pass")
    group.add_argument(
        "--length-pool", type=int, default=128, help="batches sorted by length together"
    )
    group.add_argument("--learning-rate", type=float, required=True, help="peak of the cosine")
    group.add_argument("--warmup-ratio", type=float, default=0.03, help="share of the steps")
    group.add_argument("--weight-decay", type=float, default=0.0, help="AdamW's")
    group.add_argument("--adam-eps", type=float, default=1e-6, help="AdamW's epsilon")
    group.add_argument("--max-grad-norm", type=float, default=1.0, help="gradient clipping")
    group.add_argument("--seed", type=whole, required=True, help="seed of order and initialisation")
    group.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the arithmetic and of the checkpoint; weights are trained in float32",
    )
    group.add_argument(
        "--gradient-checkpointing",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="trade time for memory",
    )
    group.add_argument(
        "--offload-optimizer",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep weights, gradients and the optimizer's state in host memory",
    )
    group.add_argument(
        "--state-dir", type=Path, help="folder of the state that a stopped run resumes from"
    )


def add_validation_options(options: argparse.ArgumentParser) -> None:
    """--validation, --bins and --max-tokens."""
    group = options.add_argument_group("validation")
    group.add_argument("--validation", type=Path, required=True, help="validation split (parquet)")
    group.add_argument("--bins", type=positive, default=10, help="bins of the ECE")
    add_inference_options(group)


def add_inference_options(options) -> None:
    """--max-tokens of one forward pass."""
    options.add_argument(
        "--max-tokens", type=positive, default=8192, help="padded tokens of one inference batch"
    )


def training_settings(arguments: argparse.Namespace) -> Settings:
    """Settings from parsed options."""
    return Settings(
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        micro_batch_size=arguments.micro_batch_size,
        warmup_ratio=arguments.warmup_ratio,
        weight_decay=arguments.weight_decay,
        adam_eps=arguments.adam_eps,
        max_grad_norm=arguments.max_grad_norm,
        gradient_checkpointing=arguments.gradient_checkpointing,
        offload_optimizer=arguments.offload_optimizer,
        dtype=arguments.dtype,
        length_pool=arguments.length_pool,
    )


def described(settings: Settings) -> dict:
    """Settings as a plain dictionary for a record."""
    return asdict(settings)
