"""A.1, Eq. 3 and Eq. 4 against worked numbers, scipy and their algebraic properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from first_distill.calibration.recalibration import (
    label_smoothing,
    normalise,
    prob_softmax,
    recalibrate,
)

PT = np.array([0.95, 0.03, 0.01, 0.005, 0.003])
PT_2 = np.array([0.90, 0.05, 0.03, 0.01, 0.005])
SATURATED = np.array([1.0, 0, 0, 0, 0])
SETTINGS = {"none": {}, "label_smoothing": {"delta": 0.1}, "prob_softmax": {"c": 0.3}}

# Top-5 of a softmax: descending, summing to at most 1.
top_five = st.lists(st.floats(-12, 0), min_size=6, max_size=6).map(
    lambda logits: -np.sort(-softmax(logits))[:5]
)


def close(actual, expected, digits=6):
    np.testing.assert_allclose(actual, expected, atol=0.5000001 * 10.0**-digits, rtol=0)


def test_normalisation():
    close(normalise(PT), [0.951900, 0.030061, 0.010021, 0.005011, 0.003007])
    close(normalise(SATURATED), [0.999996, 1e-6, 1e-6, 1e-6, 1e-6])


class TestLabelSmoothing:
    def test_probability_space(self):
        q = label_smoothing(PT)
        close(q, [0.851900, 0.055061, 0.035021, 0.030011, 0.028007])
        assert q.sum() == pytest.approx(1, abs=1e-15)

    def test_log_space(self):
        released = np.array([0.861315, 0.030822, 0.010275, 0.005138, 0.003083])  # sums to 0.910632
        q = label_smoothing(PT, space="log")
        close(q[0], 0.945842)
        np.testing.assert_allclose(q, released / 0.910632, atol=1e-6)

    @pytest.mark.parametrize("gap", [0.10, 0.1249, 0.1251, 0.2])
    def test_top_two_swap_below_a_gap_of_an_eighth(self, gap):
        p = np.array([0.4 + gap / 2, 0.4 - gap / 2, 0.1, 0.06, 0.04])
        q = label_smoothing(p)
        assert (q[0] < q[1]) == (gap < 0.125)

    def test_guard_keeps_a_large_delta_a_distribution(self):
        q = label_smoothing(np.full(5, 0.2), delta=0.3)  # 0.2 - 0.3 is negative
        assert 0 < q[0] < 1e-5 and q.sum() == pytest.approx(1)


class TestProbSoftmax:
    def test_top_one_table(self):
        grid = (1, 0.5, 0.3, 0.28, 0.2)
        for p, digits, row, at_tenth in (
            (SATURATED, 4, (0.4046, 0.6488, 0.8751, 0.8989, 0.9738), 0.9998),
            (PT, 3, (0.390, 0.620, 0.851, 0.877, 0.965), 0.9997),
            (PT_2, 3, (0.375, 0.590, 0.822, 0.851, 0.952), 0.9994),
        ):
            for c, expected in zip(grid, row, strict=True):
                close(prob_softmax(p, c)[0], expected, digits)
            close(prob_softmax(p, 0.1)[0], at_tenth, 4)
        for c, other in zip(grid, (0.1488, 0.0878, 0.0312, 0.0253, 0.0066), strict=True):
            close(prob_softmax(SATURATED, c)[1:], [other] * 4, 4)
        close(prob_softmax(SATURATED, 0.1)[1:], [0.00005] * 4, 5)

    def test_full_vector(self):
        close(prob_softmax(PT, 0.28), [0.876854, 0.032806, 0.030545, 0.030004, 0.029791])

    def test_junk_slots_of_two_candidates(self):
        q = prob_softmax([0.95, 0.05, 0, 0, 0], 0.28)
        close(q, [0.876, 0.035, 0.0295, 0.0295, 0.0295], 3)
        close(q[0] / (q[0] + q[1]), 0.961, 3)
        assert q[2:].sum() == pytest.approx(0.09, abs=0.005)

    def test_a_minute_c_is_a_hard_maximum_without_warning(self, recwarn):
        for c in (1e-3, 1e-300):
            np.testing.assert_array_equal(prob_softmax(PT, c), SATURATED)
        assert not recwarn.list

    @given(top_five, st.floats(0.02, 5))
    def test_agrees_with_scipy(self, p, c):
        np.testing.assert_allclose(prob_softmax(p, c), softmax(p / c), rtol=1e-12)

    @given(top_five, st.floats(0.02, 1))
    def test_order_is_kept_and_the_cap_holds(self, p, c):
        q = prob_softmax(p, c)
        assert np.all(np.diff(q) <= 0)
        assert q[0] <= 1 / (1 + 4 * np.exp(-1 / c)) + 1e-12


class TestRecalibrate:
    @given(top_five)
    def test_targets_sum_to_one(self, p):
        for name, settings in SETTINGS.items():
            q = recalibrate(p, name, **settings)
            assert q.sum() == pytest.approx(1, abs=1e-12) and q.min() >= 0
        assert recalibrate(p, "label_smoothing", space="log").sum() == pytest.approx(1, abs=1e-12)

    def test_rows_do_not_mix(self):
        rows = np.stack([PT, PT_2, SATURATED]).reshape(1, 3, 5)
        for name, settings in SETTINGS.items():
            together = recalibrate(rows, name, **settings)
            assert together.shape == rows.shape and together.dtype == np.float64
            for i in range(3):
                alone = recalibrate(rows[0, i], name, **settings)
                np.testing.assert_allclose(together[0, i], alone, rtol=1e-14)

    def test_every_option_changes_the_target(self):
        targets = [recalibrate(PT, name, **settings) for name, settings in SETTINGS.items()]
        targets += [
            recalibrate(PT, "label_smoothing", delta=0.1, space="log"),
            recalibrate(PT, "label_smoothing", delta=0.2),
            recalibrate(PT, "prob_softmax", c=0.32),
        ]
        for i, one in enumerate(targets):
            for other in targets[:i]:
                assert np.abs(one - other).max() > 1e-3

    @pytest.mark.parametrize(
        ("name", "settings", "error", "message"),
        [
            ("temperature", {}, KeyError, "temperature"),
            ("prob_softmax", {}, TypeError, "'c'"),
            ("prob_softmax", {"c": 0.3, "delta": 0.1}, TypeError, "'delta'"),
        ],
    )
    def test_unknown_and_unused_settings(self, name, settings, error, message):
        with pytest.raises(error, match=message):
            recalibrate(PT, name, **settings)

    @pytest.mark.parametrize(
        "p", [np.log(PT), [[0.5, np.nan]], [95.0, 3.0], 0.5, np.zeros((2, 0)), [np.inf, 0]]
    )
    def test_log_probabilities_and_nonsense_are_refused(self, p):
        for name, settings in SETTINGS.items():
            with pytest.raises(ValueError):
                recalibrate(p, name, **settings)
