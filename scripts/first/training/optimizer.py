"""AdamW over a model's weights: gradient clipping and the step.

A small model's tensors are stepped as one, which gives the same bits: dozens of calls for each of
dozens of tensors would take longer than their arithmetic.
"""

from __future__ import annotations

import torch
from torch.nn.utils import (
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)

from scripts.first.training.settings import Settings

SMALL = 2**22  # parameters; above, copying all gradients would cost more than the calls


class Optimizer:
    """AdamW (0.9, 0.999) of one training run.

    `stepped` are the tensors of `adamw`: the parameters, or one vector of which the parameters of a
    small model are views until `release`.
    """

    def __init__(self, model, settings: Settings, sharded: bool):
        self.parameters = list(model.parameters())
        self.max_norm = settings.max_grad_norm
        self.joined = not sharded and sum(p.numel() for p in self.parameters) <= SMALL
        self.stepped = self.parameters
        if self.joined:
            vector = parameters_to_vector(self.parameters).detach()
            vector_to_parameters(vector, self.parameters)
            self.stepped = [torch.nn.Parameter(vector)]
        self.adamw = torch.optim.AdamW(
            self.stepped,
            lr=settings.learning_rate,
            betas=(0.9, 0.999),
            eps=settings.adam_eps,
            weight_decay=settings.weight_decay,
            # Fewer calls and the same numbers, but a temporary copy of all parameters.
            foreach=not (self.joined or settings.offload_optimizer),
        )

    def clip(self) -> float:
        """Clip a step's gradients to the largest norm; return the norm they had."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        norm = get_total_norm(gradients)
        if self.joined:
            self.stepped[0].grad = parameters_to_vector(gradients)
        clip_grads_with_norm_(self.stepped, self.max_norm, norm)
        return getattr(norm, "full_tensor", lambda: norm)().item()

    def step(self) -> None:
        """Step, and drop the gradients."""
        self.adamw.step()
        for parameter in (*self.parameters, *self.stepped):
            parameter.grad = None

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        if self.joined:
            for parameter in self.parameters:
                parameter.data = parameter.data.clone()
