"""AdamW over a model's weights: gradient clipping and the step.

A small model's tensors are stepped as one: dozens of calls for each of dozens of tensors would cost
more than their arithmetic, which stays the same bit by bit.
"""

from __future__ import annotations

import torch

SMALL = 2**22  # parameters; above, the copy of all gradients would cost more than the calls


class Optimizer:
    """AdamW (0.9, 0.999) of one training run.

    `adamw` is torch's, `named` what it steps: the model's parameters by name, or one tensor, "all",
    of which they are views until `release`. There a parameter without a gradient counts as one
    whose gradient is zero: decoders have none.
    """

    def __init__(self, model, settings, sharded: bool):
        self.parameters = list(model.parameters())
        self.max_norm = settings.max_grad_norm
        small = sum(p.numel() for p in self.parameters) <= SMALL
        self.whole = None if sharded or not small else _joined(self.parameters)
        self.named = list(model.named_parameters()) if self.whole is None else [("all", self.whole)]
        self.adamw = torch.optim.AdamW(
            [parameter for _, parameter in self.named],
            lr=settings.learning_rate,
            betas=(0.9, 0.999),
            eps=settings.adam_eps,
            weight_decay=settings.weight_decay,
            # Fewer calls and the same numbers as one parameter after the other, but a copy of all.
            foreach=self.whole is None and not settings.offload_optimizer,
        )

    def clip(self) -> float:
        """Clip the gradients of a step to the largest norm; return what their norm was."""
        if self.whole is None:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
            return getattr(norm, "full_tensor", lambda: norm)().item()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.whole.grad = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.nn.utils.clip_grads_with_norm_([self.whole], self.max_norm, norm)
        return norm.item()

    def step(self) -> None:
        """One step; the gradients are gone after it."""
        self.adamw.step()
        for parameter in (*self.parameters, *(p for _, p in self.named)):
            parameter.grad = None

    def release(self) -> None:
        """Give each parameter its own memory again."""
        if self.whole is not None:
            for parameter in self.parameters:
                parameter.data = parameter.data.clone()


def _joined(parameters: list[torch.nn.Parameter]) -> torch.nn.Parameter:
    """One tensor of all; the parameters become views of it."""
    whole = torch.nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = whole.data[start:end].view_as(parameter)
        start = end
    return whole
