"""A model's predictions on a benchmark, and the probabilities behind them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from first_distill.models.batching import CACHED, rows_at_once, spans
from first_distill.models.encoding import candidate_ids, encode_prompts
from first_distill.models.inference import check_finite, iterate_logits

RANKS = 5


def gold_columns(rows: list[dict]) -> np.ndarray:
    """(n,) column of each row's answer among its candidates."""
    return np.asarray([list(row["candidates"]).index(row["answer"]) for row in rows])


def predict(
    model,
    rows: list[dict],
    tokenizer,
    max_tokens: int,
    temperatures: dict[str, float] | None = None,
):
    """Candidates' log_probs (n, most) float64, top probabilities and hits of the answer (n, 5).

    Last, for each of the named post-hoc temperatures T, log_probs of softmax(logits / T), from the
    same pass. A candidate that a row does not have is impossible: -inf.
    """
    temperatures = temperatures or {}
    ids = candidate_ids(rows, tokenizer)
    gold = ids[np.arange(len(rows)), gold_columns(rows)]
    encoded = encode_prompts(rows, tokenizer)
    log_probs = np.zeros(ids.shape)
    top = np.zeros((len(rows), RANKS))
    hit = np.zeros((len(rows), RANKS), dtype=bool)
    tempered = {name: np.zeros(ids.shape) for name in temperatures}
    for batch, logits in iterate_logits(model, encoded, tokenizer.eos_id, max_tokens, what="tests"):
        length = rows_at_once(CACHED, logits.device.type, logits.shape[1])
        for part in spans(len(logits), length):
            chosen = batch.rows[part]
            wanted = torch.from_numpy(ids[chosen]).to(logits.device)
            for name, t in temperatures.items():
                tempered[name][chosen] = _at((logits[part].double() / t).log_softmax(-1), wanted)
            everything = logits[part].double().log_softmax(-1)
            log_probs[chosen] = _at(everything, wanted)
            values, indices = everything.topk(RANKS, dim=-1)
            top[chosen] = values.exp().cpu().numpy()
            hit[chosen] = indices.cpu().numpy() == gold[chosen][:, None]
    real = np.where(ids < 0, 0.0, log_probs)
    check_finite(np.hstack([real, top]), [row["id"] for row in rows])
    return log_probs, top, hit, tempered


def _at(log_probs: torch.Tensor, ids: torch.Tensor) -> np.ndarray:
    """Log-probabilities (n, most) at ids, -inf at an id of -1."""
    found = log_probs.gather(1, ids.clamp(min=0))
    return found.masked_fill(ids < 0, -torch.inf).cpu().numpy()


def tables(benchmark: str, rows: list[dict], log_probs, top, hit, tempered):
    """Arrow tables of what `predict` returned: predictions, a row a question; ranks, five rows.

    A post-hoc temperature changes no prediction: it has columns of its own for the confidence and
    the candidates' log-probabilities, `confidence_nll` for the temperature `nll`.
    """
    chosen, gold = log_probs.argmax(axis=1), gold_columns(rows)
    predictions = {
        "benchmark": [benchmark] * len(rows),
        "id": [row["id"] for row in rows],
        "answer": [row["answer"] for row in rows],
        "prediction": [row["candidates"][i] for row, i in zip(rows, chosen, strict=True)],
        "correct": chosen == gold,
        "gold": gold,
    }
    for suffix, values in {"": log_probs, **{f"_{k}": v for k, v in tempered.items()}}.items():
        own = [p[: len(row["candidates"])] for row, p in zip(rows, values, strict=True)]
        predictions[f"confidence{suffix}"] = np.exp(values).max(axis=1)
        predictions[f"candidate_log_probs{suffix}"] = pa.array(own, pa.list_(pa.float64()))
    ranks = {
        "benchmark": [benchmark] * top.size,
        "rank": np.tile(np.arange(1, RANKS + 1, dtype=np.int32), len(top)),
        "probability": top.ravel(),
        "correct": hit.ravel(),
    }
    return pa.table(predictions), pa.table(ranks)
