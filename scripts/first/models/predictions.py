"""A model's predictions on a benchmark, and the probabilities behind them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from scripts.first.models.batching import CACHED, rows_at_once, spans
from scripts.first.models.encoding import candidate_ids, encode_prompts
from scripts.first.models.inference import check_finite, iterate_logits

RANKS = 5


def gold_columns(rows: list[dict]) -> np.ndarray:
    """(n,) column of each row's answer among its candidates."""
    return np.asarray([list(row["candidates"]).index(row["answer"]) for row in rows])


def predict(model, rows: list[dict], tokenizer, max_tokens: int, temperature: float = 1.0):
    """Candidates' log_probs (n, most) float64, top probabilities and hits of the answer (n, 5).

    A candidate that a row does not have is impossible: -inf.
    """
    ids = candidate_ids(rows, tokenizer)
    gold = ids[np.arange(len(rows)), gold_columns(rows)]
    encoded = encode_prompts(rows, tokenizer)
    log_probs = np.zeros(ids.shape)
    top = np.zeros((len(rows), RANKS))
    hit = np.zeros((len(rows), RANKS), dtype=bool)
    for batch, logits in iterate_logits(model, encoded, tokenizer.eos_id, max_tokens, what="tests"):
        length = rows_at_once(CACHED, logits.device.type, logits.shape[1])
        for part in spans(len(logits), length):
            chosen = batch.rows[part]
            everything = (logits[part].double() / temperature).log_softmax(-1)
            wanted = torch.from_numpy(ids[chosen]).to(everything.device)
            found = everything.gather(1, wanted.clamp(min=0))
            log_probs[chosen] = found.masked_fill(wanted < 0, -torch.inf).cpu().numpy()
            values, indices = everything.topk(RANKS, dim=-1)
            top[chosen] = values.exp().cpu().numpy()
            hit[chosen] = indices.cpu().numpy() == gold[chosen][:, None]
    real = np.where(ids < 0, 0.0, log_probs)
    check_finite(np.hstack([real, top]), [row["id"] for row in rows])
    return log_probs, top, hit


def tables(benchmark: str, rows: list[dict], log_probs, top, hit):
    """Arrow tables of what `predict` returned: predictions, a row a question; ranks, five rows."""
    chosen = log_probs.argmax(axis=1)
    own = [p[: len(row["candidates"])] for row, p in zip(rows, log_probs, strict=True)]
    predictions = {
        "benchmark": [benchmark] * len(rows),
        "id": [row["id"] for row in rows],
        "answer": [row["answer"] for row in rows],
        "prediction": [row["candidates"][i] for row, i in zip(rows, chosen, strict=True)],
        "correct": chosen == gold_columns(rows),
        "confidence": np.exp(log_probs).max(axis=1),
        "candidate_log_probs": pa.array(own, pa.list_(pa.float64())),
    }
    ranks = {
        "benchmark": [benchmark] * top.size,
        "rank": np.tile(np.arange(1, RANKS + 1, dtype=np.int32), len(top)),
        "probability": top.ravel(),
        "correct": hit.ravel(),
    }
    return pa.table(predictions), pa.table(ranks)
