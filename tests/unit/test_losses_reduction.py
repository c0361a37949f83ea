"""Reductions to a scalar, and the hard-label loss of the teacher and of fine-tuning."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from loss_cases import loss_of, random_case

from scripts.first.losses import (
    hard_label_loss,
    sequence_reduction,
    token_mean,
)


class TestReductions:
    def test_sum_over_positions_mean_over_sequences(self):
        # Two sequences of 1 and 3 positions: neither a token mean nor a mean of means.
        assert sequence_reduction(torch.tensor([1.0, 2.0, 3.0, 6.0]), 2).item() == 6.0
        assert token_mean(torch.tensor([1.0, 2.0, 3.0, 6.0])).item() == 3.0

    @pytest.mark.parametrize("reduction", ["sequence", "token_mean"])
    def test_accumulation_changes_nothing_b5(self, reduction):
        logits, ids, target, mass = random_case(n=6)
        labels = ids[:, 0]
        count = 3.0 if reduction == "sequence" else 6.0
        reduce = sequence_reduction if reduction == "sequence" else token_mean

        def gradients(slices):
            z = logits.clone().requires_grad_()
            for rows in slices:
                part = loss_of("full_vocab", z[rows], ids[rows], target[rows], mass[rows])
                reduce(part, count).backward()
                hard_label_loss(z[rows], labels[rows], reduction, count=count).backward()
            return z.grad

        whole = gradients([slice(0, 6)])
        parts = gradients([slice(0, 1), slice(1, 2), slice(2, 6)])
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-15)

    def test_empty(self):
        assert sequence_reduction(torch.zeros(0), 3).item() == 0.0
        assert token_mean(torch.zeros(0)).item() == 0.0

    @pytest.mark.parametrize("count", [0, -1, float("nan")])
    def test_impossible_counts(self, count):
        for reduce in (sequence_reduction, token_mean):
            with pytest.raises(ValueError, match="positive"):
                reduce(torch.ones(2), count)


class TestHardLabels:
    def test_torch(self):
        logits, ids, _, _ = random_case(n=8)
        labels = ids[:, 0].clone()
        labels[[1, 4]] = -100
        expected = F.cross_entropy(logits, labels, ignore_index=-100)
        torch.testing.assert_close(hard_label_loss(logits, labels), expected)
        total = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        torch.testing.assert_close(hard_label_loss(logits, labels, "sequence", count=3), total / 3)

    def test_is_knowledge_matching_with_a_certain_target(self):
        logits, ids, _, mass = random_case()
        certain = torch.zeros(6, 5, dtype=torch.float64)
        certain[:, 0] = 1
        matched = loss_of("full_vocab", logits, ids, certain, mass)
        torch.testing.assert_close(matched.mean(), hard_label_loss(logits, ids[:, 0]))

    def test_ignored_rows_may_hold_anything_b10(self):
        logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
        logits[1] = float("nan")
        logits.requires_grad_()
        loss = hard_label_loss(logits, torch.tensor([1, -100, 2]))
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()

    def test_nothing_supervised_is_zero(self):
        logits = torch.zeros(2, 5, requires_grad=True)
        for arguments in ({}, {"reduction": "sequence", "count": 2}):
            loss = hard_label_loss(logits, torch.tensor([-100, -100]), **arguments)
            loss.backward()
            assert loss.item() == 0.0 and logits.grad.abs().max() == 0

    @pytest.mark.parametrize("label", [5, -1, -99])
    def test_labels_outside_the_vocabulary(self, label):
        with pytest.raises(ValueError, match="vocabulary"):
            hard_label_loss(torch.zeros(1, 5), torch.tensor([label]))

    def test_refuses_reductions(self):
        with pytest.raises(ValueError, match="reduction"):
            hard_label_loss(torch.zeros(1, 5), torch.tensor([1]), "mean")
        with pytest.raises(ValueError, match="count"):
            hard_label_loss(torch.zeros(1, 5), torch.tensor([1]), "sequence")
