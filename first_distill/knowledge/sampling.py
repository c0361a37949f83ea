"""Sampled targets: ids drawn from the teacher's whole distribution, in the place of its top k.

Random sampling knowledge distillation (arXiv 2503.16870): with the share of N draws that fell on an
id as its target, the expected gradient of the divergence is that of the whole distribution, tail
included. The k most probable ids have no such property: the others' target is 0.
"""

from __future__ import annotations

import numpy as np
import torch

from first_distill.knowledge.store import LOG_TAIL_FLOOR, NO_RANK, Arrays
from first_distill.models.encoding import EncodedRow


def uniforms(rows: list[EncodedRow], draws: int) -> np.ndarray:
    """(N, draws) in [0, 1) for the N positions of some rows, row after row.

    From each row's content hash, so that a row's draws depend neither on its batch nor on its job.
    """
    seeds = (int.from_bytes(row.row_hash, "little") for row in rows)
    return np.concatenate(
        [
            np.random.default_rng(seed).random((len(row.labels), draws))
            for seed, row in zip(seeds, rows, strict=True)
        ]
    )


def sampled(
    logits: torch.Tensor, numbers: np.ndarray, padding: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids (N, k), log_probs (N, k), log_tail (N,) as of `top_k`, of k = draws numbers a position.

    logits: (N, V); numbers: (N, k), uniform. log_probs are logs of the draws' shares; ids that no
    draw fell on fill up the k and have LOG_TAIL_FLOOR, as the tail. padding: ids of outputs that
    are no tokens, which are never drawn.
    """
    if padding is not None:
        logits = logits.index_fill(1, padding, float("-inf"))
    # On the host: a GPU's cumulative sums differ from run to run.
    cumulative = logits.softmax(dim=1).cpu().double().cumsum(dim=1).numpy()
    n, k = numbers.shape
    ids = np.empty((n, k), np.int64)
    log_probs = np.full((n, k), LOG_TAIL_FLOOR, np.float16)
    for row, (ends, own) in enumerate(zip(cumulative, numbers, strict=True)):
        drawn = np.searchsorted(ends, own * ends[-1], side="right")
        found, counts = np.unique(drawn, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        others = np.setdiff1d(np.arange(k), found)[: k - len(found)]
        ids[row] = np.concatenate([found[order], others])
        log_probs[row, : len(found)] = np.log(counts[order] / k)
    return ids, log_probs, np.full(n, LOG_TAIL_FLOOR, np.float16)


def without_fill(arrays: Arrays) -> Arrays:
    """A store's arrays with as many ids a position as the most that draws fell on anywhere.

    A next token that no draw fell on has no rank.
    """
    drawn = (arrays["log_probs"] > LOG_TAIL_FLOOR).sum(axis=1)
    k = max(1, int(drawn.max(initial=1)))
    cut = {name: np.ascontiguousarray(arrays[name][:, :k]) for name in ("ids", "log_probs")}
    ranks = arrays["gold_rank"]
    return {**arrays, **cut, "gold_rank": np.where(ranks < drawn, ranks, NO_RANK).astype(np.uint8)}
