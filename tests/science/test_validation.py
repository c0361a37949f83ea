"""Validation of a model, recomputed by hand from plain forward passes."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from first_distill.training.validation import validate
from tests import tiny_models as tiny


def scored_by_hand(model, encoded, scored):
    """float64 logits (n, V) and gold ids at the scored positions, row by row."""
    logits, gold = [], []
    for row in encoded:
        own = tiny.full_logits(model, row)[row.prompt_length - 1 :]
        response = row.input_ids[row.prompt_length :].tolist()
        for position, label in enumerate(response[:1] if scored == "answer" else response):
            logits.append(own[position])
            gold.append(label)
    return torch.stack(logits), np.asarray(gold)


def ece_by_hand(confidence, correct, bins=10) -> float:
    total = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("append_eos", [True, False])
@pytest.mark.parametrize("scored", ["answer", "response"])
def test_validation_by_hand(scored, append_eos):
    rows = tiny.choice_rows(60) if scored == "answer" else tiny.instruction_rows(20)
    encoded = tiny.encode(rows, append_eos=append_eos)
    model = tiny.random_llama(3)
    with torch.no_grad():  # some answers right, at all confidences
        model.lm_head.weight[[tiny.tokenizer().encode(c)[1] for c in "abcde "]] *= 2
    found = validate(model, encoded, scored, tiny.EOS, 700, bins=10)
    logits, gold = scored_by_hand(model, encoded, scored)
    p = logits.softmax(-1).numpy()
    confidence, correct = p.max(1), p.argmax(1) == gold
    assert found["n"] == len(gold) and found["scored"] == scored
    assert found["accuracy"] == pytest.approx(100 * correct.mean())
    assert 0 < correct.mean() < 1
    assert found["confidence"] == pytest.approx(100 * confidence.mean(), rel=1e-5)
    assert found["ece"] == pytest.approx(100 * ece_by_hand(confidence, correct), abs=1e-3)
    nll = -np.log(p[np.arange(len(gold)), gold]).mean()
    assert found["nll"] == pytest.approx(nll, rel=1e-5)

    def tempered(t: float) -> float:
        return float(-(logits / t).log_softmax(-1)[np.arange(len(gold)), gold].mean())

    best = minimize_scalar(tempered, bounds=(0.05, 20), method="bounded").x
    posthoc = found["posthoc_temperatures"]
    assert posthoc["nll"] == pytest.approx(best, rel=1e-3)
    assert best > 1.1

    def ece(t: float) -> float:
        return ece_by_hand((logits / t).softmax(-1).max(1).values.numpy(), correct)

    # Searched as c is: 61 points evenly in log T, then 10 steps between two around the best.
    points = np.linspace(np.log(0.05), np.log(20), 61)
    i = min(range(61), key=lambda j: ece(np.exp(points[j])))
    finer = np.exp(np.linspace(points[max(i - 1, 0)], points[min(i + 1, 60)], 21))
    assert ece(posthoc["ece"]) == pytest.approx(min(map(ece, finer)), abs=1e-5)
    assert 100 * ece(posthoc["ece"]) < found["ece"]


def test_validation_does_not_depend_on_batches():
    encoded, model = tiny.encode(tiny.choice_rows(12)), tiny.random_llama(3)
    one = validate(model, encoded, "answer", tiny.EOS, 1)
    other = validate(model, encoded, "answer", tiny.EOS, 5000)
    assert one.pop("scored") == other.pop("scored") == "answer"
    for name in one.keys() - {"posthoc_temperatures"}:
        assert one[name] == pytest.approx(other[name], rel=1e-5)
    assert one["posthoc_temperatures"] == pytest.approx(other["posthoc_temperatures"], rel=1e-4)
