"""Batches of rows of like length: little padding, and no row sees another, as with packing.

Padding on the right, with an attention mask, leaves a causal model's numbers unchanged. Work over a
whole vocabulary goes through a batch in chunks of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from first_distill.models.encoding import EncodedRow

# Logits held at once. A CPU works fastest on what stays near its cache; a GPU wants few, large
# calls.
LOGITS = {"cpu": 2**24, "cuda": 2**26}
# Elements of a temporary that should stay in the processor's cache.
CACHED = {"cpu": 2**18, "cuda": 2**25}


@dataclass(frozen=True)
class Batch:
    """input_ids and attention_mask (B, S); supervised (B, S) bool; labels (N,) in row order.

    `rows` are the indices of the rows; `counts` their numbers of supervised positions, sum N.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    supervised: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    counts: np.ndarray


def collate(encoded: list[EncodedRow], rows: np.ndarray, pad_id: int) -> Batch:
    """Right-pad the chosen rows into one batch."""
    chosen = [encoded[i] for i in rows]
    width = max(len(row.input_ids) for row in chosen)
    shape = (len(chosen), width)
    input_ids = np.full(shape, pad_id, dtype=np.int64)
    attention_mask = np.zeros(shape, dtype=np.int64)
    supervised = np.zeros(shape, dtype=bool)
    for i, row in enumerate(chosen):
        n = len(row.input_ids)
        input_ids[i, :n] = row.input_ids
        attention_mask[i, :n] = 1
        supervised[i, row.supervised_positions] = True
    labels = np.concatenate([row.labels for row in chosen]).astype(np.int64)
    counts = np.asarray([len(row.labels) for row in chosen])
    return Batch(input_ids, attention_mask, supervised, labels, np.asarray(rows), counts)


def scored_positions(counts: np.ndarray, scored: str) -> np.ndarray:
    """(N,) bool of the positions that the temperature search and validation score (section 4.2).

    counts (R,) are the supervised positions of each row, sum N. `answer`: the first position of
    each row. `response`: every response token, that is all positions but each row's last, which
    predicts EOS.
    """
    ends = np.cumsum(counts)
    first, last = np.zeros(counts.sum(), dtype=bool), np.zeros(counts.sum(), dtype=bool)
    first[ends - counts] = True
    last[ends - 1] = True
    return {"answer": first, "response": ~last}[scored]


def training_batches(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int, pool: int
) -> list[np.ndarray]:
    """Row indices of each batch of one epoch: every row once, shuffled, grouped by length.

    Rows are shuffled, cut into pools of `pool` batches, sorted by length inside a pool, cut into
    batches, and the batches are shuffled. The last batch may be smaller.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * pool):
        chunk = order[start : start + batch_size * pool]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def inference_batches(lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Row indices in order of length, as many a batch as fit `max_tokens` padded tokens."""
    order = np.argsort(lengths, kind="stable")[::-1]
    batches, start = [], 0
    while start < len(order):
        size = max(1, max_tokens // int(lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def rows_at_once(budget: dict[str, int], device_type: str, width: int) -> int:
    """Rows of `width` elements that fit a budget (LOGITS or CACHED); at least 1."""
    return max(1, budget.get(device_type, budget["cuda"]) // width)


def spans(count: int, at_most: int) -> list[slice]:
    """Slices of at most `at_most` rows, of like size, that cover `count` rows in order.

    For no rows, one empty slice.
    """
    number = max(1, -(-count // at_most))
    edges = [count * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
