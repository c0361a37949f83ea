"""Knowledge matching (Eq. 5), as torch functions of flat positions.

N counts supervised positions (of all sequences of a micro-batch, one after the other), V the
vocabulary and k the stored tokens of a position. Losses are computed in float32, or in float64
where the logits are float64, whatever the dtype of the model. No input is changed in place.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from scripts.first.models.head import Statistics

STUDENT_SIDES = ("full_vocab", "renorm", "softmax_same_c", "tail_bucket")
# Rounding in float32 leaves sums within 1e-6 of 1; raw teacher probabilities lie further off.
TARGET_SUM_TOLERANCE = 1e-4


def knowledge_matching_loss(
    logits: torch.Tensor,
    target_ids: torch.Tensor,
    target: torch.Tensor,
    student_side: str,
    *,
    c: float | None = None,
    head_mass: torch.Tensor | None = None,
    eps: float = 1e-6,
    check: bool = True,
) -> torch.Tensor:
    """Return Eq. 5, sum_i q(i) (log q(i) - log p~(i)), for each position: a tensor (N,).

    logits: (N, V) of the student; target_ids: (N, k) distinct ids below V; target: (N, k) the
    re-calibrated teacher q, summing to 1. A row of target that is all zero is padding: its loss
    and its gradient are exactly 0, whatever its logits and ids.

    ``student_side`` names p~, with p_S the full-vocabulary softmax and P its sum over the k ids:
    ``full_vocab``: p_S itself (the paper's literal text; the optimum is p_S = q);
    ``renorm``: (p_S + eps) / sum (p_S + eps); eps = 0 is exact (a softmax of the k logits);
    ``softmax_same_c``: softmax(p_S / c), as the authors last ran it; needs ``c``;
    ``tail_bucket``: k + 1 outcomes, target (m q, 1 - m) and student (p_S, 1 - P); needs
    ``head_mass`` = m (N,), the teacher's mass on the k ids (the other sides do not look at it).

    check=False is for targets that went through `check_targets` already.

    Raises ValueError for unknown sides, a missing or unused c, wrong shapes, ids outside the
    vocabulary, repeated ids, and targets that are no distribution (raw probabilities, log-
    probabilities), since each of these would train without complaint.
    """
    if student_side not in STUDENT_SIDES:
        raise ValueError(f"unknown student_side {student_side!r}: use one of {STUDENT_SIDES}")
    if student_side == "softmax_same_c":
        if c is None or not 0.0 < c < float("inf"):
            raise ValueError(f"softmax_same_c needs a finite, positive c, got {c}")
    elif c is not None:
        raise ValueError(f"student_side {student_side} does not use c: leave it out")
    logits, target_ids = _full_precision(logits), target_ids.long()
    target = target.detach().to(logits.dtype)
    if check:
        check_targets(target_ids.cpu().numpy(), target.cpu().numpy(), logits.shape[-1])
    if target_ids.shape[0] != logits.shape[0]:
        raise ValueError(f"logits of {len(logits)} positions, targets of {len(target_ids)}")
    mass = _checked_mass(head_mass, target) if student_side == "tail_bucket" else None

    padding = target.sum(dim=-1) == 0
    if bool(padding.any()):  # keep whatever a padded row holds (inf, NaN) out of the graph
        logits = logits.masked_fill(padding[:, None], 0.0)
        distinct = torch.arange(target_ids.shape[-1], device=target_ids.device)
        target_ids = torch.where(padding[:, None], distinct, target_ids)

    statistics = _dense_statistics(logits, target_ids, student_side, eps)
    loss = matching_of(statistics, target, student_side, c=c, head_mass=mass, eps=eps)
    return loss.masked_fill(padding, 0.0) if student_side == "tail_bucket" else loss


def matching_of(
    statistics: Statistics,
    target: torch.Tensor,
    student_side: str,
    *,
    c: float | None = None,
    head_mass: torch.Tensor | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """Eq. 5 at each position, (N,), from what it needs of the logits; arguments as above.

    Nothing is checked here. The statistics' `rest` is looked at by `tail_bucket` alone, and may be
    None: where all V ids are stored there is no tail.
    """
    if student_side == "renorm":
        return _divergence(target, _renormalised(statistics, eps))
    log_head = statistics.chosen - statistics.normaliser[:, None]
    if student_side == "full_vocab":
        return _divergence(target, log_head)
    if student_side == "softmax_same_c":
        return _divergence(target, F.log_softmax(log_head.exp() / c, dim=-1))
    loss = _divergence(target * head_mass[:, None], log_head)
    if statistics.rest is not None:
        log_tail = statistics.rest - statistics.normaliser
        loss = loss + _divergence((1.0 - head_mass)[:, None], log_tail[:, None])
    return loss


def _full_precision(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _divergence(target: torch.Tensor, log_student: torch.Tensor) -> torch.Tensor:
    """Sum over the last axis of q (log q - log p), where q = 0 contributes 0 even at p = 0."""
    present = target > 0
    # Masked before the product: 0 * -inf is NaN, in the value and in the gradient.
    log_student = log_student.masked_fill(~present, 0.0)
    return (torch.xlogy(target, target) - target * log_student).sum(dim=-1)


def _dense_statistics(logits: torch.Tensor, ids: torch.Tensor, side: str, eps: float) -> Statistics:
    """Statistics of all logits at once, each only where the side needs it."""
    # First, so that its backward pass comes last, when the other's temporaries are gone.
    chosen = logits.gather(-1, ids)
    rest = None
    if side == "tail_bucket" and ids.shape[-1] < logits.shape[-1]:
        # From the tail's own logits: 1 - P itself would cancel in float32 near P = 1.
        rest = logits.scatter(-1, ids, float("-inf")).logsumexp(dim=-1)
    bare = side == "renorm" and eps == 0.0
    return Statistics(chosen, None if bare else logits.logsumexp(dim=-1), rest)


def _renormalised(statistics: Statistics, eps: float) -> torch.Tensor:
    if not 0.0 <= eps < 1.0:
        raise ValueError(f"eps must lie in [0, 1), got {eps}")
    if eps == 0.0:
        return F.log_softmax(statistics.chosen, dim=-1)
    shifted = (statistics.chosen - statistics.normaliser[:, None]).exp() + eps
    return shifted.log() - shifted.sum(dim=-1, keepdim=True).log()


def check_targets(target_ids: np.ndarray, target: np.ndarray, vocabulary: int) -> None:
    """Refuse what would train without complaint; ids and target (N, k), numpy arrays.

    Raises ValueError for another shape, ids outside the vocabulary, repeated ids, and targets that
    are no distribution (raw probabilities, log-probabilities). A row that is all zero is padding.
    """
    if target_ids.shape != target.shape or target_ids.ndim != 2:
        raise ValueError(
            "target_ids and target must be (N, k) for logits (N, V), got shapes "
            f"{tuple(target_ids.shape)} and {tuple(target.shape)}"
        )
    if not 1 <= target_ids.shape[1] <= vocabulary:
        raise ValueError(f"k must lie in 1 .. V = {vocabulary}, got {target_ids.shape[1]}")
    if not target_ids.size:
        return
    total = target.sum(axis=-1)
    used = total != 0
    ordered = np.sort(target_ids, axis=-1)
    if ordered.min() < 0 or ordered.max() >= vocabulary:
        raise ValueError(f"an id lies outside the student's vocabulary of {vocabulary}")
    if ((ordered[:, 1:] == ordered[:, :-1]) & used[:, None]).any():
        raise ValueError("an id is repeated within a position")
    if not (np.isfinite(target).all() and target.min() >= 0):
        raise ValueError("a target is negative or not finite")
    if (used & (np.abs(total - 1.0) > TARGET_SUM_TOLERANCE)).any():
        raise ValueError("a target does not sum to 1 (re-calibrate it first)")


def _checked_mass(head_mass: torch.Tensor | None, target: torch.Tensor) -> torch.Tensor:
    if head_mass is None or head_mass.shape != target.shape[:1]:
        raise ValueError("tail_bucket needs head_mass, the teacher's mass on the k ids, shape (N,)")
    mass = head_mass.detach().to(target.dtype)
    if not bool(((mass >= 0) & (mass <= 1)).all()):
        raise ValueError("head_mass must lie in [0, 1] without NaN")
    return mass
