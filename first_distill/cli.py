"""Command-line parsers, and the options that several stages share."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from first_distill.errors import positive


class Parser(argparse.ArgumentParser):
    """A parser, and those of its commands: no abbreviations, defaults in the help."""

    def __init__(self, **settings):
        defaults = argparse.ArgumentDefaultsHelpFormatter
        super().__init__(formatter_class=defaults, allow_abbrev=False, **settings)

    def format_help(self) -> str:
        """The help, without a default where there is none."""
        return re.sub(r"\s+\(default:\s+(None|\[\])\)", "", super().format_help())


def parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m module`, described by the first line of the module's docstring.

    There is no docstring under PYTHONOPTIMIZE=2.
    """
    return Parser(prog=f"python -m {module}", description=(doc or "").partition("\n")[0])


def json_object(text: str) -> dict:
    """A JSON object (no NaN or infinity), as the type of an option."""
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"not an object: {text[:80]!r}: pass one JSON object")
    return found


def add_encoding_options(options: argparse.ArgumentParser) -> None:
    """--block-length, --append-eos and --bos."""
    group = options.add_argument_group("encoding")
    group.add_argument("--block-length", type=positive, required=True, help="longest row in tokens")
    group.add_argument(
        "--append-eos",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train on the end of the response (the authors did not)",
    )
    add_bos_option(group)


def add_bos_option(options) -> None:
    """--bos."""
    text = "BOS before every text; auto: where the model's tokenizer puts one"
    options.add_argument("--bos", choices=("auto", "always", "never"), default="auto", help=text)


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
