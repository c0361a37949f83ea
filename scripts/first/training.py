"""The training loop shared by pretraining, teachers and students.

AdamW (0.9, 0.999, eps 1e-6), cosine decay after 3 % warm-up, last checkpoint, no selection. The
global batch is cut into micro-batches whose gradients add up to exactly that of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scripts.first.batching import Batch, collate, training_batches
from scripts.first.encoding import NO_LABEL, EncodedRow
from scripts.first.errors import UserError
from scripts.first.inference import supervised_logits
from scripts.first.progress import progress

REDUCTIONS = ("token_mean", "sequence_mean")


@dataclass(frozen=True)
class Settings:
    """How to train. `batch_size` counts rows of one optimiser step, whatever the micro-batch."""

    epochs: float
    batch_size: int
    learning_rate: float
    seed: int
    micro_batch_size: int | None = None
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    adam_eps: float = 1e-6
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Refuse what would train nothing, or something else, without complaint."""
        for name in ("epochs", "batch_size", "micro_batch_size", "learning_rate", "adam_eps"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{name} = {value}: training settings: it must be positive")
        if not (0 <= self.warmup_ratio <= 1 and self.weight_decay >= 0 < self.max_grad_norm):
            raise UserError(
                "training settings: warmup_ratio must lie in [0, 1], weight_decay must not be "
                "negative and max_grad_norm must be positive"
            )


def seed_everything(seed: int) -> None:
    """Seed torch, fix its threads to what the job was given, and ask for deterministic kernels."""
    import os

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling every fresh buffer with NaN finds bugs in kernels; no result depends on it.
    torch.utils.deterministic.fill_uninitialized_memory = False


def train(
    model,
    encoded: list[EncodedRow],
    losses: Callable[[object, Batch], object],
    reduction: str,
    settings: Settings,
    pad_id: int,
    label: str,
) -> list[dict]:
    """Train in place; return the loss curve as [{step, loss, learning_rate}], below 100 points.

    losses(logits (N, V), batch) gives the loss at each supervised position, (N,). `token_mean`
    divides a step's sum by its labelled positions; `sequence_mean` (Eq. 5 as released) by its rows.
    Raises UserError where the loss is not finite, naming the step and the rows.
    """
    import torch
    from transformers import get_cosine_schedule_with_warmup

    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, not {reduction!r}")
    lengths = np.asarray([len(row.input_ids) for row in encoded])
    per_epoch = math.ceil(len(encoded) / settings.batch_size)
    steps = max(1, round(per_epoch * settings.epochs))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.999),
        eps=settings.adam_eps,
        weight_decay=settings.weight_decay,
        foreach=True,  # the same numbers as one parameter after the other, in fewer calls
    )
    schedule = get_cosine_schedule_with_warmup(
        optimizer, math.ceil(settings.warmup_ratio * steps), steps
    )
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    curve, every = [], max(1, steps // 50)
    with progress(label, steps, "step") as advance:
        for step, rows in enumerate(_batches(lengths, settings, steps)):
            loss = _backward(model, encoded, rows, losses, reduction, settings, pad_id, step)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            if not math.isfinite(norm.item()):  # a finite loss does not promise a finite gradient
                raise UserError(
                    f"the gradient is {norm.item()} at step {step + 1}: {label}: "
                    "no checkpoint was written; lower the learning rate"
                )
            rate = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if step % every == 0 or step == steps - 1:
                curve.append({"step": step + 1, "loss": loss, "learning_rate": rate})
            advance(1, note=f"loss {loss:.4f}")
    model.eval()
    return curve


def _batches(lengths: np.ndarray, settings: Settings, steps: int):
    """Rows of each of `steps` optimiser steps, epoch after epoch."""
    step, epoch = 0, 0
    while step < steps:
        for rows in training_batches(lengths, settings.batch_size, settings.seed, epoch):
            yield rows
            step += 1
            if step == steps:
                return
        epoch += 1


def _backward(model, encoded, rows, losses, reduction, settings, pad_id, step) -> float:
    """Gradients of one optimiser step, micro-batch by micro-batch; return the step's loss."""
    micro = settings.micro_batch_size or len(rows)
    batches = [collate(encoded, rows[i : i + micro], pad_id) for i in range(0, len(rows), micro)]
    if reduction == "token_mean":
        divisor = sum(int((batch.labels != NO_LABEL).sum()) for batch in batches)
    else:
        divisor = len(rows)
    total = 0.0
    for batch in batches:
        loss = losses(supervised_logits(model, batch), batch).sum() / max(divisor, 1)
        if not math.isfinite(loss.item()):
            names = ", ".join(encoded[i].row_id for i in batch.rows[:8])
            raise UserError(
                f"the loss is {loss.item()} at step {step + 1}: rows {names}: "
                "no checkpoint was written; lower the learning rate or inspect those rows"
            )
        loss.backward()
        total += loss.item()
    return total
