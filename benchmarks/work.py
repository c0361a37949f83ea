"""Real rows, stored knowledge and steps that several benchmarks share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.points import Bench
from first_distill.data.rows import read_rows
from first_distill.models.encoding import EncodedRow, encode_rows
from first_distill.models.tokenizer import TextTokenizer, load_tokenizer


@cache
def tokenizer_of(bench: Bench) -> TextTokenizer:
    """The benchmark's tokenizer."""
    return load_tokenizer(bench.tokenizer())


@cache
def encoded_rows(
    bench: Bench, dataset: str, rows: int, block: int | None = None
) -> list[EncodedRow]:
    """The first rows of a training split, encoded."""
    table = read_rows(bench.prepared(dataset)["train"])[:rows]
    return encode_rows(table, tokenizer_of(bench), block or bench.block)[0]


def tokens_of(rows: list[EncodedRow]) -> int:
    """Tokens that are read, without padding."""
    return sum(len(row.input_ids) for row in rows)


def positions_of(rows: list[EncodedRow]) -> int:
    """Supervised positions."""
    return sum(len(row.labels) for row in rows)


def loaded(folder: Path, dtype: str = "float32"):
    """A model ready to run, on the GPU where there is one."""
    from first_distill.models.checkpoints import load_model

    return load_model(folder, dtype)


def lengths_of(rows: list[EncodedRow]) -> np.ndarray:
    """Tokens of each row."""
    return np.asarray([len(row.input_ids) for row in rows])


def synchronise() -> None:
    """Wait for the GPU, if any."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
