"""Wilson and bootstrap intervals, against scipy, statistics and simulated coverage."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from scripts.first.intervals import (
    METRICS,
    accuracy_interval,
    bootstrap_intervals,
    paired_difference_interval,
)
from scripts.first.metrics import expected_calibration_error


def scores(n=800, seed=0, power=2.0):
    rng = np.random.default_rng(seed)
    confidence = 0.3 + 0.7 * rng.random(n)
    return confidence, rng.random(n) < confidence**power


class TestAccuracyInterval:
    def test_wilson_formula(self):
        n, hits, z = 500, 293, stats.norm.ppf(0.975)
        p = hits / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        low, high = accuracy_interval(np.arange(n) < hits)
        assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-12)

    def test_extremes_stay_inside(self):
        assert accuracy_interval([1] * 20)[1] == pytest.approx(1.0)
        low, high = accuracy_interval([0] * 20)
        assert low == pytest.approx(0.0, abs=1e-12) and 0.1 < high < 0.2

    @pytest.mark.parametrize("correct", [[], [0.5], [2], [np.nan], [[1, 0]]])
    def test_refuses(self, correct):
        with pytest.raises(ValueError):
            accuracy_interval(correct)

    @pytest.mark.parametrize("level", [0, 1, 95])
    def test_refuses_level(self, level):
        with pytest.raises(ValueError, match="level"):
            accuracy_interval([0, 1], level)
        with pytest.raises(ValueError, match="level"):
            bootstrap_intervals(*scores(10), level=level)


class TestBootstrap:
    def test_scipy(self):
        confidence, correct = scores()

        def ece(c, k):
            return expected_calibration_error(c, k)

        expected = stats.bootstrap(
            (confidence, correct.astype(float)),
            ece,
            paired=True,
            vectorized=False,
            method="percentile",
            n_resamples=3000,
            rng=np.random.default_rng(1),
        ).confidence_interval
        ours = bootstrap_intervals(confidence, correct, seed=2, resamples=3000)
        assert ours["ece"] == pytest.approx([expected.low, expected.high], abs=0.003)

    def test_accuracy_agrees_with_wilson(self):
        confidence, correct = scores(3000)
        ours = bootstrap_intervals(confidence, correct, resamples=4000)["accuracy"]
        assert ours == pytest.approx(list(accuracy_interval(correct)), abs=0.002)

    def test_each_resample_is_scored_like_the_metric(self, monkeypatch):
        from scripts.first import intervals

        confidence, correct = scores(50)
        chosen = np.random.default_rng(0).integers(0, 50, size=(6, 50))
        drawn = intervals._metrics(*intervals._score(confidence, correct, 10), chosen, 10)
        for r, rows in enumerate(chosen):
            ece = expected_calibration_error(confidence[rows], correct[rows])
            assert drawn["ece"][r] == pytest.approx(ece, abs=1e-12)
            assert drawn["accuracy"][r] == pytest.approx(correct[rows].mean())
            assert drawn["trust"][r] == pytest.approx(correct[rows].mean() - ece)

    def test_deterministic_and_seeded(self):
        rows = scores()
        assert bootstrap_intervals(*rows, seed=3) == bootstrap_intervals(*rows, seed=3)
        assert bootstrap_intervals(*rows, seed=3) != bootstrap_intervals(*rows, seed=4)

    def test_blocks_do_not_show(self, monkeypatch):
        from scripts.first import intervals

        whole = bootstrap_intervals(*scores())
        monkeypatch.setattr(intervals, "_DRAWS_PER_CHUNK", 5000)
        assert bootstrap_intervals(*scores()) == whole

    def test_constant_and_single_rows(self):
        assert bootstrap_intervals([0.7] * 9, [1] * 9)["ece"] == pytest.approx([0.3, 0.3])
        assert bootstrap_intervals([0.7], [0])["trust"] == pytest.approx([-0.7, -0.7])

    def test_coverage_of_a_plain_mis_calibration(self):
        # Confidence .9, accuracy .6: the ECE is .3, far from 0, hence without the bias.
        rng = np.random.default_rng(0)
        hits = 0
        for seed in range(200):
            correct = rng.random(300) < 0.6
            low, high = bootstrap_intervals(np.full(300, 0.9), correct, seed=seed, resamples=300)[
                "ece"
            ]
            hits += low <= 0.3 <= high
        assert 0.89 <= hits / 200 <= 0.99

    def test_the_documented_upward_bias(self):
        # A calibrated model has a true ECE of 0, which no percentile interval covers.
        rng = np.random.default_rng(0)
        confidence = rng.random(500)
        low, _ = bootstrap_intervals(confidence, rng.random(500) < confidence)["ece"]
        assert low > 0.01

    def test_fast_enough_for_boolq(self):
        rows = scores(3270)
        start = time.process_time()
        bootstrap_intervals(*rows)
        assert time.process_time() - start < 1.0  # measured 0.11 s; the margin is for busy machines

    def test_refuses(self):
        with pytest.raises(ValueError):
            bootstrap_intervals([], [])
        with pytest.raises(ValueError):
            bootstrap_intervals([0.5, 1.5], [1, 0])
        with pytest.raises(ValueError, match="resamples"):
            bootstrap_intervals(*scores(10), resamples=0)


class TestPairedDifference:
    def test_same_method_differs_by_nothing(self):
        # Unpaired resampling would give an interval of positive width.
        result = paired_difference_interval([(scores(), scores())])
        for metric in METRICS:
            assert result[metric] == {"difference": 0.0, "low": 0.0, "high": 0.0}

    def test_accuracy_against_the_normal_interval_of_pairs(self):
        a, b = scores(2000, power=1.0), scores(2000, power=2.0)  # correct with the same numbers
        difference = a[1].astype(float) - b[1]
        half = 1.96 * difference.std() / np.sqrt(2000)
        result = paired_difference_interval([(a, b)], resamples=4000)["accuracy"]
        assert result["difference"] == pytest.approx(difference.mean())
        assert result["low"] == pytest.approx(difference.mean() - half, abs=0.002)
        assert result["high"] == pytest.approx(difference.mean() + half, abs=0.002)

    def test_signs(self):
        _, correct = scores()
        better = np.full(800, correct.mean()), correct
        worse = np.full(800, 0.99), correct
        result = paired_difference_interval([(better, worse)])
        assert result["ece"]["high"] < 0 < result["trust"]["low"]
        assert result["trust"]["difference"] == pytest.approx(-result["ece"]["difference"])

    def test_groups_are_averaged_and_independent(self):
        pairs = [
            (scores(1000, seed, power=1.0), scores(1000, seed + 50, power=2.0))
            for seed in (1, 2, 3)
        ]
        alone = [paired_difference_interval([pair])["accuracy"] for pair in pairs]
        pooled = paired_difference_interval(pairs, resamples=4000)["accuracy"]
        assert pooled["difference"] == pytest.approx(np.mean([x["difference"] for x in alone]))
        width = np.mean([x["high"] - x["low"] for x in alone])
        assert pooled["high"] - pooled["low"] == pytest.approx(width / np.sqrt(3), rel=0.1)

    def test_runs_share_the_questions(self):
        # The same run three times over tells nothing new: the interval must not shrink.
        a, b = scores(500, 1, power=1.0), scores(500, 2)
        once = paired_difference_interval([(a, b)])
        thrice = paired_difference_interval([(tuple(np.stack([x] * 3) for x in a), b)])
        for metric in METRICS:
            assert thrice[metric] == pytest.approx(once[metric])

    def test_unequal_group_sizes_count_equally(self):
        a, b = scores(100, 1), scores(100, 2)
        large = scores(900, 3), scores(900, 4)
        result = paired_difference_interval([(a, b), large])["accuracy"]["difference"]
        small_gap = a[1].mean() - b[1].mean()
        large_gap = large[0][1].mean() - large[1][1].mean()
        assert result == pytest.approx((small_gap + large_gap) / 2)

    def test_deterministic(self):
        pair = (scores(300, 1), scores(300, 2))
        assert paired_difference_interval([pair]) == paired_difference_interval([pair])

    def test_refuses(self):
        with pytest.raises(ValueError, match="at least one"):
            paired_difference_interval([])
        with pytest.raises(ValueError, match="questions"):
            paired_difference_interval([(scores(10), scores(11))])
        with pytest.raises(ValueError):
            paired_difference_interval([((np.full((2, 5), 0.5), np.ones((1, 5))), scores(5))])
