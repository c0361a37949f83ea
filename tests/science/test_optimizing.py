"""One tensor or many: the same steps, bit by bit."""

from __future__ import annotations

import pytest
import torch

from scripts.first.training import optimizer as optimizing
from scripts.first.training.optimizer import Optimizer
from scripts.first.training.settings import Settings
from tests import tiny_models as tiny


def stepped(monkeypatch, small: int, **changes):
    """(norms, weights) of a model that follows random gradients of many sizes."""
    monkeypatch.setattr(optimizing, "SMALL", small)
    settings = Settings(epochs=1, batch_size=1, learning_rate=4e-3, seed=0, **changes)
    model = tiny.random_llama(0)
    optimizer = Optimizer(model, settings, sharded=False)
    assert optimizer.joined == (small > 0)
    g, norms = torch.Generator().manual_seed(1), []
    for step in range(25):
        for parameter in model.parameters():
            size = 10.0 ** -(step % 9)
            parameter.grad = size * torch.randn(parameter.shape, generator=g)
        norms.append(optimizer.clip())
        optimizer.step()
        assert all(parameter.grad is None for parameter in model.parameters())
    optimizer.release()
    weights = [parameter.detach() for parameter in model.parameters()]
    assert len({w.untyped_storage().data_ptr() for w in weights}) == len(weights)
    return norms, weights


@pytest.mark.parametrize("changes", [{}, {"weight_decay": 0.1}, {"max_grad_norm": 1e-3}])
def test_one_tensor_steps_like_many(monkeypatch, changes):
    norms, weights = stepped(monkeypatch, 10**9, **changes)
    expected_norms, expected = stepped(monkeypatch, 0, **changes)
    assert norms == expected_norms
    for one, other in zip(weights, expected, strict=True):
        assert torch.equal(one, other)
