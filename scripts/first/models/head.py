"""The output head in chunks: its loss and gradients without ever holding all logits.

N supervised positions times V tokens of logits, and as much again for their gradient, would be the
largest tensors of a training step. Every loss here needs of a position's logits z only the k at
some ids K and two sums over the others, so a chunk of positions is made, turned into its gradient
in place and multiplied on, and the next takes its room:

    rest = log sum_{j not in K} exp z_j,    normaliser = log sum_j exp z_j,

    dL/dz_j = softmax(z)_j dL/dnormaliser + [j not in K] exp(z_j - rest) dL/drest + [j in K] dL/dz_j

The derivatives on the right come from autograd over tensors of shape (n, k). The dense computation
(`losses.py` on all logits) is the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

# Logits held at once. On a CPU one chunk stays near its cache; a GPU wants longer products.
ELEMENTS = {"cpu": 2**24, "cuda": 2**26}
# Architectures whose logits are the head's product with the last hidden state and nothing more.
LINEAR = {"llama", "mistral", "mixtral", "olmo", "olmo2", "qwen2", "qwen3", "smollm3", "stablelm"}


@dataclass(frozen=True)
class Statistics:
    """All that a loss needs of n positions' logits, in float32 or better.

    chosen: (n, k) logits at the ids; normaliser: (n,) log-sum-exp of all V logits; rest: (n,) that
    of the V - k others.
    """

    chosen: torch.Tensor
    normaliser: torch.Tensor
    rest: torch.Tensor


@dataclass(frozen=True)
class InChunks:
    """A loss that can be taken chunk by chunk: of statistics at ids (N, k), k < V.

    loss(statistics, span) gives the loss (n,) of the positions in the slice `span`.
    """

    ids: torch.Tensor
    loss: Callable[[Statistics, slice], torch.Tensor]


def fits(model, positions: int) -> bool:
    """Whether all logits of so many positions may be held at once (then nothing is gained)."""
    return positions <= chunk_length(model)


def chunk_length(model) -> int:
    """Positions of one chunk."""
    device = getattr(model, "compute_device", None) or next(model.parameters()).device
    elements = ELEMENTS.get(device.type, ELEMENTS["cuda"])
    return max(1, elements // model.config.get_text_config().vocab_size)


def linear_head(model) -> torch.nn.Linear | None:
    """The output head, where the logits are its product with the last hidden state; else None.

    An architecture that is not known to be so is taken for one that caps or scales its logits.
    """
    head = model.get_output_embeddings()
    plain = isinstance(head, torch.nn.Linear) and head.bias is None
    return head if plain and model.config.model_type in LINEAR else None


def spans(positions: int, length: int) -> list[slice]:
    """Slices of at most `length` positions, of like size, that cover all positions in order."""
    number = max(1, -(-positions // length))
    edges = [positions * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def chunked_loss(
    hidden: torch.Tensor, weight: torch.Tensor, loss: InChunks, scale: float, length: int
) -> torch.Tensor:
    """scale * sum of the loss over N positions, a scalar, from hidden (N, H) and weight (V, H).

    Gradients reach hidden and weight; they are made in the forward pass, so that no logits wait for
    a backward pass. Products are taken in the dtype of autocast where it is on, else of hidden,
    everything else in float32. Raises ValueError unless k < V.
    """
    if loss.ids.shape[1] >= len(weight):
        raise ValueError(f"k = {loss.ids.shape[1]} of V = {len(weight)}: nothing is outside of it")
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    with torch.autocast(kind, enabled=False):
        return _ChunkedLoss.apply(hidden.to(dtype), weight.to(dtype), loss, scale, length)


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, loss: InChunks, scale: float, length: int):
        wanted = ctx.needs_input_grad[:2]
        precise = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        hidden_gradient = torch.empty_like(hidden) if wanted[0] else None
        weight_gradient = (
            torch.zeros(weight.shape, dtype=precise, device=weight.device) if wanted[1] else None
        )
        total = torch.zeros((), dtype=precise, device=hidden.device)
        pieces = spans(len(hidden), length)
        longest = max(piece.stop - piece.start for piece in pieces)
        room = torch.empty((longest, len(weight)), dtype=hidden.dtype, device=hidden.device)
        for piece in pieces:
            ids, part = loss.ids[piece], hidden[piece]
            product = torch.mm(part, weight.t(), out=room[: len(part)])
            logits = product if product.dtype == torch.float64 else product.float()
            statistics, others = _statistics(logits, ids)
            values, slopes = _slopes(loss, statistics, piece, scale, any(wanted))
            total += values
            if not any(wanted):
                continue
            gradient = _logit_gradient(logits, ids, statistics, others, slopes).to(hidden.dtype)
            if wanted[0]:
                torch.mm(gradient, weight, out=hidden_gradient[piece])
            if wanted[1]:
                _accumulate(weight_gradient, gradient, part)
        ctx.save_for_backward(
            hidden_gradient, None if weight_gradient is None else weight_gradient.to(weight.dtype)
        )
        return total

    @staticmethod
    def backward(ctx, upstream):
        of_hidden, of_weight = ctx.saved_tensors
        if upstream.item() != 1.0:  # it mostly is, and the weight's gradient is large
            of_hidden = None if of_hidden is None else of_hidden * upstream
            of_weight = None if of_weight is None else of_weight * upstream
        return of_hidden, of_weight, None, None, None


def _statistics(logits: torch.Tensor, ids: torch.Tensor):
    """(Statistics, sums (n, 1) over the others); logits become exp(z - largest other), 0 at ids."""
    chosen = logits.gather(1, ids)
    logits.scatter_(1, ids, float("-inf"))
    largest = logits.amax(dim=1, keepdim=True)
    others = logits.sub_(largest).exp_().sum(dim=1, keepdim=True)
    rest = (largest + others.log())[:, 0]
    normaliser = torch.cat([chosen, rest[:, None]], dim=1).logsumexp(dim=1)
    return Statistics(chosen, normaliser, rest), others


def _slopes(loss: InChunks, statistics: Statistics, piece: slice, scale: float, wanted: bool):
    """(scaled sum of the loss, its derivatives by chosen, normaliser and rest)."""
    with torch.enable_grad():
        leaves = [
            tensor.detach().requires_grad_(wanted)
            for tensor in (statistics.chosen, statistics.normaliser, statistics.rest)
        ]
        value = loss.loss(Statistics(*leaves), piece).sum() * scale
    if not wanted:
        return value.detach(), None
    slopes = torch.autograd.grad(value, leaves, allow_unused=True)
    zero = torch.zeros_like
    return value.detach(), [
        zero(leaf) if slope is None else slope for leaf, slope in zip(leaves, slopes, strict=True)
    ]


def _logit_gradient(shifted, ids, statistics: Statistics, others, slopes) -> torch.Tensor:
    """dL/dlogits (n, V), in the place of exp(z - largest other)."""
    by_chosen, by_normaliser, by_rest = slopes
    share = (statistics.rest - statistics.normaliser).exp()  # probability of all others together
    shifted.mul_((by_rest + by_normaliser * share)[:, None] / others)
    probability = (statistics.chosen - statistics.normaliser[:, None]).exp()
    return shifted.scatter_(1, ids, by_chosen + by_normaliser[:, None] * probability)


def _accumulate(total: torch.Tensor, gradient: torch.Tensor, hidden: torch.Tensor) -> None:
    """total += gradient^T hidden, in its own precision whatever the products are made in."""
    if gradient.dtype == total.dtype:
        total.addmm_(gradient.t(), hidden)
    else:
        total += gradient.t() @ hidden
