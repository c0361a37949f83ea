"""The bootstrap over questions, against scipy, the normal interval and simulated coverage."""

import numpy as np
import pytest
from scipy import stats

from scripts.first.calibration.intervals import (
    Scores,
    interval,
    mean_scores,
    question_weights,
    score,
)
from scripts.first.calibration.metrics import expected_calibration_error

HEADLINE = ("ece", "accuracy", "trust")


def answers(n=800, seed=0, power=2.0):
    rng = np.random.default_rng(seed)
    confidence = 0.3 + 0.7 * rng.random(n)
    return confidence, rng.random(n) < confidence**power


def scored(confidence, correct, benchmark="csqa", resamples=2000) -> Scores:
    return score(confidence, correct, question_weights(benchmark, len(confidence), resamples))


def width(scores: Scores, name: str) -> float:
    found = scores.summary(name)
    return found["high"] - found["low"]


class TestOneModel:
    def test_scipy(self):
        confidence, correct = answers()
        expected = stats.bootstrap(
            (confidence, correct.astype(float)),
            expected_calibration_error,
            paired=True,
            vectorized=False,
            method="percentile",
            n_resamples=3000,
            rng=np.random.default_rng(1),
        )
        draws = scored(confidence, correct).columns["ece"][1:]
        ends = np.quantile(draws, [0.025, 0.975])
        assert ends == pytest.approx(np.multiply(100, expected.confidence_interval), abs=0.3)
        assert draws.std() == pytest.approx(100 * expected.standard_error, rel=0.1)

    def test_each_resample_is_scored_like_the_metric(self):
        confidence, correct = answers(50)
        weights = question_weights("csqa", 50, 6)
        found = score(confidence, correct, weights)
        assert found.value["ece"] == pytest.approx(
            100 * expected_calibration_error(confidence, correct)
        )
        for draw, times in enumerate(weights[1:].astype(int)):
            rows = np.repeat(np.arange(50), times)
            ece = 100 * expected_calibration_error(confidence[rows], correct[rows])
            accuracy = 100 * correct[rows].mean()
            assert found.columns["ece"][1 + draw] == pytest.approx(ece, abs=1e-9)
            assert found.columns["accuracy"][1 + draw] == pytest.approx(accuracy)
            assert found.columns["trust"][1 + draw] == pytest.approx(accuracy - ece)
            gap = 100 * confidence[rows].mean() - accuracy
            assert found.columns["gap"][1 + draw] == pytest.approx(gap)

    def test_coverage_of_a_plain_mis_calibration(self):
        # Confidence .9, accuracy .6: the ECE is .3, far from 0, hence without the bias.
        rng = np.random.default_rng(0)
        hits = 0
        for seed in range(200):
            found = scored(np.full(300, 0.9), rng.random(300) < 0.6, f"b{seed}", 300).summary("ece")
            hits += found["low"] <= 30 <= found["high"]
        assert 0.89 <= hits / 200 <= 0.99

    def test_centred_because_resampling_pushes_the_ece_up(self):
        rng = np.random.default_rng(0)
        confidence = rng.uniform(0.2, 1, 500)
        scores = scored(confidence, rng.random(500) < confidence)
        assert scores.columns["ece"][1:].mean() > scores.value["ece"] + 0.5  # the bias
        found = scores.summary("ece")
        assert (found["low"] + found["high"]) / 2 == pytest.approx(found["value"], abs=0.4)
        assert interval(1.0, np.arange(3, 4, 0.01)) == pytest.approx((0.5297, 1.4703), abs=0.01)


class TestWeights:
    def test_first_row_is_the_questions_themselves(self):
        weights = question_weights("csqa", 40, 30)
        assert weights.shape == (31, 40) and (weights[0] == 1).all()
        assert (weights.sum(axis=1) == 40).all()

    def test_one_benchmark_always_the_same_two_benchmarks_independent(self):
        first = question_weights("csqa", 1000, 200).copy()
        question_weights.cache_clear()
        assert (question_weights("csqa", 1000, 200) == first).all()
        other = question_weights("boolq", 1000, 200)
        correlation = np.corrcoef(first[1:].ravel(), other[1:].ravel())[0, 1]
        assert abs(correlation) < 0.01


class TestDifferences:
    def test_same_method_differs_by_nothing(self):
        # Unpaired resampling would give an interval of positive width.
        difference = scored(*answers()).minus(scored(*answers()))
        for name in HEADLINE:
            assert difference.summary(name) == {"value": 0, "low": 0, "high": 0}

    def test_accuracy_against_the_normal_interval_of_pairs(self):
        a, b = answers(2000, power=1.0), answers(2000, power=2.0)  # correct with the same numbers
        difference = 100 * (a[1].astype(float) - b[1])
        half = 1.96 * difference.std() / np.sqrt(2000)
        found = scored(*a).minus(scored(*b)).summary("accuracy")
        assert found["value"] == pytest.approx(difference.mean())
        assert found["low"] == pytest.approx(difference.mean() - half, abs=0.25)
        assert found["high"] == pytest.approx(difference.mean() + half, abs=0.25)


class TestMeans:
    def test_benchmarks_are_averaged_and_independent(self):
        alone = [scored(*answers(1000, seed), f"benchmark{seed}") for seed in (1, 2, 3)]
        pooled = mean_scores(alone)
        assert pooled.value["ece"] == pytest.approx(np.mean([s.value["ece"] for s in alone]))
        mean_width = np.mean([width(s, "accuracy") for s in alone])
        assert width(pooled, "accuracy") == pytest.approx(mean_width / np.sqrt(3), rel=0.1)

    def test_runs_on_one_benchmark_share_the_questions(self):
        # The same run three times over tells nothing new: the interval must not shrink.
        once = scored(*answers(500, 1))
        for name in HEADLINE:
            assert width(mean_scores([once] * 3), name) == pytest.approx(width(once, name))
