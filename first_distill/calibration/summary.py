"""All metrics of one model on one benchmark, as metrics.json has them."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from fractions import Fraction

import numpy as np
from scipy.special import log_softmax

from first_distill.calibration import meters, metrics
from first_distill.calibration.intervals import LOWEST, Estimate
from first_distill.calibration.statistic import question_weights, score


def measure(benchmark: str, table, log_probs, gold, bins: int) -> dict:
    """In percent, but NLL (nats) and Brier; of `tables`' table, log_probs (n, m) and gold (n,).

    log_probs, at any temperature, are -inf where a question has no such candidate; the largest is
    the confidence. Names that end in _candidates are of probabilities rescaled to sum to 1 over a
    question's candidates. `chance`: mean over questions of 1 / (number of their candidates).
    `majority`: share of the most frequent answer.
    """
    confidence = np.exp(log_probs).max(axis=1)
    correct = table["correct"].to_numpy(zero_copy_only=False)
    sizes = np.isfinite(log_probs).sum(axis=1).tolist()
    scores = score(confidence, correct, question_weights(benchmark, len(gold)), bins)
    headline = {
        name: Estimate([scores[name]]).summary(LOWEST.get(name, -100.0))
        for name in ("ece", "accuracy", "trust")
    }
    shares = log_softmax(log_probs, axis=1)
    rescaled = every_meter(np.exp(shares.max(axis=1)), correct, shares, gold, bins)
    return {
        "n": len(gold),
        "bins": bins,
        **every_meter(confidence, correct, log_probs, gold, bins),
        **{name: summary["value"] for name, summary in headline.items()},
        "intervals": {name: [s["low"], s["high"]] for name, s in headline.items()},
        "confidence": scores["confidence"].value,
        **{f"{name}_candidates": value for name, value in rescaled.items()},
        "trust_candidates": metrics.trust_score(scores["accuracy"].value, rescaled["ece"]),
        "candidate_mass": 100 * float(np.exp(log_probs).sum(axis=1).mean()),
        "chance": float(statistics.mean(Fraction(100, size) for size in sizes)),
        "majority": 100 * max(Counter(table["answer"].to_pylist()).values()) / len(gold),
        "constant_output": len(set(table["prediction"].to_pylist())) == 1,
    }


def every_meter(confidence, correct, log_probs, gold, bins: int) -> dict[str, float | None]:
    """Every meter of one notion of confidence, in percent, but NLL (nats) and Brier.

    confidence, correct: (n,); log_probs (n, m) and gold (n,) as for `measure`. None: undefined,
    as the AUROC is where all answers are right or all are wrong. A meter that is added here needs
    a printed name in reporting/names.py, and is a column of Table 1's CSV then.
    """
    fractions = {
        "ece": metrics.expected_calibration_error(confidence, correct, bins),
        "ece_15": metrics.expected_calibration_error(confidence, correct, 15),
        "adaptive_ece": metrics.adaptive_calibration_error(confidence, correct, bins),
        "smooth_ece": meters.smooth_calibration_error(confidence, correct),
        "aurc": meters.aurc(confidence, correct),
        "excess_aurc": meters.excess_aurc(confidence, correct),
        "auroc": meters.auroc(confidence, correct),
    }
    percent = {n: None if math.isnan(value) else 100 * value for n, value in fractions.items()}
    return percent | {
        "brier": metrics.candidate_brier(log_probs, gold),
        "nll": metrics.candidate_nll(log_probs, gold),
    }
