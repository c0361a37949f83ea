"""All metrics of one model on one benchmark, as metrics.json has them."""

from __future__ import annotations

import statistics
from collections import Counter
from fractions import Fraction

import numpy as np

from scripts.first.calibration import metrics
from scripts.first.calibration.intervals import question_weights, score


def measure(benchmark: str, table, log_probs, gold, bins: int) -> dict:
    """In percent, but NLL (nats) and Brier; of `tables`' table, log_probs (n, m) and gold (n,).

    log_probs are -inf where a question has no such candidate. `chance`: mean over questions of
    1 / (number of their candidates). `majority`: share of the most frequent answer.
    """
    confidence = table["confidence"].to_numpy()
    correct = table["correct"].to_numpy(zero_copy_only=False)
    mass = np.exp(log_probs).sum(axis=1)
    sizes = np.isfinite(log_probs).sum(axis=1).tolist()
    scores = score(confidence, correct, question_weights(benchmark, len(gold)), bins)
    headline = {name: scores.summary(name) for name in ("ece", "accuracy", "trust")}
    renormalised = np.divide(confidence, mass, out=np.zeros_like(mass), where=mass > 0)
    ece_candidates = 100 * metrics.expected_calibration_error(renormalised, correct, bins)
    return {
        "n": len(gold),
        "bins": bins,
        **{name: summary["value"] for name, summary in headline.items()},
        "intervals": {name: [s["low"], s["high"]] for name, s in headline.items()},
        "confidence": scores.value["confidence"],
        "adaptive_ece": 100 * metrics.adaptive_calibration_error(confidence, correct, bins),
        "brier": metrics.candidate_brier(log_probs, gold),
        "nll": metrics.candidate_nll(log_probs, gold),
        "ece_candidates": ece_candidates,
        "trust_candidates": metrics.trust_score(scores.value["accuracy"], ece_candidates),
        "candidate_mass": 100 * float(mass.mean()),
        "chance": float(statistics.mean(Fraction(100, size) for size in sizes)),
        "majority": 100 * max(Counter(table["answer"].to_pylist()).values()) / len(gold),
        "constant_output": len(set(table["prediction"].to_pylist())) == 1,
    }
