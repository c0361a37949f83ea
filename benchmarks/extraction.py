"""Extraction against the paper's released loop and against a bare forward pass."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from benchmarks.harness import Row, interleave, rates
from benchmarks.points import VOCABULARIES, Bench, TinyBench
from benchmarks.work import encoded_rows, loaded, positions_of, synchronise, tokenizer_of

K = 5
BLOCKS = (2048, 512)  # what rows are padded to: the paper's, and that of its released script
LIMITS = (1024, 2048, 4096, 8192)  # the bare forward pass uses the best of these


def rows(bench: Bench) -> Iterator[Row]:
    """Both comparisons, at every working point."""
    alpaca = encoded_rows(bench, "alpaca", 4096 if bench.cuda else 96)
    for vocabulary in VOCABULARIES:
        model = loaded(bench.model(vocabulary))
        if vocabulary == VOCABULARIES[0]:
            for block in BLOCKS:
                few = alpaca[: 64 if bench.cuda else 2]
                yield released(bench, model, few, block, f"Alpaca, V = {vocabulary:,}", 20)
        some = alpaca if vocabulary == VOCABULARIES[0] or bench.cuda else alpaca[::2]
        yield limit(bench, model, some, f"Alpaca, 5M body, V = {vocabulary:,}", 0.85)
    questions = encoded_rows(bench, "csqa", 4096 if bench.cuda else 192)
    point = f"CSQA, 5M body, V = {VOCABULARIES[0]:,}"
    yield limit(bench, loaded(bench.model()), questions, point, 0.85)
    if bench.cuda:
        model = loaded(bench.one_billion(VOCABULARIES[1]), "bfloat16")
        yield limit(bench, model, alpaca, f"Alpaca, 1B bfloat16, V = {VOCABULARIES[1]:,}", 0.85)
    tiny = TinyBench(bench.scratch)
    world, model = encoded_rows(tiny, "alpaca", 1000), loaded(tiny.model(role="teacher"))
    point = f"Alpaca, tiny scale, V = {tiny.vocabulary:,}"
    yield released(tiny, model, world[:64], tiny.block, point, 20)
    yield limit(tiny, model, world, point, None)


def ours(bench: Bench, model, encoded) -> dict[str, np.ndarray]:
    """The arrays of a store by the project's own extraction."""
    from first_distill.knowledge.extraction import extract

    return extract(model, encoded, K, tokenizer_of(bench).eos_id, bench.max_tokens)


def released(bench: Bench, model, encoded, block: int, point: str, bar: float) -> Row:
    """Positions a second against the loop that the paper released."""
    arrays = ours(bench, model, encoded)
    same = supervised_of(released_loop(model, encoded, block), encoded)
    log_probs = np.asarray([list(p.values()) for p in same])
    ids = np.asarray([list(map(int, p)) for p in same])
    if not np.array_equal(ids, arrays["ids"]):
        raise RuntimeError("the released loop found other tokens")
    # Of float16's rounding, and near 0 of the float32 logits' own.
    np.testing.assert_allclose(log_probs, arrays["log_probs"].astype(float), rtol=2e-3, atol=5e-6)
    seconds = interleave(
        {
            "ours": lambda: ours(bench, model, encoded),
            "theirs": lambda: released_loop(model, encoded, block),
        }
    )
    name = f"1 extraction against the released loop, block {block}: {point}"
    return rates(name, positions_of(encoded), "positions/s", seconds, bar)


def released_loop(model, encoded, block: int) -> list[str]:
    """Top-k as in the paper's released code: a straightforward implementation of its loop.

    One row at a time, padded on the left to the block, full logits at every position, a log-softmax
    over the whole vocabulary, then position by position a top-k whose entries become one JSON
    object of token to log-probability. Every position of the block is in a row's line.
    """
    import torch

    device = next(model.parameters()).device
    lines = []
    with torch.inference_mode():
        for row in encoded:
            pad = block - len(row.input_ids)
            ids = torch.zeros((1, block), dtype=torch.int64, device=device)
            mask = torch.zeros_like(ids)
            ids[0, pad:] = torch.from_numpy(row.input_ids.astype(np.int64))
            mask[0, pad:] = 1
            places = (mask.cumsum(1) - 1).clamp(min=0)
            logits = model(ids, attention_mask=mask, position_ids=places, use_cache=False).logits
            log_probs = logits.float().log_softmax(-1)[0]
            found = []
            for position in range(block):
                values, tokens = torch.topk(log_probs[position], K)
                found.append({str(t.item()): v.item() for v, t in zip(values, tokens, strict=True)})
            lines.append(json.dumps({"id": row.row_id, "top_log_probs": found}))
    return lines


def supervised_of(lines: list[str], encoded) -> list[dict[str, float]]:
    """Token to log-probability of each supervised position, row after row."""
    found = []
    for line, row in zip(lines, encoded, strict=True):
        positions = json.loads(line)["top_log_probs"]
        pad = len(positions) - len(row.input_ids)
        found += [positions[pad + p] for p in row.supervised_positions]
    return found


def limit(bench: Bench, model, encoded, point: str, bar: float | None) -> Row:
    """Positions a second against the forward pass alone, at its best batch size."""
    import time

    def forward(max_tokens: int) -> None:
        bare_forward(model, encoded, tokenizer_of(bench).eos_id, max_tokens)
        synchronise()

    def timed(max_tokens: int) -> float:
        start = time.perf_counter()
        forward(max_tokens)
        return time.perf_counter() - start

    forward(LIMITS[0])
    best = min(LIMITS, key=timed)
    seconds = interleave(
        {"ours": lambda: ours(bench, model, encoded), "theirs": lambda: forward(best)}
    )
    name = f"2 extraction against a bare forward pass: {point}"
    note = f"its best batch: {best} tokens"
    return rates(name, positions_of(encoded), "positions/s", seconds, bar, note)


def bare_forward(model, encoded, pad_id: int, max_tokens: int) -> None:
    """Body, then the output head at supervised positions into memory that is kept; nothing else."""
    import torch

    from first_distill.models.batching import collate, inference_batches
    from first_distill.models.inference import logit_chunks

    lengths, rooms = np.asarray([len(row.input_ids) for row in encoded]), {}
    with torch.inference_mode():
        for chosen in inference_batches(lengths, max_tokens):
            for _ in logit_chunks(model, collate(encoded, chosen, pad_id), rooms):
                pass
