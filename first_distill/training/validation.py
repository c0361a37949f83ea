"""A model on its corpus's validation split: accuracy, confidence, ECE and post-hoc temperatures.

The scored positions are those of the temperature search: the answer position of a question, or
every response token of an instruction row. No test split is read. A post-hoc temperature (Guo et
al. 2017) divides all logits by one scalar, which minimises the validation NLL or the validation
ECE: baselines without which no gain in calibration can be credited to distillation.
"""

from __future__ import annotations

import numpy as np
import torch

from first_distill.calibration.metrics import expected_calibration_error
from first_distill.calibration.posthoc import PosthocTemperature
from first_distill.errors import UserError
from first_distill.models.batching import CACHED, rows_at_once, scored_positions, spans
from first_distill.models.encoding import NO_LABEL, EncodedRow
from first_distill.models.inference import check_finite, ids_of, iterate_logits


def validate(
    model, encoded: list[EncodedRow], scored: str, pad_id: int, max_tokens: int, bins: int = 10
) -> dict:
    """Measure a model on validation rows; accuracy, confidence, ECE in percent, NLL in nats.

    Raises UserError where the model's output is not finite or there is nothing to score.
    """
    confidences, hits = [], []
    nll, posthoc = 0.0, PosthocTemperature()
    for batch, logits in iterate_logits(model, encoded, pad_id, max_tokens, what="validation"):
        scores = scored_positions(batch.counts, scored) & (batch.labels != NO_LABEL)
        keep = torch.from_numpy(scores).to(logits.device)
        gold = torch.from_numpy(batch.labels).to(logits.device)[keep]
        kept = logits[keep]
        log_p = kept.new_empty(len(gold), 1)  # of the gold tokens
        length = rows_at_once(CACHED, kept.device.type, kept.shape[1])
        for rows in spans(len(kept), length):
            probability, prediction = kept[rows].softmax(-1).max(-1)
            confidences.append(probability.double().cpu().numpy())
            hits.append((prediction == gold[rows]).cpu().numpy())
            log_p[rows] = kept[rows].log_softmax(-1).gather(1, gold[rows, None])
        ids = np.asarray(ids_of(batch, encoded))[scores].tolist()
        check_finite(log_p.cpu().numpy(), ids)
        nll += float(torch.nn.functional.nll_loss(log_p, torch.zeros_like(gold), reduction="sum"))
        posthoc.add(kept, gold)
    confidence, correct = np.concatenate(confidences), np.concatenate(hits)
    if not len(correct):
        raise UserError("no position to score: the validation split has no response: correct it")
    return {
        "n": len(correct),
        "scored": scored,
        "accuracy": 100 * float(correct.mean()),
        "confidence": 100 * float(confidence.mean()),
        "ece": 100 * expected_calibration_error(confidence, correct, bins),
        "nll": nll / len(correct),
        "posthoc_temperatures": {"nll": posthoc.fit(), "ece": posthoc.fit_ece(bins)},
    }
