"""The forward pass of training: a batch's loss, with all logits at once or chunk by chunk.

N supervised positions times V tokens of logits, and as much again for their gradient, would be the
largest tensors of a training step. A loss needs of a position's logits z only the k at some ids K
and two sums (`Statistics`), so where there are many positions a chunk of their logits is
made, turned into its gradient in place and multiplied on, and the next takes its place:

    rest = log sum_{j not in K} exp z_j,    normaliser = log sum_j exp z_j,

    dL/dz_j = softmax(z)_j dL/dnormaliser + [j not in K] exp(z_j - rest) dL/drest + [j in K] dL/dz_j

The derivatives on the right come from autograd over tensors of shape (n, k).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from first_distill.models.batching import LOGITS, collate, rows_at_once, spans
from first_distill.models.encoding import EncodedRow
from first_distill.models.inference import linear_head, supervised_hidden, supervised_logits
from first_distill.models.structure import output_size


class Statistics(NamedTuple):
    """What a loss needs of n positions' logits.

    chosen: (n, k) logits at the ids; normaliser: (n,) log-sum-exp of all V logits; rest: (n,)
    log-sum-exp of the V - k others, or None where it is not needed or nothing is left out.
    """

    chosen: torch.Tensor
    normaliser: torch.Tensor
    rest: torch.Tensor | None


class TrainingModel(torch.nn.Module):
    """A causal language model whose forward pass gives a loss.

    It is one module, so that FSDP gathers the output head's weights for chunks too.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, rows: list[EncodedRow], loss, pad_id: int, half: bool):
        """Sum of a loss (CrossEntropy or KnowledgeLoss) over the rows' supervised positions.

        half: run the layers in bfloat16 by autocast.
        """
        batch = collate(rows, range(len(rows)), pad_id)
        device = next(self.model.parameters()).device
        targets = loss.targets(rows, device)
        head = linear_head(self.model)
        length = rows_at_once(LOGITS, device.type, output_size(self.model))
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=half)
        if head is None or len(batch.labels) <= length:
            with autocast:
                logits = supervised_logits(self.model, batch)
            return targets.loss(logits).sum()
        with autocast:
            hidden = supervised_hidden(self.model, batch)
        dtype = torch.bfloat16 if half else hidden.dtype
        return ChunkedLoss.apply(hidden.to(dtype), head.weight.to(dtype), targets, length)


class ChunkedLoss(torch.autograd.Function):
    """Sum of the loss of `targets`, a scalar, from hidden states (N, H) and the head (V, H), k < V.

    Gradients are made in the forward pass, `length` positions at a time, so that no logits wait
    for a backward pass; the weight's is summed in float32 whatever the products' dtype.
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets, length: int):
        precise = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), dtype=precise, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros(weight.shape, dtype=precise, device=weight.device)
        # Fresh memory for every chunk would cost a third of the head's time.
        chunks = spans(len(hidden), length)
        room = hidden.new_empty((max(c.stop - c.start for c in chunks), len(weight)))
        for rows in chunks:
            part, ids = hidden[rows], targets.ids[rows]
            logits = torch.mm(part, weight.t(), out=room[: len(part)]).to(precise)
            statistics, others = _statistics(logits, ids)
            with torch.enable_grad():
                leaves = Statistics(*(one.detach().requires_grad_() for one in statistics))
                value = targets.loss_of(leaves, rows).sum()
                slopes = torch.autograd.grad(value, leaves, materialize_grads=True)
            total += value.detach()
            gradient = _logit_gradient(logits, ids, statistics, others, *slopes).to(hidden.dtype)
            torch.mm(gradient, weight, out=hidden_gradient[rows])
            if gradient.dtype == precise:
                weight_gradient.addmm_(gradient.t(), part)
            else:
                weight_gradient += gradient.t() @ part
        ctx.save_for_backward(hidden_gradient, weight_gradient.to(weight.dtype))
        return total

    @staticmethod
    def backward(ctx, upstream):
        # In place, because the weight's gradient is large; there is one backward pass.
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient.mul_(upstream), weight_gradient.mul_(upstream), None, None


def _statistics(logits: torch.Tensor, ids: torch.Tensor) -> tuple[Statistics, torch.Tensor]:
    """(Statistics, sums (n, 1) over the others); logits become exp(z - largest other), 0 at ids."""
    chosen = logits.gather(1, ids)
    logits.scatter_(1, ids, float("-inf"))
    largest = logits.amax(dim=1, keepdim=True)
    others = logits.sub_(largest).exp_().sum(dim=1, keepdim=True)
    rest = (largest + others.log())[:, 0]
    normaliser = torch.cat([chosen, rest[:, None]], dim=1).logsumexp(dim=1)
    return Statistics(chosen, normaliser, rest), others


def _logit_gradient(
    shifted, ids, statistics: Statistics, others, by_chosen, by_normaliser, by_rest
) -> torch.Tensor:
    """dL/dlogits (n, V), in the place of exp(z - largest other)."""
    share = (statistics.rest - statistics.normaliser).exp()  # probability of all others together
    shifted.mul_((by_rest + by_normaliser * share)[:, None] / others)
    probability = (statistics.chosen - statistics.normaliser[:, None]).exp()
    return shifted.scatter_(1, ids, by_chosen + by_normaliser[:, None] * probability)
