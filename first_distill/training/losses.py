"""Cross-entropy with hard labels, and knowledge matching, Eq. 5, at flat positions.

N counts supervised positions (of all sequences of a micro-batch, one after the other), V the
vocabulary and k the stored tokens of a position. Both losses need only `Statistics` of a position's
logits: made here from all logits at once, or chunk by chunk in `model.py`. Eq. 5 is computed in
float32, or in float64 where the logits are float64. No input is changed in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from first_distill.calibration.recalibration import recalibrate
from first_distill.models.encoding import NO_LABEL, EncodedRow
from first_distill.models.tokenizer import TextTokenizer
from first_distill.training.model import Statistics

STUDENT_SIDES = ("full_vocab", "renorm", "softmax_same_c", "tail_bucket")


class CrossEntropy:
    """Cross-entropy at supervised positions, averaged over a step's labelled positions."""

    def check(self, rows: list[EncodedRow], tokenizer: TextTokenizer, outputs: int) -> None:
        """Any rows will do."""

    def divisor(self, rows: list[EncodedRow]) -> int:
        """A step's loss is the mean over its labelled positions."""
        return max(1, sum(int((row.labels != NO_LABEL).sum()) for row in rows))

    def targets(self, rows: list[EncodedRow], device) -> LabelTargets:
        """The labels at the N supervised positions of some rows, row after row."""
        labels = np.concatenate([row.labels for row in rows]).astype(np.int64)
        return LabelTargets(torch.from_numpy(labels).to(device))


@dataclass(frozen=True)
class LabelTargets:
    """One label for each position, (N,) int64; NO_LABEL where there is none."""

    labels: torch.Tensor

    @property
    def ids(self) -> torch.Tensor:
        """(N, 1) ids at which the loss needs logits."""
        return self.labels.clamp(min=0)[:, None]

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        """(N,) cross-entropy of logits (N, V); 0 where there is no label."""
        return F.cross_entropy(logits, self.labels, ignore_index=NO_LABEL, reduction="none")

    def loss_of(self, statistics: Statistics, rows: slice) -> torch.Tensor:
        """(n,) the same for the positions in a slice."""
        values = statistics.normaliser - statistics.chosen[:, 0]
        return values.masked_fill(self.labels[rows] == NO_LABEL, 0.0)


@dataclass(frozen=True)
class KnowledgeTargets:
    """The teacher's side of Eq. 5: re-calibrated q (N, k), which sums to 1, at distinct ids (N, k).

    ``student_side`` names p~, the student's side, with p_S the full-vocabulary softmax and P its
    sum over the k ids:
    ``full_vocab``: p_S itself (the paper's literal text; the optimum is p_S = q);
    ``renorm``: (p_S + eps) / sum (p_S + eps);
    ``softmax_same_c``: softmax(p_S / c), as the authors last ran it; needs ``c``;
    ``tail_bucket``: k + 1 outcomes, target (m q, 1 - m) and student (p_S, 1 - P); needs
    ``head_mass`` = m (N,), the teacher's mass on the k ids.
    """

    ids: torch.Tensor
    q: torch.Tensor
    student_side: str
    c: float | None = None
    head_mass: torch.Tensor | None = None
    eps: float = 1e-6

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        """(N,) Eq. 5 of logits (N, V)."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        # First, so that its backward pass comes last, when the other's temporaries are gone.
        chosen = logits.gather(-1, self.ids)
        rest = None
        if self.student_side == "tail_bucket" and self.ids.shape[-1] < logits.shape[-1]:
            # From the tail's own logits: 1 - P itself would cancel in float32 near P = 1.
            rest = logits.scatter(-1, self.ids, float("-inf")).logsumexp(dim=-1)
        return self.loss_of(Statistics(chosen, logits.logsumexp(dim=-1), rest), slice(None))

    def loss_of(self, statistics: Statistics, rows: slice) -> torch.Tensor:
        """(n,) Eq. 5, sum_i q(i) (log q(i) - log p~(i)), at the positions in a slice."""
        q = self.q[rows].to(statistics.chosen.dtype)
        log_p = statistics.chosen - statistics.normaliser[:, None]
        if self.student_side == "full_vocab":
            return _divergence(q, log_p)
        if self.student_side == "renorm":
            shifted = log_p.exp() + self.eps
            return _divergence(q, shifted.log() - shifted.sum(dim=-1, keepdim=True).log())
        if self.student_side == "softmax_same_c":
            return _divergence(q, F.log_softmax(log_p.exp() / self.c, dim=-1))
        mass = self.head_mass[rows].to(q.dtype)
        loss = _divergence(q * mass[:, None], log_p)
        if statistics.rest is None:  # all V ids are stored: there is no tail
            return loss
        log_tail = statistics.rest - statistics.normaliser
        return loss + _divergence((1.0 - mass)[:, None], log_tail[:, None])


def matching_loss(
    logits: torch.Tensor,
    ids: torch.Tensor,
    log_probs: torch.Tensor,
    recalibration: str = "none",
    student_side: str = "full_vocab",
    head_mass: torch.Tensor | None = None,
    **settings: float | str,
) -> torch.Tensor:
    """(N,) Eq. 5 of a student's logits (N, V) against a teacher's re-calibrated top k.

    ids: (N, k) int64, distinct at each position; log_probs: (N, k) the teacher's full-vocabulary
    log-probabilities of them, most probable first. recalibration and its settings: as of
    `calibration.recalibration.recalibrate`, such as `prob_softmax` with c, Eq. 4. student_side, and
    head_mass (N,), which `tail_bucket` needs: see `KnowledgeTargets`. Raises ValueError for an
    unknown side, and for one without what it needs.
    """
    needed = {"tail_bucket": head_mass, "softmax_same_c": settings.get("c")}
    if student_side not in STUDENT_SIDES or needed.get(student_side, True) is None:
        raise ValueError(
            f"student_side {student_side!r}: give one of {', '.join(STUDENT_SIDES)}, "
            "tail_bucket with head_mass, softmax_same_c with c"
        )
    p = log_probs.detach().double().exp().clamp(max=1.0).cpu().numpy()
    q = torch.from_numpy(recalibrate(p, recalibration, **settings)).to(logits.device)
    return KnowledgeTargets(ids, q, student_side, settings.get("c"), head_mass).loss(logits)


def _divergence(q: torch.Tensor, log_p: torch.Tensor) -> torch.Tensor:
    """Sum over the last axis of q (log q - log p), where q = 0 contributes 0 even at p = 0."""
    # Masked before the product: 0 * -inf is NaN, in the value and in the gradient.
    log_p = log_p.masked_fill(q == 0, 0.0)
    return (torch.xlogy(q, q) - q * log_p).sum(dim=-1)
