"""Forward passes over encoded rows: logits at supervised positions only, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scripts.first.batching import Batch, collate, inference_batches
from scripts.first.encoding import EncodedRow
from scripts.first.progress import progress


def supervised_logits(model, batch: Batch):
    """float32 logits (N, V) at the batch's supervised positions, in row order.

    The output head runs at those positions alone: `logits_to_keep` as a 2-D bool mask. An integer
    mask would be read as positions, hence the explicit dtype.
    """
    import torch

    # Where weights rest in host memory the model says where it computes.
    device = getattr(model, "compute_device", None) or next(model.parameters()).device
    output = model(
        input_ids=torch.from_numpy(batch.input_ids).to(device),
        attention_mask=torch.from_numpy(batch.attention_mask).to(device),
        logits_to_keep=torch.from_numpy(batch.supervised).to(device=device, dtype=torch.bool),
        use_cache=False,
    )
    return output.logits.reshape(int(batch.counts.sum()), -1).float()


def iterate_logits(
    model, encoded: list[EncodedRow], pad_id: int, max_tokens: int, label: str
) -> Iterator[tuple[Batch, object]]:
    """Yield (batch, logits (N, V)) over all rows, long rows first, without gradients."""
    import torch

    lengths = np.asarray([len(row.input_ids) for row in encoded])
    batches = inference_batches(lengths, max_tokens)
    with torch.inference_mode(), progress(label, len(encoded), "row") as advance:
        for rows in batches:
            batch = collate(encoded, rows, pad_id)
            yield batch, supervised_logits(model, batch)
            advance(len(rows))
