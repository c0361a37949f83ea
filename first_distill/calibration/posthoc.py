"""Post-hoc temperature (the baseline of Guo et al., 2017), fitted to the logits of a model.

One scalar T divides all logits. It keeps their order, so that predictions and accuracy are those of
T = 1: only the confidences change.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from first_distill.calibration.metrics import DEFAULT_BINS, expected_calibration_error
from first_distill.models.batching import CACHED, rows_at_once, spans

TIE_DIGITS = 6  # values that differ by less are noise of float32 logits, hence a tie


class PosthocTemperature:
    """Fit T to the NLL of softmax(logits / T), or to the ECE of its maximum, in a single pass.

    ``add`` batches of logits as they come from the model, then call ``fit`` or ``fit_ece``. Logits
    are not kept: an Alpaca validation split has more than memory. What is kept of a position is the
    log of its softmax's denominator at fixed points of log T, 61 numbers, from which a cubic spline
    gives the confidence at any other T to about 2e-5.
    """

    LOWEST, HIGHEST, POINTS = 0.05, 20.0, 61
    FINER = 10  # steps of ``fit_ece`` between two points: about 1 % of T each

    def __init__(self) -> None:
        self.log_t = np.linspace(np.log(self.LOWEST), np.log(self.HIGHEST), self.POINTS)
        self._nll = np.zeros(self.POINTS)
        # Of each batch: log sum_j exp((z_j - max z) / T), (POINTS, n), and whether gold is the max.
        self._log_sums: list[np.ndarray] = []
        self._correct: list[np.ndarray] = []

    def add(self, logits: torch.Tensor, gold: torch.Tensor) -> None:
        """Add finite logits (n, V) of float32 or float64 and gold ids (n,), on one device."""
        temperatures = np.exp(self.log_t)
        gold_logit = logits.new_empty(gold.numel())
        correct = torch.empty_like(gold, dtype=torch.bool)
        log_sums = logits.new_empty(len(temperatures), gold.numel())
        # Below this exp underflows, which takes a processor a hundred times as long; beside the
        # maximum's own 1, a term of 1e-38 is no digit of the sum either way.
        floor = math.ceil(math.log(torch.finfo(logits.dtype).tiny))
        length = rows_at_once(CACHED, logits.device.type, logits.shape[1])
        for rows in spans(len(logits), length):
            largest, first = logits[rows].max(dim=-1, keepdim=True)
            correct[rows] = first[:, 0] == gold[rows]
            # Shifted by the maximum, so that a large logit costs no digits of the NLL.
            part = logits[rows] - largest
            gold_logit[rows] = part.gather(-1, gold[rows, None])[:, 0]
            scratch = torch.empty_like(part)
            for i, t in enumerate(temperatures):
                torch.div(part, t, out=scratch).clamp_(min=floor).exp_()
                log_sums[i, rows] = scratch.sum(dim=-1).log_()
        total_gold = gold_logit.double().sum()
        for i, t in enumerate(temperatures):
            self._nll[i] += float(log_sums[i].double().sum() - total_gold / t)
        self._log_sums.append(log_sums.cpu().numpy())
        self._correct.append(correct.cpu().numpy())

    def fit(self) -> float:
        """T of the lowest NLL; at an end of [0.05, 20] the minimum lies beyond.

        The NLL has one minimum in T, which the spline finds to about 1e-4 of T.
        """
        if self._is_flat():
            return 1.0
        i = int(self._nll.argmin())
        if i in (0, self.POINTS - 1):
            return (self.LOWEST, self.HIGHEST)[i > 0]
        spline = self._spline(self._nll)
        flat = spline.derivative().roots(extrapolate=False)
        flat = flat[(flat >= self.log_t[i - 1]) & (flat <= self.log_t[i + 1])]
        return float(np.exp(flat[spline(flat).argmin()]))

    def fit_ece(self, bins: int = DEFAULT_BINS) -> float:
        """T of the lowest ECE (Eq. 1) of the confidence max softmax(logits / T).

        As in the search of c (section 5.5): the best of the points, then the best of ten times as
        many around it. Ties go to the lower NLL, then to the T closest to 1.
        """
        if self._is_flat():
            return 1.0
        log_sums, correct = np.concatenate(self._log_sums, axis=1), np.concatenate(self._correct)
        nll = self._spline(self._nll / len(correct))
        # A spline is linear in the values at its points: a row for each log T, a column a point.
        weights = self._spline(np.eye(self.POINTS))

        def rank(log_t: float) -> tuple[float, float, float]:
            at_t = weights(log_t).astype(log_sums.dtype) @ log_sums
            confidence = np.exp(-np.maximum(at_t, 0.0))  # of the largest logit, shifted to 0
            ece = expected_calibration_error(confidence, correct, bins)
            return round(ece, TIE_DIGITS), round(float(nll(log_t)), TIE_DIGITS), abs(log_t)

        i = int(np.searchsorted(self.log_t, min(self.log_t, key=rank)))
        around = self.log_t[max(i - 1, 0) : i + 2]
        finer = np.linspace(around[0], around[-1], self.FINER * (len(around) - 1) + 1)
        return float(np.exp(min(finer, key=rank)))

    def _is_flat(self) -> bool:
        """Whether all logits are equal: then no temperature is better than another."""
        return bool(np.ptp(self._nll) < 1e-9 * sum(map(len, self._correct)))

    def _spline(self, values: np.ndarray):
        """The cubic spline in log T through values (POINTS, ...)."""
        from scipy.interpolate import CubicSpline

        return CubicSpline(self.log_t, values)
