"""The names that `first_distill` gives to other programs, and its loss, by plain loops."""

import math
import re

import numpy as np
import pytest
import torch

import first_distill
from first_distill import KnowledgeTargets, matching_loss
from first_distill.knowledge.store import KnowledgeStore
from first_distill.models.encoding import EncodedRow
from first_distill.training.knowledge_loss import KnowledgeLoss
from tests import tiny_models as tiny

N, V, K, C = 4, 12, 3, 0.3


def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Student's logits (N, V), and the teacher's top K ids and log-probabilities, float64."""
    generator = torch.Generator().manual_seed(5)
    teacher, student = 2 * torch.randn(2, N, V, generator=generator, dtype=torch.float64)
    log_probs, ids = teacher.log_softmax(-1).topk(K)
    return student, ids, log_probs


def target(name: str, p: list[float]) -> list[float]:
    """A.1, Eq. 3 (delta 0.1), Eq. 4 and softmax(z / 2) of one position, as the paper has them."""
    total = sum(own + 1e-6 for own in p)
    n = [(own + 1e-6) / total for own in p]
    weights = {
        "none": n,
        "label_smoothing": [n[0] - 0.1, *(own + 0.1 / (K - 1) for own in n[1:])],
        "prob_softmax": [math.exp(own / C) for own in p],
        "logit_temperature": [own**0.5 for own in p],
    }[name]
    return [own / sum(weights) for own in weights]


def student_sides(side: str, logits: list[float], ids: list[int]) -> list[float]:
    """The student's side of Eq. 5 at the ids."""
    p = [math.exp(logits[i]) / sum(map(math.exp, logits)) for i in ids]
    if side == "full_vocab":
        return p
    weights = [math.exp(own / C) if side == "softmax_same_c" else own + 1e-6 for own in p]
    return [own / sum(weights) for own in weights]


SETTINGS = {"none": {}, "label_smoothing": {"delta": 0.1}, "prob_softmax": {"c": C}}
SETTINGS["logit_temperature"] = {"t": 2.0}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("side", ["full_vocab", "renorm", "softmax_same_c"])
def test_matching_loss_is_the_equation(name, side):
    if side == "softmax_same_c" and "c" not in SETTINGS[name]:
        with pytest.raises(ValueError, match="softmax_same_c with c"):
            matching_loss(*case(), name, side, **SETTINGS[name])
        return
    logits, ids, log_probs = case()
    found = matching_loss(logits, ids, log_probs, name, side, **SETTINGS[name])
    expected = [
        sum(
            q * math.log(q / p)
            for q, p in zip(target(name, teacher), student_sides(side, z, own), strict=True)
        )
        for z, own, teacher in zip(
            logits.tolist(), ids.tolist(), log_probs.exp().tolist(), strict=True
        )
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_tail_bucket_needs_the_heads_mass():
    logits, ids, log_probs = case()
    mass = log_probs.exp().sum(-1)
    with pytest.raises(ValueError, match="tail_bucket with head_mass"):
        matching_loss(logits, ids, log_probs, "none", "tail_bucket")
    with pytest.raises(ValueError, match="'tail': give one of full_vocab, renorm"):
        matching_loss(logits, ids, log_probs, "none", "tail")
    found = matching_loss(logits, ids, log_probs, "none", "tail_bucket", mass)
    for row in range(N):
        p = logits[row].softmax(-1)[ids[row]].tolist()
        q = [float(mass[row]) * own for own in target("none", log_probs[row].exp().tolist())]
        outcomes = [*zip(q, p, strict=True), (1 - sum(q), 1 - sum(p))]
        expected = sum(a * math.log(a / b) for a, b in outcomes)
        assert float(found[row]) == pytest.approx(expected, rel=1e-9)


def test_it_is_what_the_students_of_this_repository_are_trained_with():
    """The same targets as from a store, and gradients by autograd."""
    logits, ids, log_probs = case()
    arrays = {"ids": ids.numpy(), "log_probs": log_probs.numpy(), "gold_rank": np.zeros(N)}
    arrays |= {"log_tail": np.zeros(N), "offsets": np.array([0, N])}
    arrays["row_hashes"] = np.zeros((1, 16), np.uint8)
    store = KnowledgeStore(arrays, {})
    row = EncodedRow("row", None, 1, np.zeros(N), bytes(16))
    stored = KnowledgeLoss(store, K, "prob_softmax", {"c": C}).targets([row], "cpu")
    assert isinstance(stored, KnowledgeTargets)
    found = matching_loss(logits.requires_grad_(), ids, log_probs, "prob_softmax", c=C)
    torch.testing.assert_close(found, stored.loss(logits), rtol=1e-6, atol=1e-7)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    q = torch.zeros(N, V, dtype=torch.float64)
    for at, own, p in zip(q, ids, log_probs.exp().tolist(), strict=True):
        at[own] = torch.tensor(target("prob_softmax", p), dtype=torch.float64)
    torch.testing.assert_close(gradient, logits.detach().softmax(-1) - q)


def test_half_precision_is_computed_in_float32():
    logits, ids, log_probs = case()
    found = matching_loss(logits.bfloat16(), ids, log_probs.half(), "prob_softmax", c=C)
    assert found.dtype == torch.float32


def test_every_name_is_there_and_in_the_documentation():
    text = (tiny.REPOSITORY / "docs/library.md").read_text()
    table = text.split("| name |")[1].split("\n\n")[0]
    columns = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert sorted(re.findall(r"`(\w+)`", " ".join(columns))) == sorted(first_distill.__all__)
    for name in first_distill.__all__:
        value = getattr(first_distill, name)
        assert value.__doc__ and value.__module__.startswith("first_distill.")
    with pytest.raises(AttributeError, match="'first_distill' has no attribute 'nothing'"):
        _ = first_distill.nothing


def test_examples_in_the_documentation_are_there():
    text = (tiny.REPOSITORY / "docs/library.md").read_text()
    named = set(re.findall(r"examples/(\w+)\.py", text))
    assert named == {path.stem for path in (tiny.REPOSITORY / "examples").glob("*.py")}
