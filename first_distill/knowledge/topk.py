"""The k most probable tokens of each position, exactly.

`torch.topk` alone neither says which of several equal logits it returns (in bfloat16 equal logits
are the rule) nor is it fast over a whole vocabulary. So it runs twice on few values, on keys that
are never equal: once over the maxima of blocks of logits, once inside the k leading blocks, which
hold the k leading logits.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from first_distill.knowledge.store import LOG_TAIL_FLOOR
from first_distill.models.batching import CACHED, rows_at_once, spans


def top_k(
    logits: torch.Tensor, k: int, padding: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids (N, k), log_probs (N, k) float16 and log_tail (N,) float16 of float32 logits (N, V).

    Ids descend by logit; of equal logits the lower id comes first, so that the first k of a larger
    k are those of k. The tail's mass is summed from the logits outside the k ids: 1 minus a sum of
    rounded probabilities has no digits left at a confident position. `padding`: ids of outputs that
    are no tokens; they are never among the k, and their mass is the tail's.
    """
    if padding is None:
        values, ids = _largest(logits, k)
        largest = values[:, :1]
    else:
        values, ids = _largest(logits.index_fill(1, padding, float("-inf")), k)
        largest = logits.amax(dim=1, keepdim=True)
    total, outside = _sums(logits, largest, ids)
    normaliser = total.log() + largest[:, 0]
    log_tail = (outside.log() - total.log()).clamp(LOG_TAIL_FLOOR, 0.0)
    log_probs = (values - normaliser[:, None]).clamp(max=0.0)
    return (
        ids.cpu().numpy(),
        log_probs.cpu().numpy().astype(np.float16),
        log_tail.cpu().numpy().astype(np.float16),
    )


def log_tail_at(logits: torch.Tensor, ids: torch.Tensor, t: float) -> np.ndarray:
    """(N,) float32 log of the probability outside the ids (N, k) under softmax(logits / t)."""
    total, outside = _sums(logits, logits.amax(dim=1, keepdim=True), ids, t)
    return (outside.log() - total.log()).clamp(LOG_TAIL_FLOOR, 0.0).cpu().numpy()


def mass_of(logits: torch.Tensor, ids: torch.Tensor) -> np.ndarray:
    """(N,) float32 probability of some ids together, of float32 logits (N, V)."""
    share = (logits[:, ids].logsumexp(dim=1) - logits.logsumexp(dim=1)).exp()
    return share.clamp(max=1.0).cpu().numpy()


def _largest(logits: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest logits of each row and their ids, (N, k) each, in order."""
    n, vocabulary = logits.shape
    # As many blocks as logits to search in them: the root of V / k, as a power of two.
    size = 2 ** min(max(round(math.log2(vocabulary / k) / 2), 4), 7)
    blocks = vocabulary // size
    numbers = torch.arange(vocabulary, device=logits.device)
    maxima = logits[:, : blocks * size].unflatten(1, (blocks, size)).amax(dim=2)
    leading = _leading(maxima, numbers[:blocks].expand(n, -1), min(k, blocks))
    inside = (leading[:, :, None] * size + numbers[:size]).flatten(1)
    candidates = torch.cat([inside, numbers[blocks * size :].expand(n, -1)], dim=1)
    ids = _leading(logits.gather(1, candidates), candidates, k)
    return logits.gather(1, ids), ids


def _leading(values: torch.Tensor, ids: torch.Tensor, k: int) -> torch.Tensor:
    """Ids (N, k) of the k largest float32 values (N, M) in order, of equal ones the lowest ids."""
    bits = (values + 0.0).view(torch.int32)  # 0.0 and -0.0 are equal
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    keys = (ordered.long() << 32) - ids
    return ids.gather(1, keys.topk(k, dim=1).indices)


def _sums(logits: torch.Tensor, largest: torch.Tensor, ids: torch.Tensor, t: float = 1.0):
    """Sums (N,) of exp((logit - largest) / t) over all of a row, and over all but its k ids."""
    n, vocabulary = logits.shape
    pieces = spans(n, rows_at_once(CACHED, logits.device.type, vocabulary))
    total, outside = logits.new_empty(n), logits.new_empty(n)
    room = logits.new_empty((max(p.stop - p.start for p in pieces), vocabulary))
    for rows in pieces:
        exponentials = room[: rows.stop - rows.start]
        torch.sub(logits[rows], largest[rows], out=exponentials)
        (exponentials if t == 1.0 else exponentials.div_(t)).exp_()
        total[rows] = exponentials.sum(dim=1)
        outside[rows] = exponentials.scatter_(1, ids[rows], 0.0).sum(dim=1)
    return total, outside
