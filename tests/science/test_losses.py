"""Eq. 5 in its four student sides: worked numbers, gradients, identities and peers' bugs."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import (
    HEAD_MASS,
    PT,
    STUDENT,
    C,
    Q,
    doubles,
    logits_of,
    loss_of,
    random_case,
    worked,
)

from first_distill.calibration.recalibration import normalise
from first_distill.training.losses import STUDENT_SIDES


def student_mass(logits, ids):
    """P: the student's probability of the ids together, (N,)."""
    return logits.softmax(-1).gather(-1, ids).sum(-1)


class TestWorkedNumbers:
    @pytest.mark.parametrize(
        ("side", "expected", "eps"),
        [
            ("full_vocab", 0.240401, 1e-6),
            ("renorm", 0.199580, 1e-6),
            ("renorm", 0.199579, 0.0),
            ("softmax_same_c", 0.191383, 1e-6),
            ("tail_bucket", 0.231931, 1e-6),
        ],
    )
    def test_first_ts(self, side, expected, eps):
        loss = worked(side, STUDENT, eps=eps)
        assert loss.shape == (1,) and loss.dtype == torch.float64
        assert loss.item() == pytest.approx(expected, abs=5.01e-7)

    @pytest.mark.parametrize(("side", "expected"), [("full_vocab", 0.343203), ("renorm", 0.302384)])
    def test_distill(self, side, expected):
        loss = worked(side, STUDENT, doubles(normalise(PT))[None])
        assert loss.item() == pytest.approx(expected, abs=5.01e-7)

    def test_full_vocab_is_renorm_minus_log_mass(self):
        logits, ids, target, mass = random_case()
        full = loss_of("full_vocab", logits, ids, target, mass)
        renorm = loss_of("renorm", logits, ids, target, mass, eps=0.0)
        log_mass = student_mass(logits, ids).log()
        torch.testing.assert_close(full, renorm - log_mass, rtol=1e-12, atol=1e-12)

    def test_tail_bucket_splits_into_shape_and_mass(self):
        # m KL(q || conditional student) + the binary KL of the masses.
        logits, ids, target, m = random_case()
        p = student_mass(logits, ids)
        shape = loss_of("renorm", logits, ids, target, m, eps=0.0)
        binary = m * (m / p).log() + (1 - m) * ((1 - m) / (1 - p)).log()
        ours = loss_of("tail_bucket", logits, ids, target, m)
        torch.testing.assert_close(ours, m * shape + binary, rtol=1e-10, atol=1e-12)

    def test_zero_loss_at_the_optimum(self):
        q = Q[0].numpy()
        full = worked("full_vocab", logits_of(q * (1 - 1e-9)))
        assert full.item() == pytest.approx(0, abs=1e-8)
        for share in (1 - 1e-9, 0.5, 0.1):
            renorm = worked("renorm", logits_of(q * share), eps=0.0)
            assert renorm.item() == pytest.approx(0, abs=1e-9)
        for shift in (0.0, -0.003 + 1e-12, (1 - HEAD_MASS) / 5 - 1e-12):
            same_c = worked("softmax_same_c", logits_of(PT + shift))
            assert same_c.item() == pytest.approx(0, abs=1e-12)
        bucket = worked("tail_bucket", logits_of(q * HEAD_MASS))
        assert bucket.item() == pytest.approx(0, abs=1e-12)

    def test_same_c_does_not_recalibrate(self):
        # Its optimum is the raw teacher; the recalibrated target itself is not one.
        assert worked("softmax_same_c", logits_of(Q[0].numpy() * 0.999)).item() > 1e-3

    @settings(max_examples=40)
    @given(st.integers(0, 10_000), st.sampled_from(STUDENT_SIDES))
    def test_never_negative(self, seed, side):
        assert loss_of(side, *random_case(seed=seed), eps=0.0).min() >= -1e-12


class TestGradients:
    @pytest.mark.parametrize("side", STUDENT_SIDES)
    @pytest.mark.parametrize("c", [C, 2.0])
    def test_finite_differences(self, side, c):
        logits, ids, target, mass = random_case(n=3, vocabulary=9)
        assert torch.autograd.gradcheck(
            lambda z: loss_of(side, z, ids, target, mass, c=c), logits.requires_grad_()
        )

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_derivatives_written_out(self, side):
        logits, ids, q, m = random_case()
        logits.requires_grad_()
        loss_of(side, logits, ids, q, m, eps=0.0).sum().backward()
        p = logits.detach().softmax(-1)
        head = p.gather(-1, ids)
        mass, m = head.sum(-1, keepdim=True), m[:, None]
        if side == "full_vocab":
            expected = p.scatter(-1, ids, head - q)
        elif side == "renorm":
            expected = torch.zeros_like(p).scatter(-1, ids, head / mass - q)
        elif side == "tail_bucket":
            expected = (p * (m - mass) / (1 - mass)).scatter(-1, ids, head - m * q)
        else:
            g = torch.zeros_like(p).scatter(-1, ids, ((head / C).softmax(-1) - q) / C)
            expected = p * (g - (p * g).sum(-1, keepdim=True))
        torch.testing.assert_close(logits.grad, expected, rtol=1e-10, atol=1e-13)

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_descent_reaches_the_stated_optimum(self, side):
        logits = logits_of([0.3, 0.2, 0.1, 0.1, 0.1]).clone().requires_grad_()
        # softmax_same_c has a flat valley; the others are convex in the logits.
        optimiser = torch.optim.LBFGS([logits], max_iter=400, line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            loss = worked(side, logits).sum()
            loss.backward()
            return loss

        for _ in range(5):
            optimiser.step(closure)
        head = logits.detach().softmax(-1)[0, :5]
        q = Q[0]
        if side == "full_vocab":
            torch.testing.assert_close(head, q, atol=2e-3, rtol=0)
        elif side == "tail_bucket":
            torch.testing.assert_close(head, HEAD_MASS * q, atol=2e-3, rtol=0)
        elif side == "renorm":
            torch.testing.assert_close(head / head.sum(), q, atol=2e-3, rtol=0)
            assert head.sum() < 0.95  # the mass is unsupervised: it stays near its start, .8
        else:
            shift = head - doubles(PT)
            assert (shift - shift.mean()).abs().max() < 2e-3  # the teacher's RAW probabilities


class TestOtherImplementations:
    """k = V must be the dense KL; the tail bucket that of TRL; renorm a KL of k logits."""

    @staticmethod
    def dense_case(n=7, vocabulary=19):
        g = torch.Generator().manual_seed(1)
        student = 2 * torch.randn(n, vocabulary, generator=g, dtype=torch.float64)
        teacher = 2 * torch.randn(n, vocabulary, generator=g, dtype=torch.float64)
        p, ids = teacher.softmax(-1).topk(vocabulary)
        return student, teacher, ids, p / p.sum(-1, keepdim=True)

    @pytest.mark.parametrize("side", ["full_vocab", "renorm", "tail_bucket"])
    def test_dense_limit_against_trl_and_torch(self, side):
        from trl.experimental.gkd import GKDTrainer

        student, teacher, ids, p = self.dense_case()
        ours = loss_of(side, student, ids, p, torch.ones(len(p), dtype=torch.float64), eps=0.0)
        trl = GKDTrainer.generalized_jsd_loss(student[None], teacher[None], beta=0, reduction="sum")
        assert ours.sum().item() == pytest.approx(trl.item(), rel=1e-12)
        dense = F.kl_div(
            student.log_softmax(-1), teacher.log_softmax(-1), reduction="none", log_target=True
        ).sum(-1)
        torch.testing.assert_close(ours, dense, rtol=1e-10, atol=1e-12)

    def test_tail_bucket_against_trl(self):
        from trl.experimental.server_distillation.server_distillation_trainer import (
            _add_tail_bucket,
            _jsd_divergence,
        )

        student, ids, _, mass = random_case(n=9)
        g = torch.Generator().manual_seed(7)
        inside = torch.rand(9, 5, generator=g, dtype=torch.float64).softmax(-1)
        results = []
        for which in ("trl", "ours"):
            z = student.clone().requires_grad_()
            if which == "trl":
                everywhere = torch.ones_like(ids, dtype=torch.bool)
                s, mask = _add_tail_bucket(z.log_softmax(-1).gather(-1, ids), everywhere)
                t, _ = _add_tail_bucket((mass[:, None] * inside).log(), everywhere)
                loss = _jsd_divergence(s, t, 0, mask).sum(-1)
            else:
                loss = loss_of("tail_bucket", z, ids, inside, mass)
            loss.sum().backward()
            results.append((loss.detach(), z.grad))
        torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-8, atol=1e-10)

    def test_renorm_against_torch(self):
        logits, ids, target, mass = random_case()
        log_p = logits.gather(-1, ids).log_softmax(-1)
        expected = F.kl_div(log_p, target, reduction="none").sum(-1)
        ours = loss_of("renorm", logits, ids, target, mass, eps=0.0)
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-14)


class TestRobustness:
    def test_sharp_tail_does_not_cancel(self):
        # 1 - P in float32 is 0 here; the tail's own logits keep the truth of float64.
        exact = logits_of([1 - 4e-9, 1e-9, 1e-9, 1e-9, 0.5e-9])
        single = worked("tail_bucket", exact.float()).item()
        assert single == pytest.approx(worked("tail_bucket", exact).item(), rel=1e-5)

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_a_zero_target_meets_an_impossible_token(self, side):
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
        loss = worked(side, logits)
        loss.sum().backward()
        assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_half_precision_is_computed_in_float32(self, side):
        logits, ids, target, mass = random_case(vocabulary=500)
        half = logits.bfloat16()
        loss = loss_of(side, half, ids, target, mass)
        assert loss.dtype == torch.float32
        exact = loss_of(side, half.double(), ids, target, mass)
        torch.testing.assert_close(loss.double(), exact, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("side", STUDENT_SIDES)
    def test_positions_are_independent_and_slots_permute_together(self, side):
        logits, ids, target, mass = random_case(n=6)
        whole = loss_of(side, logits, ids, target, mass)
        parts = [
            loss_of(side, *(x[i : i + 2] for x in (logits, ids, target, mass))) for i in (0, 2, 4)
        ]
        torch.testing.assert_close(torch.cat(parts), whole)
        order = torch.tensor([4, 2, 0, 1, 3])
        permuted = loss_of(side, logits, ids[:, order], target[:, order], mass)
        torch.testing.assert_close(permuted, whole)
        shuffled_target_only = loss_of(side, logits, ids, target[:, order], mass)
        assert (shuffled_target_only - whole).abs().max() > 1e-3
