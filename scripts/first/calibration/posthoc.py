"""Post-hoc temperature (the baseline of Guo et al., 2017), fitted to the logits of a model."""

from __future__ import annotations

import math

import numpy as np
import torch

from scripts.first.models.batching import CACHED, rows_at_once, spans


class PosthocTemperature:
    """Fit one scalar T that minimises the NLL of softmax(logits / T), in a single pass.

    ``add`` batches of logits as they come from the model (they are not kept: an Alpaca validation
    split has more logits than memory), then call ``fit``. The NLL is accumulated at fixed points
    of log T and minimised on the cubic spline through them; the NLL has one minimum in T, and the
    spline finds it to about 1e-4 of T (tested against scikit-learn's fit).
    """

    LOWEST, HIGHEST, POINTS = 0.05, 20.0, 61

    def __init__(self) -> None:
        self.log_t = np.linspace(np.log(self.LOWEST), np.log(self.HIGHEST), self.POINTS)
        self.n = 0
        self._nll = np.zeros(self.POINTS)

    def add(self, logits: torch.Tensor, gold: torch.Tensor) -> None:
        """Add finite logits (n, V) of float32 or float64 and gold ids (n,), on one device."""
        temperatures = np.exp(self.log_t)
        gold_logit = logits.new_empty(gold.numel())
        log_sums = logits.new_empty(len(temperatures), gold.numel())
        # Below this exp underflows, which takes a processor a hundred times as long; beside the
        # maximum's own 1, a term of 1e-38 is no digit of the sum either way.
        floor = math.ceil(math.log(torch.finfo(logits.dtype).tiny))
        length = rows_at_once(CACHED, logits.device.type, logits.shape[1])
        for rows in spans(len(logits), length):
            # Shifted by the maximum, so that a large logit costs no digits of the NLL.
            part = logits[rows] - logits[rows].max(dim=-1, keepdim=True).values
            gold_logit[rows] = part.gather(-1, gold[rows, None])[:, 0]
            scratch = torch.empty_like(part)
            for i, t in enumerate(temperatures):
                torch.div(part, t, out=scratch).clamp_(min=floor).exp_()
                log_sums[i, rows] = scratch.sum(dim=-1).log_()
        total_gold = gold_logit.double().sum()
        for i, t in enumerate(temperatures):
            self._nll[i] += float(log_sums[i].double().sum() - total_gold / t)
        self.n += gold.numel()

    def fit(self) -> float:
        """Return T in [0.05, 20]; a value at either end means that the minimum lies beyond."""
        from scipy.interpolate import CubicSpline

        nll = self._nll / self.n
        if np.ptp(nll) < 1e-9:  # all logits equal: no temperature is better than another
            return 1.0
        i = int(nll.argmin())
        if i in (0, self.POINTS - 1):
            return (self.LOWEST, self.HIGHEST)[i > 0]
        spline = CubicSpline(self.log_t, nll)
        flat = spline.derivative().roots(extrapolate=False)
        flat = flat[(flat >= self.log_t[i - 1]) & (flat <= self.log_t[i + 1])]
        return float(np.exp(flat[spline(flat).argmin()]))
