"""Padding: the share of computed tokens that are padding, on all real rows."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Row
from benchmarks.points import Bench, TinyBench
from benchmarks.work import encoded_rows, lengths_of
from first_distill.models.batching import inference_batches, training_batches
from first_distill.training.loop import micro_batches
from first_distill.training.settings import Settings

BLOCK = 2048  # the paper's: almost nothing is cut, so that lengths vary as in the real data
BAR = 0.05
# Rows of an optimiser step and of one forward pass, and tokens of one of extraction, as the scales
# smoke, small and paper have them.
STEPS = ((32, 32), (64, 32), (64, 16), (256, 32))
MAX_TOKENS = (2048, 4096, 8192)


def rows(bench: Bench) -> Iterator[Row]:
    """Training at several batch sizes, extraction at several budgets."""
    pool = Settings(epochs=1, batch_size=1, learning_rate=1, seed=0).length_pool
    tiny = TinyBench(bench.scratch)
    training = tiny.settings["student"]["training"]
    size, tiny_pool = training["batch_size"], training["length_pool"]
    for dataset in ("csqa", "boolq", "alpaca"):
        lengths = lengths_of(encoded_rows(bench, dataset, 10**9, BLOCK))
        yield from worst(dataset, lengths, STEPS, pool, MAX_TOKENS)
        lengths = lengths_of(encoded_rows(tiny, dataset, 10**9))
        point = f"{dataset}, tiny scale"
        yield from worst(point, lengths, ((size, size),), tiny_pool, (tiny.max_tokens,))


def worst(point: str, lengths, steps, pool: int, budgets) -> Iterator[Row]:
    """The largest share of padding over the ways to cut these rows into forward passes."""
    shares = [
        padding(lengths, passes(training_batches(lengths, size, 1, 0, pool), micro))
        for size, micro in steps
    ]
    sizes = ", ".join(f"{size}/{micro}" for size, micro in steps)
    yield line(f"7 padding, training: {point}", max(shares), f"worst of step/pass rows {sizes}")
    shares = [padding(lengths, inference_batches(lengths, size)) for size in budgets]
    sizes = ", ".join(map(str, budgets))
    yield line(f"7 padding, extraction: {point}", max(shares), f"worst of {sizes} tokens a pass")


def passes(batches, micro: int) -> list:
    """The forward passes of each step's rows."""
    return [part for batch in batches for own in micro_batches(batch, micro, 1) for part in own]


def padding(lengths, batches) -> float:
    """Share of the tokens of padded batches that are padding."""
    return 1 - lengths.sum() / sum(len(batch) * int(lengths[batch].max()) for batch in batches)


def line(name: str, share: float, note: str) -> Row:
    """A share, with its bar; it is not a timing, so it has no spread."""
    share = float(share)
    return Row(name, 100 * share, None, "%", None, None, "<= 5 %", share <= BAR, note)
