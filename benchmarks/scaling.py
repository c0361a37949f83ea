"""Scaling: time and memory of extraction and training at 1k, 4k and 16k rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import REPETITIONS, Row, costs, isolated, median
from benchmarks.isolated import Peak, anonymous_bytes
from benchmarks.points import Bench
from benchmarks.work import encoded_rows, tokenizer_of
from first_distill.models.encoding import EncodedRow
from first_distill.training import loop
from first_distill.training.losses import CrossEntropy
from first_distill.training.settings import Settings

ROWS = (1000, 4000, 16000)
# Small enough that 16k rows take seconds: growth with the rows does not depend on the model's size.
BODY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
VOCABULARY = 1024
LINEAR, FLAT = 0.10, 0.10


def rows(bench: Bench) -> Iterator[Row]:
    """One line for time and one for memory, of each stage."""
    for stage, function in (("extraction", "extraction"), ("training", "train")):
        found = {n: [] for n in ROWS}
        for _ in range(REPETITIONS):
            for n in ROWS:
                call = f"benchmarks.scaling:{function}"
                found[n].append(isolated(call, scratch=str(bench.scratch), rows=n))
        each = {n: [r["work"] / n * 1e3 for r in results] for n, results in found.items()}
        yield grown(f"9 {stage}, ms a row", "ms/row", each, 1 + LINEAR, "")
        peaks = {n: [r["peak"] / 1e6 for r in results] for n, results in found.items()}
        note = "; all of the process but its rows"
        yield grown(f"9 {stage}, memory", "MB", peaks, 1 + FLAT, note)


def grown(name: str, unit: str, values: dict, limit: float, note: str) -> Row:
    """The most rows against the fewest; what lies between in the note."""
    few, some, many = ROWS
    row = costs(f"{name}: {many:,} rows against {few:,}", values[many], values[few], unit, limit)
    return replace(row, note=f"at {some:,}: {median(values[some]):.3g}{note}")


def prepared(scratch: str, rows: int) -> tuple[object, list[EncodedRow], int, int]:
    """A random small model, real rows over and over, the padding id; memory without the rows.

    The rows differ in their hash and in their tokens; each size has the same mixture of lengths.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    bench = Bench(Path(scratch))
    real = encoded_rows(bench, "csqa", 1000)
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, pad_token_id=None, **BODY))
    model.to("cuda" if bench.cuda else "cpu")
    encoded, before = [], anonymous_bytes()
    for i in range(rows):
        row = real[i % len(real)]
        ids = (row.input_ids + i // len(real)) % VOCABULARY
        name = f"{row.row_id}/{i}"
        labels = row.labels % VOCABULARY
        hashed = i.to_bytes(16, "big")
        encoded.append(EncodedRow(name, ids, row.prompt_length, labels, hashed))
    return model, encoded, tokenizer_of(bench).eos_id, before


def measured(before: int, work) -> dict:
    """Seconds of a function, and the largest memory of the process without its rows."""
    import time

    with Peak() as peak:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
    return {"work": seconds, "peak": before + peak.above}


def extraction(scratch: str, rows: int) -> dict:
    """Extraction of so many rows."""
    from first_distill.knowledge.extraction import extract

    model, encoded, pad, before = prepared(scratch, rows)
    extract(model, encoded[:64], 5, pad, 2048)
    return measured(before, lambda: extract(model, encoded, 5, pad, 2048))


def training_of(model, encoded, pad, epochs: float) -> None:
    """One pass over the rows."""
    settings = Settings(epochs=epochs, batch_size=16, learning_rate=1e-4, seed=1)
    loop.train(model, encoded, CrossEntropy(), settings, pad, "benchmark")


def train(scratch: str, rows: int) -> dict:
    """Training on so many rows, one epoch."""
    model, encoded, pad, before = prepared(scratch, rows)
    training_of(model, encoded[:64], pad, 1)
    return measured(before, lambda: training_of(model, encoded, pad, 1))
