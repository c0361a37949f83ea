"""Smooth ECE, AUROC and AURC against worked numbers, their authors' code and plain loops."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import relplot
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from first_distill.calibration import meters as m
from tests.science import plain_meters

METERS = (m.smooth_calibration_error, m.auroc, m.aurc, m.excess_aurc)
# Few distinct confidences, so that many are equal; among them both ends.
levels = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]) | st.floats(0, 1)
scored = st.lists(st.tuples(levels, st.booleans()), min_size=1, max_size=40).map(
    lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows]))
)
bandwidths = st.floats(0.01, 1)


def scores(n: int, seed: int, digits: int = 16):
    """Over-confident below 0.6, under-confident above; some equal where digits are few."""
    rng = np.random.default_rng(seed)
    confidence = np.round(0.1 + 0.8 * rng.random(n), digits)
    return confidence, rng.random(n) < confidence + 0.3 * (confidence - 0.6)


class TestSmoothCalibrationError:
    @pytest.mark.parametrize(("n", "seed"), [(60, 0), (1000, 1), (3000, 2)])
    def test_relplot(self, n, seed):
        """The authors' package, where its kernel is whole: it cuts the Gaussian at 0.5.

        And inside (0.1, 0.9), away from the end points.
        """
        confidence, correct = scores(n, seed)
        labels = correct.astype(float)
        for bandwidth in (0.01, 0.03, 0.1):
            expected = relplot.smECE_sigma(confidence, labels, bandwidth)
            found = m.smooth_calibration_error(confidence, correct, bandwidth)
            assert found == pytest.approx(float(expected), abs=5e-4), bandwidth
        expected = relplot.smECE(confidence, labels)  # ten halvings: to 1 / 1024
        found = m.smooth_calibration_error(confidence, correct)
        assert found == pytest.approx(float(expected), abs=1.5e-3)
        assert 0.01 < found < 0.3

    def test_a_question_of_full_confidence_weighs_as_much_as_any(self):
        """Half of the answers are certain and 80 % right: 0.1. relplot gives them half the weight.

        Its reflection of the grid does not repeat the end points.
        """
        confidence = np.repeat([1.0, 0.5], 500)
        correct = np.r_[np.arange(500) % 5 > 0, np.arange(500) % 2 > 0]
        assert m.smooth_calibration_error(confidence, correct) == pytest.approx(0.1)
        labels = correct.astype(float)
        assert relplot.smECE(confidence, labels) == pytest.approx(0.068, abs=1e-3)
        near = relplot.smECE(np.minimum(confidence, 0.99), labels)
        assert near == pytest.approx(0.5 * 0.19, abs=2e-3)

    def test_one_level_is_its_gap_at_any_bandwidth(self):
        for level in (0.0, 0.7, 1.0):
            rows = [level] * 10, [1] * 4 + [0] * 6
            for bandwidth in (None, 0.01, 0.2, 1.0):
                found = m.smooth_calibration_error(*rows, bandwidth)
                assert found == pytest.approx(abs(level - 0.4)), (level, bandwidth)

    def test_two_opposite_levels_cancel_as_far_as_the_kernels_overlap(self):
        """Residuals -0.3 at 0.3 and +0.3 at 0.7; far from the ends, so that no image counts."""
        from scipy.stats import norm

        rows = [0.3, 0.3, 0.7, 0.7], [0, 0, 1, 1]
        for bandwidth in (0.02, 0.05, 0.08):
            # The integral of |phi(t - 0.3) - phi(t - 0.7)| is 2 (2 Phi(0.2 / bandwidth) - 1).
            expected = 0.15 * 2 * (2 * norm.cdf(0.2 / bandwidth) - 1)
            found = m.smooth_calibration_error(*rows, bandwidth)
            assert found == pytest.approx(expected, abs=2e-4), bandwidth

    @given(scored, bandwidths)
    def test_equals_the_sum_over_mirror_images(self, rows, bandwidth):
        pairs = list(zip(*(column.tolist() for column in rows), strict=True))[:8]
        found = m.smooth_calibration_error(*zip(*pairs, strict=True), bandwidth)
        assert found == pytest.approx(plain_meters.smoothed(pairs, bandwidth, 300), abs=2e-3)

    @given(scored)
    def test_the_bandwidth_is_the_value(self, rows):
        value = m.smooth_calibration_error(*rows)
        if value > m.NARROWEST:
            assert m.smooth_calibration_error(*rows, value) == pytest.approx(value, abs=1e-9)
        else:
            assert m.smooth_calibration_error(*rows, m.NARROWEST) == value

    @given(scored, bandwidths, bandwidths)
    def test_between_the_mean_gap_and_the_ece_of_the_levels(self, rows, one, other):
        """Smoothing more can only cancel more."""
        confidence, correct = rows
        residual = (correct - confidence) / correct.size
        _, group = np.unique(confidence, return_inverse=True)
        found = [m.smooth_calibration_error(*rows, width) for width in sorted((one, other))]
        order = [np.abs(np.bincount(group, residual)).sum(), *found, abs(residual.sum())]
        assert np.all(np.diff(order) <= 1e-6), order

    @given(scored)
    def test_right_and_wrong_are_mirror_images(self, rows):
        confidence, correct = rows
        found = m.smooth_calibration_error(1 - confidence, ~correct)
        assert found == pytest.approx(m.smooth_calibration_error(*rows), abs=1e-6)


class TestAuroc:
    @pytest.mark.parametrize("digits", [1, 2, 16])
    def test_sklearn(self, digits):
        confidence, correct = scores(700, digits, digits)
        assert m.auroc(confidence, correct) == pytest.approx(roc_auc_score(correct, confidence))

    def test_worked_example(self):
        # Right 0.9, 0.6, 0.4; wrong 0.7, 0.4: 2 + 1 + 0.5 wins of 6.
        assert m.auroc([0.9, 0.6, 0.4, 0.7, 0.4], [1, 1, 1, 0, 0]) == pytest.approx(3.5 / 6)
        assert m.auroc([0.5] * 4, [1, 0, 0, 0]) == 0.5

    def test_undefined_without_right_or_without_wrong_answers(self):
        assert np.isnan(m.auroc([0.2, 0.9], [1, 1])) and np.isnan(m.auroc([0.2], [0]))

    @given(scored)
    def test_only_the_order_of_confidences_counts(self, rows):
        confidence, correct = rows
        order = np.unique(confidence, return_inverse=True)[1] / confidence.size
        np.testing.assert_equal(m.auroc(order, correct), m.auroc(confidence, correct))
        if 0 < correct.sum() < correct.size:
            assert m.auroc(order, correct) + m.auroc(order, ~correct) == pytest.approx(1)


class TestRiskCoverage:
    def test_worked_example(self):
        curve = m.risk_coverage([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])
        np.testing.assert_allclose(curve, [0, 1 / 2, 1 / 3, 1 / 2])
        assert m.aurc([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]) == pytest.approx(1 / 3)
        # The best order: 0, 0, 1/3, 1/2.
        assert m.excess_aurc([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]) == pytest.approx(1 / 8)

    @given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
    def test_ties_are_the_mean_over_all_their_orders(self, rows):
        curves = []
        for order in permutations(rows):
            if all(a[0] >= b[0] for a, b in zip(order, order[1:], strict=False)):
                wrong = [not hit for _, hit in order]
                curves.append([Fraction(sum(wrong[: i + 1]), i + 1) for i in range(len(rows))])
        expected = [float(sum(column) / len(curves)) for column in zip(*curves, strict=True)]
        found = m.risk_coverage([level / 2 for level, _ in rows], [hit for _, hit in rows])
        np.testing.assert_allclose(found, expected, atol=1e-12)

    @given(scored)
    def test_equals_the_sum_by_ranks(self, rows):
        pairs = list(zip(*(column.tolist() for column in rows), strict=True))
        assert m.aurc(*rows) == pytest.approx(plain_meters.aurc(pairs))
        assert m.excess_aurc(*rows) == pytest.approx(plain_meters.excess_aurc(pairs), abs=1e-12)

    @given(scored)
    def test_all_questions_are_at_the_end_and_no_order_beats_the_best(self, rows):
        assert m.risk_coverage(*rows)[-1] == pytest.approx(1 - rows[1].mean(), abs=1e-12)
        assert m.excess_aurc(*rows) > -1e-12

    def test_one_level_has_the_error_rate_everywhere(self):
        np.testing.assert_allclose(m.risk_coverage([0.4] * 5, [1, 0, 0, 1, 0]), 0.6)


@given(scored, st.randoms())
def test_order_of_questions_is_irrelevant(rows, random):
    order = list(range(len(rows[0])))
    random.shuffle(order)
    for meter in METERS:
        shuffled = meter(rows[0][order], rows[1][order])
        np.testing.assert_allclose(shuffled, meter(*rows), atol=1e-9)


@pytest.mark.parametrize(
    ("confidence", "correct"),
    [([], []), ([0.5], [1, 0]), ([np.nan], [1]), ([1.1], [1]), ([1], [2])],
)
def test_impossible_input_is_refused(confidence, correct):
    for meter in (*METERS, m.risk_coverage):
        with pytest.raises(ValueError):
            meter(confidence, correct)
