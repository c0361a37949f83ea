"""Eq. 1, Eq. 2 and the robustness metrics, against worked numbers and other libraries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from first_distill.calibration import metrics as m

CONFIDENCE = np.array([0.95, 0.95, 0.85, 0.75, 0.65, 0.55, 0.35, 0.15])
CORRECT = np.array([1, 1, 1, 0, 1, 0, 0, 1])
BINNED = (m.expected_calibration_error, m.adaptive_calibration_error, m.reliability_bins)

scored = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60).map(
    lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows]))
)


def random_scores(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    confidence = rng.random(n)
    return confidence, rng.random(n) < confidence**2


def naive_ece(confidence, correct, bins):
    """Eq. 1 read off the paper, bin by bin, with exact rational edges."""
    from fractions import Fraction

    total = 0.0
    for b in range(bins):
        lower, upper = Fraction(b, bins), Fraction(b + 1, bins)
        rows = [
            (x, y)
            for x, y in zip(confidence, correct, strict=True)
            if lower < Fraction(float(x)) <= upper or (b == 0 and x == 0)
        ]
        if rows:
            gap = sum(y for _, y in rows) / len(rows) - sum(x for x, _ in rows) / len(rows)
            total += len(rows) / len(confidence) * abs(gap)
    return total


class TestExpectedCalibrationError:
    def test_worked_example(self):
        assert CORRECT.mean() == 0.625
        assert m.expected_calibration_error(CONFIDENCE, CORRECT, 10) == pytest.approx(0.3875)
        assert m.expected_calibration_error(CONFIDENCE, CORRECT, 2) == pytest.approx(0.15)

    def test_bins_are_closed_on_the_right(self):
        # [lower, upper) would put both rows into one bin and give 0.01.
        assert m.expected_calibration_error([0.50, 0.52], [1, 0], 2) == pytest.approx(0.51)

    def test_decimal_edges_lie_in_the_lower_bin(self):
        edges = np.array([float(f"0.{d}") for d in range(1, 10)])
        np.testing.assert_array_equal(m.bin_index(edges, 10), np.arange(9))
        # linspace(0, 1, 11)[3] is the float after 0.3, so that 0.3 alone would not tell.
        np.testing.assert_array_equal(m.bin_index(np.nextafter(edges, 1), 10), np.arange(1, 10))

    def test_float32_above_the_edge_is_binned_in_float64(self):
        value = np.array([0.3], dtype=np.float32)  # lies above the float64 0.3
        assert m.reliability_bins(value, [1], 10)["count"].tolist() == [0, 0, 0, 1] + [0] * 6

    def test_certain_and_right_is_perfect(self):
        # torchmetrics #3510 puts confidence 1.0 into a phantom bin: 0.525 instead of 0.475.
        assert m.expected_calibration_error([1.0] * 4, [1, 1, 1, 1]) == 0.0
        assert m.expected_calibration_error([1.0, 0.95], [0, 0]) == pytest.approx(0.975)
        assert m.expected_calibration_error([1.0, 0.95], [1, 0]) == pytest.approx(0.475)

    @pytest.mark.parametrize("bins", [10, 15])
    def test_torchmetrics(self, bins):
        import torch
        from torchmetrics.functional.classification import multiclass_calibration_error

        rng = np.random.default_rng(bins)
        probs = rng.dirichlet(np.full(5, 0.5), 3000).clip(1e-7, 1 - 1e-7)
        gold = rng.integers(0, 5, 3000)
        expected = multiclass_calibration_error(
            torch.tensor(probs), torch.tensor(gold), num_classes=5, n_bins=bins, norm="l1"
        )
        ours = m.expected_calibration_error(probs.max(1), probs.argmax(1) == gold, bins)
        assert ours == pytest.approx(float(expected), abs=1e-6)

    @given(scored, st.sampled_from([1, 2, 4, 8, 16]))
    def test_equals_the_naive_sum(self, rows, bins):
        # Powers of two, whose edges are exact in binary.
        ours = m.expected_calibration_error(*rows, bins)
        assert ours == pytest.approx(naive_ece(*rows, bins), abs=1e-12)

    @given(scored, st.randoms())
    def test_order_of_questions_is_irrelevant(self, rows, random):
        order = list(range(len(rows[0])))
        random.shuffle(order)
        shuffled = rows[0][order], rows[1][order]
        for metric in (m.expected_calibration_error, m.adaptive_calibration_error):
            assert metric(*rows) == pytest.approx(metric(*shuffled), abs=1e-12)


class TestAdaptive:
    def test_netcal(self):
        from netcal.metrics import ACE

        confidence, correct = random_scores(1000, seed=3)
        expected = ACE(10, equal_intervals=False).measure(confidence, correct.astype(int))
        ours = m.adaptive_calibration_error(confidence, correct, 10)
        assert ours == pytest.approx(float(expected), abs=1e-9)

    def test_constant_confidence_is_one_bin(self):
        assert m.adaptive_calibration_error([0.7] * 10, [1] * 4 + [0] * 6) == pytest.approx(0.3)


class TestReliabilityBins:
    def test_rows_rebuild_the_ece(self):
        confidence, correct = random_scores()
        rows = m.reliability_bins(confidence, correct, 10)
        ece = np.sum(rows["count"] / 2000 * np.abs(rows["accuracy"] - rows["confidence"]))
        assert ece == pytest.approx(m.expected_calibration_error(confidence, correct, 10))
        assert rows["count"].sum() == 2000
        assert np.all((rows["lower"] < rows["confidence"]) & (rows["confidence"] <= rows["upper"]))

    def test_worked_example(self):
        rows = m.reliability_bins(CONFIDENCE, CORRECT, 10)
        assert rows["count"].tolist() == [0, 1, 0, 1, 0, 1, 1, 1, 1, 2]
        assert np.isnan(rows["accuracy"][0]) and np.isnan(rows["confidence"][2])
        assert rows["accuracy"][9] == 1.0 and rows["confidence"][9] == pytest.approx(0.95)


def test_trust_score():
    assert m.trust_score(62.5, 38.75) == 23.75
    assert m.trust_score(0.0, 90.0) == -90.0  # never clipped


class TestBrierAndNll:
    def test_sklearn(self):
        from sklearn.metrics import log_loss

        confidence, correct = random_scores()
        assert m.binary_nll(confidence, correct) == pytest.approx(log_loss(correct, confidence))

    def test_nll_stays_finite(self):
        assert m.binary_nll([1.0, 0.0], [0, 1]) == pytest.approx(-np.log(1e-12))
        assert m.binary_nll([1.0, 0.0], [1, 0]) == pytest.approx(0, abs=1e-11)

    def test_candidates_against_sklearn(self):
        from sklearn.metrics import brier_score_loss, log_loss

        rng = np.random.default_rng(0)
        probs, gold = rng.dirichlet(np.ones(6), 500), rng.integers(0, 5, 500)
        log_probs = np.log(probs[:, :5])  # the sixth outcome is everything else
        labels = np.arange(6)
        assert m.candidate_nll(log_probs, gold) == pytest.approx(
            log_loss(gold, probs, labels=labels)
        )
        assert m.candidate_brier(log_probs, gold) == pytest.approx(
            brier_score_loss(gold, probs, labels=labels, scale_by_half=False)
        )


@pytest.mark.parametrize(
    ("confidence", "correct"),
    [
        ([], []),
        ([0.5], [1, 0]),
        ([[0.5]], [[1]]),
        ([np.nan], [1]),
        ([1.0000001], [1]),
        ([-0.1], [1]),
        ([0.5], [2]),
        ([0.5], [np.nan]),
    ],
)
def test_impossible_input_is_refused(confidence, correct):
    for metric in (*BINNED, m.binary_nll):
        with pytest.raises(ValueError):
            metric(confidence, correct)
