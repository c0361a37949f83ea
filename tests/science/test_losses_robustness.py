"""What the loss must survive (padding, half precision, empty batches) and what it must refuse."""

from __future__ import annotations

import pytest
import torch
from loss_cases import HEAD_MASS, IDS, STUDENT, Q, loss_of, random_case

from scripts.first.training.losses import (
    STUDENT_SIDES,
    knowledge_matching_loss,
)


class TestRobustness:
    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_padded_rows_are_exactly_zero_b10(self, side):
        logits, ids, target, mass = random_case(n=5)
        clean = loss_of(side, logits[:2], ids[:2], target[:2], mass[:2])
        for row, filling in ((2, float("-inf")), (3, float("nan")), (4, float("inf"))):
            logits[row], ids[row], target[row] = filling, 0, 0
        logits.requires_grad_()
        loss = loss_of(side, logits, ids, target, mass)
        torch.testing.assert_close(loss[:2], clean)
        assert loss[2:].tolist() == [0, 0, 0]
        loss.sum().backward()
        assert torch.isfinite(logits.grad).all() and logits.grad[2:].abs().max() == 0
        assert logits.grad[:2].abs().max() > 0

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_empty_input(self, side):
        logits = torch.zeros(0, 9, requires_grad=True)
        ids, target = torch.zeros(0, 5, dtype=torch.long), torch.zeros(0, 5)
        loss = loss_of(side, logits, ids, target, torch.zeros(0))
        assert loss.shape == (0,)
        (loss.sum() / 2).backward()
        assert logits.grad.shape == (0, 9)

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_a_zero_target_meets_an_impossible_token_b10(self, side):
        logits, ids, target, mass = random_case(n=2)
        target[:, -1] = 0
        target = target / target.sum(-1, keepdim=True)
        logits[0, ids[0, -1]] = float("-inf")
        logits.requires_grad_()
        loss = loss_of(side, logits, ids, target, mass)
        loss.sum().backward()
        assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_extreme_logits_stay_finite_in_float32(self, side):
        logits = torch.full((1, 12), -60.0)
        logits[0, 11] = 60.0  # all mass outside the five ids
        logits.requires_grad_()
        loss = loss_of(side, logits, IDS, Q, torch.tensor([HEAD_MASS]))
        loss.sum().backward()
        assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_half_precision_is_computed_in_float32(self, side):
        logits, ids, target, mass = random_case(vocabulary=500)
        half = logits.bfloat16()
        loss = loss_of(side, half, ids, target, mass)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, loss_of(side, half.float(), ids, target, mass))
        exact = loss_of(side, half.double(), ids, target, mass)
        torch.testing.assert_close(loss.double(), exact, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_inputs_are_not_modified_b23(self, side):
        case = random_case(n=4)
        case[2][3] = 0  # the padding path as well
        before = [x.clone() for x in case]
        loss_of(side, *case)
        assert all(torch.equal(x, y) for x, y in zip(case, before, strict=True))

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_positions_are_independent(self, side):
        case = random_case(n=6)
        whole = loss_of(side, *case)
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        torch.testing.assert_close(loss_of(side, *(x[order] for x in case)), whole[order])
        parts = [loss_of(side, *(x[i : i + 2] for x in case)) for i in (0, 2, 4)]
        torch.testing.assert_close(torch.cat(parts), whole)

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_slots_may_be_permuted_together(self, side):
        logits, ids, target, mass = random_case()
        order = torch.tensor([4, 2, 0, 1, 3])
        permuted = loss_of(side, logits, ids[:, order], target[:, order], mass)
        torch.testing.assert_close(permuted, loss_of(side, logits, ids, target, mass))
        shuffled_target_only = loss_of(side, logits, ids, target[:, order], mass)
        assert (shuffled_target_only - permuted).abs().max() > 1e-3

    def test_no_gradient_reaches_the_teacher(self):
        logits, ids, target, mass = random_case()
        target.requires_grad_()
        logits.requires_grad_()
        loss_of("full_vocab", logits, ids, target, mass).sum().backward()
        assert target.grad is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"ids": torch.tensor([[0, 1, 2, 3, 12]])}, "vocabulary"),  # student V < teacher V, B12
            ({"ids": torch.tensor([[0, 1, 2, 3, -1]])}, "vocabulary"),
            ({"ids": torch.tensor([[0, 1, 2, 3, 3]])}, "repeated"),
            ({"ids": torch.arange(4)[None]}, "shapes"),
            ({"ids": IDS[0], "target": Q[0]}, "shapes"),
            ({"target": Q * 0.99}, "sum to 1"),
            ({"target": Q * float("nan")}, "finite"),
            ({"target": torch.cat([Q, Q])}, "shapes"),
            ({"side": "reverse"}, "student_side"),
            ({"side": "softmax_same_c"}, "needs a finite"),
            ({"side": "softmax_same_c", "c": 0.0}, "needs a finite"),
            ({"side": "softmax_same_c", "c": float("nan")}, "needs a finite"),
            ({"c": 0.3}, "does not use c"),  # never silently ignored, B20
            ({"side": "renorm", "c": 0.3}, "does not use c"),
            ({"side": "renorm", "eps": -1e-6}, "eps"),
            ({"side": "tail_bucket"}, "head_mass"),
            ({"side": "tail_bucket", "head_mass": torch.ones(2)}, "head_mass"),
            ({"side": "tail_bucket", "head_mass": torch.tensor([1.1])}, "head_mass"),
            ({"side": "tail_bucket", "head_mass": torch.tensor([float("nan")])}, "head_mass"),
        ],
    )
    def test_refused(self, change, message):
        arguments = {"ids": IDS, "target": Q, "side": "full_vocab", **change}
        ids, target, side = (arguments.pop(name) for name in ("ids", "target", "side"))
        with pytest.raises(ValueError, match=message):
            knowledge_matching_loss(STUDENT, ids, target, side, **arguments)
