"""The search for c (section 5.5 of the paper) and the post-hoc temperature."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.special import softmax

from first_distill.calibration.metrics import binary_nll, expected_calibration_error
from first_distill.calibration.posthoc import PosthocTemperature
from first_distill.calibration.recalibration import prob_softmax
from first_distill.calibration.temperature_search import search_temperature, temperature_curve


def saturated(accuracy, n=1000):
    p = np.zeros((n, 5))
    p[:, 0] = 1.0
    return p, np.arange(n) < round(accuracy * n)


def realistic(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    p = -np.sort(-rng.dirichlet([3, 0.5, 0.2, 0.1, 0.1, 0.1], n), axis=1)[:, :5]
    return p, rng.random(n) < 0.85 * p[:, 0]


class TestTemperatureCurve:
    def test_rows_against_eq_4_and_eq_1(self):
        p, correct = realistic()
        for row in temperature_curve(p, correct, [0.2, 0.34, 1.0], bins=15):
            confidence = prob_softmax(p, row["c"]).max(axis=1)
            assert row["ece"] == pytest.approx(expected_calibration_error(confidence, correct, 15))
            assert row["nll"] == pytest.approx(binary_nll(confidence, correct))
            assert row["confidence"] == pytest.approx(confidence.mean())
            assert row["accuracy"] == pytest.approx(correct.mean()) and row["n"] == 4000
            assert list(row) == ["c", "ece", "nll", "accuracy", "confidence", "n"]


class TestSearch:
    @pytest.mark.parametrize(
        ("accuracy", "coarse", "c", "ece"),
        [
            (0.824, 0.3, 0.34, 0.0016),
            (0.897, 0.3, 0.28, 0.0019),
            (0.876, 0.3, 0.30, 0.0009),
            (0.692, 0.5, 0.46, 0.0047),
            (0.5, 0.7, 0.72, 0.0006),
        ],
    )
    def test_whole_procedure(self, accuracy, coarse, c, ece):
        found = search_temperature(*saturated(accuracy))
        assert (found.coarse_c, found.best["c"]) == (coarse, c)
        assert found.best["ece"] == pytest.approx(ece, abs=5e-5)
        assert not found.at_edge

    @pytest.mark.parametrize(
        ("accuracy", "printed"), [(0.824, 0.341), (0.816, 0.348), (0.897, 0.282), (0.876, 0.299)]
    )
    def test_closed_form(self, accuracy, printed):
        optimum = 1 / math.log(4 * accuracy / (1 - accuracy))
        assert optimum == pytest.approx(printed, abs=5e-4)
        (row,) = temperature_curve(*saturated(accuracy), [optimum])
        assert row["confidence"] == pytest.approx(accuracy, rel=1e-12) and row["ece"] < 1e-12
        # The refined grid has steps of 0.02, and conf(c) is not linear in c.
        found = search_temperature(*saturated(accuracy)).best["c"]
        assert found == pytest.approx(optimum, abs=0.0101)

    def test_window_is_clipped_at_the_top(self):
        found = search_temperature(*saturated(0.2))  # needs c far above 1
        assert found.coarse_c == found.best["c"] == 1.0 and found.at_edge
        assert [row["c"] for row in found.refined] == [0.9, 0.92, 0.94, 0.96, 0.98, 1.0]

    def test_window_is_clipped_at_the_bottom(self):
        # Top-1 is .3 against .2s and always right: c must sharpen without end.
        p = np.tile([0.3, 0.2, 0.2, 0.2, 0.1], (200, 1))
        found = search_temperature(p, np.ones(200))
        assert found.coarse_c == 0.1 and found.best["c"] == 0.02 and found.at_edge
        assert [row["c"] for row in found.refined] == [h / 100 for h in range(2, 21, 2)]

    def test_ties_go_to_the_larger_c(self):
        # With one stored token conf(c) = 1 for every c: all rows tie in ECE and NLL.
        found = search_temperature(np.full((10, 1), 0.6), np.ones(10))
        assert found.coarse_c == 1.0 and found.best["c"] == 1.0

    def test_ties_go_to_the_lower_nll_first(self):
        from first_distill.calibration.temperature_search import _best

        rows = [
            {"c": 0.2, "ece": 0.1 + 1e-16, "nll": 0.5},
            {"c": 0.3, "ece": 0.1, "nll": 0.4},
            {"c": 0.4, "ece": 0.1, "nll": 0.45},
            {"c": 0.5, "ece": 0.1 - 1e-16, "nll": 0.6},
            {"c": 0.6, "ece": 0.2, "nll": 0.0},
        ]
        assert _best(rows)["c"] == 0.3
        assert _best([rows[1], {**rows[1], "c": 0.28, "nll": 0.4 - 1e-16}])["c"] == 0.3

    def test_every_row_is_scored_and_none_beats_the_choice(self):
        p, correct = realistic()
        found = search_temperature(p, correct)
        assert found.best in found.refined
        eces = [row["ece"] for row in found.refined]
        assert found.best["ece"] == min(eces) <= min(row["ece"] for row in found.coarse)
        accuracies = {row["accuracy"] for row in found.coarse + found.refined}
        assert len(accuracies) == 1  # c keeps the order, hence the prediction


def fitted(logits, gold, chunk=4096, by="fit"):
    """The post-hoc temperature of rows that come in chunks, as a model's batches do."""
    fit = PosthocTemperature()
    logits, gold = torch.as_tensor(logits), torch.as_tensor(gold)
    for start in range(0, len(gold), chunk):
        fit.add(logits[start : start + chunk], gold[start : start + chunk])
    return getattr(fit, by)()


class TestPosthocTemperature:
    @staticmethod
    def logits_and_gold(true_t, n=1500, classes=30, seed=0):
        rng = np.random.default_rng(seed)
        logits = 3 * rng.normal(size=(n, classes))
        gumbel = rng.gumbel(size=logits.shape)
        return logits, (logits / true_t + gumbel).argmax(axis=1)  # draws softmax(logits / T)

    @pytest.mark.parametrize("true_t", [0.6, 1.0, 2.5])
    def test_sklearn(self, true_t):
        from sklearn.base import BaseEstimator, ClassifierMixin
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.frozen import FrozenEstimator

        class Logits(ClassifierMixin, BaseEstimator):
            def fit(self, x, y):
                self.classes_ = np.unique(y)
                return self

            def decision_function(self, x):
                return x

            def predict(self, x):
                return self.classes_[x.argmax(axis=1)]

        logits, gold = self.logits_and_gold(true_t)
        reference = CalibratedClassifierCV(
            FrozenEstimator(Logits().fit(logits, gold)), method="temperature", ensemble=False
        ).fit(logits, gold)
        beta = reference.calibrated_classifiers_[0].calibrators[0].beta_
        ours = fitted(logits, gold)
        assert ours == pytest.approx(1 / beta, rel=1e-3)
        assert ours == pytest.approx(true_t, rel=0.1)

    def test_closed_form_of_two_outcomes(self):
        # Margin 2 everywhere, right in 80 %: sigmoid(2 / T) = .8.
        logits = np.tile([2.0, 0.0], (100, 1))
        gold = (np.arange(100) >= 80).astype(int)
        assert fitted(logits, gold) == pytest.approx(2 / math.log(4), rel=1e-3)

    def test_batches_and_precision_do_not_show(self):
        logits, gold = self.logits_and_gold(1.7)
        whole = fitted(logits, gold)
        assert fitted(logits, gold, chunk=11) == pytest.approx(whole, rel=1e-9)
        single = fitted(torch.tensor(logits).float(), gold)
        assert single == pytest.approx(whole, rel=1e-3)

    def test_equal_logits_leave_the_temperature_alone(self):
        assert fitted(np.zeros((10, 3)), np.arange(10) % 3) == 1.0

    def test_ends_of_the_range(self):
        logits = np.tile([1.0, 0.0], (10, 1))
        assert fitted(logits, np.zeros(10, int)) == 0.05  # always right
        assert fitted(logits, np.ones(10, int)) == 20.0  # always wrong


class TestPosthocTemperatureByEce:
    fitted = staticmethod(partial(fitted, by="fit_ece"))

    def test_closed_form_of_two_outcomes(self):
        """Margin 2 everywhere, right in 80 %: the confidence sigmoid(2 / T) should be .8."""
        logits = np.tile([2.0, 0.0], (100, 1))
        gold = (np.arange(100) >= 80).astype(int)
        # To half a step of the fine grid, 1 % of T.
        assert self.fitted(logits, gold) == pytest.approx(2 / math.log(4), rel=6e-3)

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("true_t", [0.6, 2.5])
    def test_the_best_of_the_grid_by_plain_softmax(self, true_t, seed):
        """No T of the fine grid around the best point does better, computed from all logits."""
        logits, gold = TestPosthocTemperature.logits_and_gold(true_t, seed=seed)
        correct = logits.argmax(axis=1) == gold

        def ece(t):
            return expected_calibration_error(softmax(logits / t, axis=1).max(axis=1), correct)

        points = np.exp(np.linspace(np.log(0.05), np.log(20), 61))
        i = int(np.argmin([ece(t) for t in points]))
        finer = np.exp(np.linspace(*np.log(points[[i - 1, i + 1]]), 21))
        found = self.fitted(logits, gold, chunk=400)
        assert found == pytest.approx(finer[np.argmin([ece(t) for t in finer])], rel=1e-9)
        assert found == pytest.approx(true_t, rel=0.15)

    def test_confidences_between_the_points_are_those_of_softmax(self):
        """The spline through the log-sums, at its worst: between two points, far from T = 1."""
        logits, gold = TestPosthocTemperature.logits_and_gold(1.0, n=200)
        fit = PosthocTemperature()
        fit.add(torch.as_tensor(logits), torch.as_tensor(gold))
        log_sums = np.concatenate(fit._log_sums, axis=1)
        middle = (fit.log_t[1:] + fit.log_t[:-1]) / 2
        spline = CubicSpline(fit.log_t, np.eye(61))
        for log_t in middle:
            expected = softmax(logits / np.exp(log_t), axis=1).max(axis=1)
            np.testing.assert_allclose(np.exp(-spline(log_t) @ log_sums), expected, atol=3e-5)

    def test_ties_go_to_the_lower_nll_then_to_no_temperature(self):
        # Saturated: the confidence is 1 at every T of the range, all right or all wrong.
        logits = np.tile([1e4, 0.0], (10, 1))
        assert self.fitted(logits, np.zeros(10, int)) == pytest.approx(1.0)
        assert self.fitted(logits, np.ones(10, int)) == pytest.approx(20.0)
        assert self.fitted(np.zeros((10, 3)), np.arange(10) % 3) == 1.0
