"""The head in chunks, against the dense computation with autograd over all logits."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from loss_cases import C, random_case
from transformers import Gemma2Config, Gemma2ForCausalLM

from scripts.first.models import head
from scripts.first.models.encoding import NO_LABEL
from scripts.first.models.head import InChunks, chunked_loss, linear_head, spans
from scripts.first.training.cross_entropy import cross_entropy, train_on_labels
from scripts.first.training.loop import Settings
from scripts.first.training.losses import STUDENT_SIDES, knowledge_matching_loss, matching_of
from tests import tiny_models as tiny

N, H, V, K = 13, 7, 23, 5


def case(dtype=torch.float64, scale=1.0):
    """hidden (N, H), weight (V, H) as leaves, ids, target and mass of a random teacher."""
    _, ids, target, mass = random_case(N, V, K, seed=3)
    g = torch.Generator().manual_seed(5)
    hidden = scale * torch.randn(N, H, generator=g, dtype=torch.float64)
    weight = torch.randn(V, H, generator=g, dtype=torch.float64)
    leaves = [tensor.to(dtype).requires_grad_() for tensor in (hidden, weight)]
    return (*leaves, ids, target.to(dtype), mass.to(dtype))


def settings_of(side, mass):
    return {"c": C if side == "softmax_same_c" else None, "head_mass": mass}


def gradients(value, *leaves):
    return [value.detach(), *torch.autograd.grad(value, leaves)]


def both(side, length, dtype=torch.float64, scale=1.0):
    """(loss, gradients) of the chunked and of the dense computation."""
    hidden, weight, ids, target, mass = case(dtype, scale)
    dense = knowledge_matching_loss(
        hidden @ weight.t(), ids, target, side, **settings_of(side, mass)
    )

    def loss(statistics, span):
        return matching_of(statistics, target[span], side, **settings_of(side, mass[span]))

    chunked = chunked_loss(hidden, weight, InChunks(ids, loss), 0.3, length)
    return gradients(chunked, hidden, weight), gradients(0.3 * dense.sum(), hidden, weight)


@pytest.mark.parametrize("length", [1, 4, N, 100])
@pytest.mark.parametrize("side", STUDENT_SIDES)
def test_loss_and_gradients_are_the_dense_ones(side, length):
    for ours, dense in zip(*both(side, length), strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("side", STUDENT_SIDES)
def test_float32_agrees_to_1e_6(side):
    for ours, dense in zip(*both(side, 4, torch.float32), strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-5, atol=1e-6)


def test_a_student_that_is_sure_has_a_finite_tail():
    """Logits hundreds apart: the tail's mass is below what float32 can hold beside the head's."""
    ours, dense = both("tail_bucket", 3, torch.float32, scale=120.0)
    for one, other in zip(ours, dense, strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_gradients_by_finite_differences():
    hidden, weight, ids, target, mass = case()

    def value(hidden, weight):
        def loss(statistics, span):
            return matching_of(statistics, target[span], "tail_bucket", head_mass=mass[span])

        return chunked_loss(hidden, weight, InChunks(ids, loss), 1.0, 5)

    assert torch.autograd.gradcheck(value, (hidden, weight))


def test_cross_entropy_is_torch_s():
    hidden, weight, *_ = case()
    labels = torch.arange(N) % V
    labels[[2, 7]] = NO_LABEL
    batch = dataclasses.make_dataclass("B", ["labels"])(labels.numpy())
    parts = cross_entropy.in_chunks(batch, torch.device("cpu"), V)
    chunked = gradients(chunked_loss(hidden, weight, parts, 1.0, 4), hidden, weight)
    dense = F.cross_entropy(
        hidden @ weight.t(), labels, ignore_index=NO_LABEL, reduction="none"
    ).sum()
    for ours, theirs in zip(chunked, gradients(dense, hidden, weight), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_bfloat16_products_gather_the_weights_gradient_in_float32():
    """Many small contributions to one row: in bfloat16 they would stop to count."""
    n = 4096
    hidden = torch.full((n, 4), 1.0, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.zeros(8, 4, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.zeros(n, 1, dtype=torch.int64)

    def loss(statistics, span):
        return statistics.normaliser - statistics.chosen[:, 0]

    chunked_loss(hidden, weight, InChunks(labels, loss), 1.0, 2).backward()
    assert weight.grad[0, 0].item() == pytest.approx(-n * 7 / 8, rel=5e-3)
    assert weight.grad[1, 0].item() == pytest.approx(n / 8, rel=5e-3)


def test_the_whole_vocabulary_is_refused():
    hidden, weight, *_ = case()
    with pytest.raises(ValueError, match="k = 23 of V = 23"):
        chunked_loss(hidden, weight, InChunks(torch.zeros(N, V).long(), None), 1.0, 4)


@pytest.mark.parametrize(("positions", "length"), [(1, 1), (7, 3), (9, 3), (5, 100)])
def test_spans_cover_all_positions_once(positions, length):
    pieces = spans(positions, length)
    assert [i for s in pieces for i in range(s.start, s.stop)] == list(range(positions))
    assert max(s.stop - s.start for s in pieces) <= length


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_training_in_chunks_is_training_at_once(monkeypatch, gradient_checkpointing):
    rows = tiny.encode(tiny.choice_rows(5) + tiny.instruction_rows(4))
    settings = Settings(
        epochs=3,
        batch_size=4,
        learning_rate=0.01,
        seed=3,
        gradient_checkpointing=gradient_checkpointing,
    )

    def trained():
        model = tiny.random_llama(0)
        curve = train_on_labels(model, rows, settings, tiny.EOS, "test")
        return [point["loss"] for point in curve], list(model.parameters())

    losses, weights = trained()
    monkeypatch.setitem(head.ELEMENTS, "cpu", 3 * 263)
    chunked, chunked_weights = trained()
    assert chunked == pytest.approx(losses, rel=1e-4)
    assert chunked != losses  # it did go the other way
    for one, other in zip(chunked_weights, weights, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)


def test_a_head_that_does_more_than_multiply_is_left_alone():
    model = tiny.random_llama(0)
    assert linear_head(model) is model.lm_head
    other = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
            final_logit_softcapping=1.0,
        )
    ).eval()
    assert linear_head(other) is None
    ids = torch.arange(3, 9)[None]
    with torch.no_grad():  # the reason: its logits are capped
        hidden = other.get_decoder()(ids).last_hidden_state
        assert not torch.allclose(other(ids).logits, other.lm_head(hidden))
