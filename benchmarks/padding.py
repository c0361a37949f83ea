"""Line 7: the share of computed tokens that are padding, on all real rows."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Row
from benchmarks.points import Bench
from benchmarks.work import encoded_rows, lengths_of
from scripts.first.batching import inference_batches, training_batches
from scripts.first.training import Settings

PAPER_BLOCK = 2048
BAR = 0.05
BATCHES = (16, 64, 256)  # rows of one forward pass, at most
MAX_TOKENS = (2048, 8192)


def rows(bench: Bench) -> Iterator[Row]:
    """Training at several batch sizes, extraction at several budgets."""
    pool = Settings(epochs=1, batch_size=1, learning_rate=1, seed=0).length_pool
    for dataset in ("csqa", "boolq", "alpaca"):
        lengths = lengths_of(encoded_rows(bench, dataset, 10**9, PAPER_BLOCK))
        worst = max(
            padding(lengths, training_batches(lengths, size, 1, 0, pool)) for size in BATCHES
        )
        sizes = ", ".join(map(str, BATCHES))
        yield line(f"7 padding, training: {dataset}", worst, f"worst of batches of {sizes}")
        worst = max(padding(lengths, inference_batches(lengths, size)) for size in MAX_TOKENS)
        sizes = ", ".join(map(str, MAX_TOKENS))
        yield line(f"7 padding, extraction: {dataset}", worst, f"worst of {sizes} tokens a pass")


def padding(lengths, batches) -> float:
    """Share of the tokens of padded batches that are padding."""
    return 1 - lengths.sum() / sum(len(batch) * int(lengths[batch].max()) for batch in batches)


def line(name: str, share: float, note: str) -> Row:
    """A share, with its bar; nothing here is a timing, so it has no spread."""
    share = float(share)
    return Row(name, 100 * share, None, "%", None, None, "<= 5 %", share <= BAR, note)
