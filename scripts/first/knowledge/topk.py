"""The k most probable tokens of each position, exactly, at the cost of few passes over the logits.

The k largest of V logits lie within the k blocks of logits whose maxima are largest: one pass finds
the maxima, and only k blocks are searched. Two sums over exp(logit - largest), with and
without the k, give the normaliser and the mass outside; they are taken a few rows at a time, so
that the exponentials never leave the processor's cache.
"""

from __future__ import annotations

import math

import numpy as np

from scripts.first.knowledge.store import LOG_TAIL_FLOOR

AT_ONCE = {"cpu": 2**18, "cuda": 2**24}  # elements of a temporary: 1 MB stays in a CPU's cache


def top_k(logits, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids (N, k), log_probs (N, k) float16 and log_tail (N,) float16 of float32 logits (N, V).

    Ids descend by logit; equal logits keep the lower id first. The tail's mass is summed from the
    logits outside the k ids, not taken as 1 minus a sum of rounded values.
    """
    values, ids = _largest(logits, k)
    total, outside = _sums(logits, values[:, :1], ids)
    normaliser = total.log() + values[:, 0]
    log_tail = (outside.log() - total.log()).clamp(LOG_TAIL_FLOOR, 0.0)
    log_probs = (values - normaliser[:, None]).clamp(max=0.0)
    return (
        ids.cpu().numpy(),
        log_probs.cpu().numpy().astype(np.float16),
        log_tail.cpu().numpy().astype(np.float16),
    )


def _largest(logits, k: int):
    """The k largest logits of each row and their ids, (N, k) each, ties by the lower id."""
    import torch

    candidates, maxima = _candidates(logits, k)
    found = logits.gather(1, candidates)
    values, where = found.topk(k, dim=1)
    ids = candidates.gather(1, where)
    # Which of several logits equal to the k-th make it is left open by topk; with bfloat16 models
    # that is the rule rather than the exception, and a slice of a larger k would differ.
    last = values[:, -1:]
    crowded = ((found >= last).sum(1) > k) | ((maxima >= last).sum(1) > k)
    for rows in crowded.nonzero()[:, 0].split(_rows_at_once(logits)):
        ids[rows], values[rows] = _lowest_ids(logits[rows], last[rows], k)
    order = torch.argsort(ids, dim=1)
    values, ids = values.gather(1, order), ids.gather(1, order)
    order = torch.argsort(values, dim=1, descending=True, stable=True)
    return values.gather(1, order), ids.gather(1, order)


def _candidates(logits, k: int):
    """(ids (N, m) of the k blocks with the largest maxima and of what fills no block, maxima)."""
    import torch

    n, vocabulary = logits.shape
    # As many blocks as logits to search in them: the root of V / k, as a power of two.
    size = 2 ** min(max(round(math.log2(vocabulary / k) / 2), 4), 7)
    blocks = vocabulary // size
    maxima = logits[:, : blocks * size].unflatten(1, (blocks, size)).amax(dim=2)
    chosen = maxima.topk(min(k, blocks), dim=1).indices
    offsets = torch.arange(size, device=logits.device)
    candidates = (chosen[:, :, None] * size + offsets).flatten(1)
    over = torch.arange(blocks * size, vocabulary, device=logits.device)
    return torch.cat([candidates, over.expand(n, -1)], dim=1), maxima


def _lowest_ids(logits, last, k: int):
    """(ids, values), (n, k) each, in no order: of the logits equal to the last, the lowest ids."""
    tied = logits == last
    room = k - (logits > last).sum(dim=1, keepdim=True)
    chosen = (logits > last) | (tied & (tied.cumsum(dim=1) <= room))
    ids = chosen.nonzero()[:, 1].view(-1, k)
    return ids, logits.gather(1, ids)


def _rows_at_once(logits) -> int:
    elements = AT_ONCE.get(logits.device.type, AT_ONCE["cuda"])
    return max(1, elements // logits.shape[1])


def _sums(logits, largest, ids):
    """Sums (N,) of exp(logit - largest) over all of a row, and over all but its k ids."""
    import torch

    n, vocabulary = logits.shape
    step = max(1, min(_rows_at_once(logits), n))
    total, outside = logits.new_empty(n), logits.new_empty(n)
    room = logits.new_empty((step, vocabulary))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        exponentials = room[: rows.stop - start]
        torch.sub(logits[rows], largest[rows], out=exponentials).exp_()
        total[rows] = exponentials.sum(dim=1)
        outside[rows] = exponentials.scatter_(1, ids[rows], 0.0).sum(dim=1)
    return total, outside
