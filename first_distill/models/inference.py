"""Forward passes over encoded rows: logits at supervised positions only, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from first_distill.errors import UserError, few
from first_distill.models.batching import (
    LOGITS,
    Batch,
    collate,
    inference_batches,
    rows_at_once,
    spans,
)
from first_distill.models.encoding import EncodedRow
from first_distill.models.structure import most_positions
from first_distill.runtime.progress import progress

# Architectures whose logits are the head's product with the decoder's output and nothing more.
LINEAR = {"gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_neox", "llama", "mistral", "mixtral"}
LINEAR |= {"olmo", "olmo2", "opt", "phi3", "qwen2", "qwen3", "smollm3", "stablelm"}


def supervised_logits(model, batch: Batch):
    """float32 logits (N, V) at the batch's supervised positions, in row order.

    The output head runs at those positions alone: `logits_to_keep` as a 2-D bool mask. An integer
    mask would be read as positions, hence the explicit dtype.
    """
    inputs, supervised = _inputs(model, batch)
    output = model(**inputs, logits_to_keep=supervised)
    return output.logits.reshape(len(batch.labels), -1).float()


def supervised_hidden(model, batch: Batch):
    """Last hidden states (N, H) at the batch's supervised positions: the head's inputs."""
    inputs, supervised = _inputs(model, batch)
    return model.get_decoder()(**inputs).last_hidden_state[supervised]


def linear_head(model):
    """The output head where logits are its product with the last hidden state, else None.

    Gemma's may be capped; architectures that are not known may do that or more.
    """
    import torch

    head, config = model.get_output_embeddings(), model.config.get_text_config()
    plain = isinstance(head, torch.nn.Linear) and head.bias is None
    plain = plain and not getattr(config, "final_logit_softcapping", None)
    return head if plain and model.config.model_type in LINEAR else None


def logit_chunks(model, batch: Batch, rooms: dict) -> Iterator[tuple[slice, object]]:
    """Yield (slice of positions, float32 logits (n, V)) of the batch, without gradients.

    Together they are `supervised_logits`. A chunk takes the memory of the one before, and so does
    the next batch where `rooms` is the same dictionary: fresh memory for every batch would cost a
    third of the head's time.
    """
    import torch

    head = linear_head(model)
    if head is None:
        logits = supervised_logits(model, batch)
        yield slice(0, len(logits)), logits
        return
    hidden, weight = supervised_hidden(model, batch), head.weight
    for rows in spans(len(hidden), rows_at_once(LOGITS, hidden.device.type, len(weight))):
        part = hidden[rows]
        if "logits" not in rooms or len(rooms["logits"]) < len(part):
            rooms["logits"] = part.new_empty((len(part), len(weight)))
        yield rows, torch.mm(part, weight.t(), out=rooms["logits"][: len(part)]).float()


def iterate_logits(
    model, encoded: list[EncodedRow], pad_id: int, max_tokens: int, what: str
) -> Iterator[tuple[Batch, object]]:
    """Yield (batch, logits (N, V)) over all rows, long rows first, without gradients."""
    import torch

    require_positions(model, encoded)
    lengths = np.asarray([len(row.input_ids) for row in encoded])
    batches = inference_batches(lengths, max_tokens)
    with torch.inference_mode(), progress(what, len(encoded), "row") as advance:
        for rows in batches:
            batch = collate(encoded, rows, pad_id)
            yield batch, supervised_logits(model, batch)
            advance(len(rows))


def check_finite(numbers: np.ndarray, ids: list[str]) -> None:
    """Raise UserError, naming the first rows, where model outputs are not finite.

    numbers: (N,) or (N, k) log-probabilities; ids: (N,) the row of each.
    """
    bad = ~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
    if bad.any():
        names = few(list(dict.fromkeys(ids[i] for i in np.flatnonzero(bad))))
        raise UserError(
            f"the model's output is not finite: rows {names}: nothing was written: "
            "retrain the model with a lower learning rate"
        )


def ids_of(batch: Batch, encoded: list[EncodedRow]) -> list[str]:
    """(N,) id of the row of each supervised position."""
    return [encoded[i].row_id for i in np.repeat(batch.rows, batch.counts)]


def require_positions(model, encoded: list[EncodedRow]) -> None:
    """Raise UserError for rows that are longer than the model's position limit.

    Rotary positions have no end: beyond the limit a Llama's output is wrong without any error.
    """
    most = most_positions(model.config)
    longest = max(encoded, key=lambda row: len(row.input_ids), default=None)
    if most and longest is not None and len(longest.input_ids) > most:
        raise UserError(
            f"row {longest.row_id}: {len(longest.input_ids)} tokens: the model reads {most} "
            "(max_position_embeddings): shorten the row, or use a model that reads more"
        )


def _inputs(model, batch: Batch):
    """(arguments of a forward pass without a cache, bool mask (B, S) of supervised positions)."""
    import torch

    device = next(model.parameters()).device
    inputs = {
        "input_ids": torch.from_numpy(batch.input_ids).to(device),
        "attention_mask": torch.from_numpy(batch.attention_mask).to(device),
        "use_cache": False,
    }
    return inputs, torch.from_numpy(batch.supervised).to(device=device, dtype=torch.bool)
