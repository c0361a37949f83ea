"""The head in chunks, against the computation with autograd over all logits."""

import pytest
import torch
from loss_cases import random_case, targets_of
from transformers import Gemma2Config, Gemma2ForCausalLM

from first_distill.models import batching
from first_distill.models.encoding import NO_LABEL
from first_distill.models.inference import linear_head
from first_distill.training.loop import train
from first_distill.training.losses import STUDENT_SIDES, CrossEntropy, LabelTargets
from first_distill.training.model import ChunkedLoss
from first_distill.training.settings import Settings
from tests import tiny_models as tiny

N, H, V, K = 13, 7, 23, 5


def case(dtype=torch.float64, scale=1.0):
    """hidden (N, H), weight (V, H) as leaves, ids, target and mass of a random teacher."""
    _, ids, q, mass = random_case(N, V, K, seed=3)
    g = torch.Generator().manual_seed(5)
    hidden = scale * torch.randn(N, H, generator=g, dtype=torch.float64)
    weight = torch.randn(V, H, generator=g, dtype=torch.float64)
    leaves = [tensor.to(dtype).requires_grad_() for tensor in (hidden, weight)]
    return (*leaves, ids, q.to(dtype), mass.to(dtype))


def both(targets, length, dtype=torch.float64, scale=1.0):
    """(loss, gradients) of the chunked and of the dense computation."""
    hidden, weight, *teacher = case(dtype, scale)
    targets = targets_of(targets, *teacher) if isinstance(targets, str) else targets
    chunked = 0.3 * ChunkedLoss.apply(hidden, weight, targets, length)
    dense = 0.3 * targets.loss(hidden @ weight.t()).sum()
    for value in (chunked, dense):
        yield value.detach(), *torch.autograd.grad(value, (hidden, weight))


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
    for one, other in zip(*both("tail_bucket", 3, torch.float32, scale=120.0), strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_labels_in_chunks_are_torch_s_cross_entropy():
    labels = torch.arange(N) % V
    labels[[2, 7]] = NO_LABEL
    for ours, dense in zip(*both(LabelTargets(labels), 4), strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-10, atol=1e-12)


def test_bfloat16_products_gather_the_weights_gradient_in_float32():
    """Many small contributions to one row: in bfloat16 they would stop to count."""
    n = 4096
    hidden = torch.full((n, 4), 1.0, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.zeros(8, 4, dtype=torch.bfloat16, requires_grad=True)
    ChunkedLoss.apply(hidden, weight, LabelTargets(torch.zeros(n, dtype=torch.int64)), 2).backward()
    assert weight.grad[0, 0].item() == pytest.approx(-n * 7 / 8, rel=5e-3)
    assert weight.grad[1, 0].item() == pytest.approx(n / 8, rel=5e-3)


@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}, {"dtype": "bfloat16"}])
def test_training_in_chunks_is_training_at_once(monkeypatch, changes):
    rows = tiny.encode(tiny.choice_rows(5) + tiny.instruction_rows(4))
    settings = Settings(epochs=3, batch_size=4, learning_rate=0.01, seed=3, **changes)

    def trained():
        model = tiny.random_llama(0)
        curve = train(model, rows, CrossEntropy(), settings, tiny.EOS, "test")
        return [point["loss"] for point in curve], list(model.parameters())

    losses, weights = trained()
    monkeypatch.setitem(batching.LOGITS, "cpu", 3 * 263)
    chunked, chunked_weights = trained()
    assert chunked != losses  # it did go the other way
    if "dtype" in changes:
        assert chunked == pytest.approx(losses, rel=0.02)
        return
    assert chunked == pytest.approx(losses, rel=1e-4)
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
