"""The training loop shared by pretraining, teachers and students.

AdamW (0.9, 0.999, eps 1e-6), cosine decay after 3 % warm-up, last checkpoint, no selection. The
global batch is cut into micro-batches, spread over the processes where there are several, whose
gradients add up to exactly that of the whole batch. Weights, gradients and the optimizer are
float32; dtype bfloat16 is that of the layers' arithmetic, and of the checkpoint.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.first.distributed import comm as distributed
from scripts.first.errors import UserError
from scripts.first.models.batching import Batch, collate, training_batches
from scripts.first.models.encoding import NO_LABEL, EncodedRow
from scripts.first.models.inference import require_positions, supervised_hidden, supervised_logits
from scripts.first.runtime.progress import progress
from scripts.first.runtime.signals import StopRequest

REDUCTIONS = ("token_mean", "sequence_mean")
HUGE = 1e18  # products of two settings stay within float32
REMEDY = "no checkpoint was written; lower the learning rate or inspect those rows"


@dataclass(frozen=True)
class Settings:
    """How to train. `batch_size` counts rows of one optimiser step of all processes together."""

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
    offload_optimizer: bool = False
    dtype: str = "float32"
    length_pool: int = 128

    def __post_init__(self) -> None:
        """Refuse what would train nothing, or something else, without complaint."""
        for name in (
            "epochs",
            "batch_size",
            "micro_batch_size",
            "learning_rate",
            "adam_eps",
            "length_pool",
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < HUGE:
                raise UserError(
                    f"{name} = {value}: training settings: it must be positive and below {HUGE:g}"
                )
        if not (0 <= self.warmup_ratio <= 1 and 0 <= self.weight_decay < HUGE):
            raise UserError(
                f"training settings: warmup_ratio must lie in [0, 1], weight_decay in [0, {HUGE:g})"
            )
        if not self.max_grad_norm > 0:
            raise UserError("training settings: max_grad_norm must be positive")


def train(
    model,
    encoded: list[EncodedRow],
    losses: Callable[[object, Batch], object],
    reduction: str,
    settings: Settings,
    pad_id: int,
    label: str,
    state: Path | None = None,
) -> list[dict]:
    """Train in place; return the loss curve as [{step, loss, learning_rate}], below 100 points.

    losses(logits (N, V), batch) gives the loss at each supervised position, (N,). `token_mean`
    divides a step's sum by its labelled positions; `sequence_mean` (Eq. 5 as released) by its rows.
    `state` is a folder of `open_state` to resume from and to save to, by time and on SIGTERM or
    SIGUSR1. Raises UserError where the loss or the gradient is not finite, naming the step and the
    rows, where a weight is not, and after a SIGTERM.
    """
    from transformers import get_cosine_schedule_with_warmup

    from scripts.first.distributed.fsdp import is_sharded
    from scripts.first.training.optimizer import Optimizer
    from scripts.first.training.resume import TrainingState, check_weights

    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, not {reduction!r}")
    require_positions(model, encoded)
    lengths = np.asarray([len(row.input_ids) for row in encoded])
    per_epoch = math.ceil(len(encoded) / settings.batch_size)
    steps = max(1, round(per_epoch * settings.epochs))
    optimizer = Optimizer(model, settings, is_sharded(model))
    schedule = get_cosine_schedule_with_warmup(
        optimizer.adamw, math.ceil(settings.warmup_ratio * steps), steps
    )
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    keeper = TrainingState(state, model, optimizer, schedule)
    done, curve = keeper.resume()
    every, quiet = max(1, steps // 50), not distributed.is_main()
    order = itertools.islice(_batches(lengths, settings, steps), done, None)
    with StopRequest() as asked, progress(label, steps, "step", done=done, quiet=quiet) as advance:
        for step, rows in enumerate(order, done):
            loss = _backward(model, encoded, rows, losses, reduction, settings, pad_id, step)
            norm = optimizer.clip()
            if not math.isfinite(norm):  # a finite loss does not promise a finite gradient
                names = ", ".join(encoded[i].row_id for i in rows)
                distributed.fail(
                    f"the gradient is {norm} at step {step + 1}: {label}: rows {names}: {REMEDY}"
                )
            rate = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
            if step % every == 0 or step == steps - 1:
                curve.append({"step": step + 1, "loss": loss, "learning_rate": rate})
            advance(1, note=f"loss {loss:.4f}")
            if step < steps - 1:
                _save_if_asked(keeper, asked, step + 1, steps, curve, label)
    check_weights(model, steps)
    optimizer.release()
    model.eval()
    return curve


def _save_if_asked(keeper, asked: StopRequest, step: int, steps: int, curve, label: str) -> None:
    """Save when it is time or a signal asks; end after a SIGTERM. All processes decide as one."""
    due = asked.save or keeper.due()
    stop, save = (value > 0 for value in distributed.totals(asked.stop, due))
    if save or stop:  # a signal may have come between the two looks
        keeper.save(step, curve)
        asked.save = False
    if stop:
        saved = "its state is saved" if keeper.folder else "it keeps no state (--state-dir)"
        distributed.fail(f"stopped after step {step} of {steps}: {label}: {saved}: run it again")


def _batches(lengths: np.ndarray, settings: Settings, steps: int):
    """Rows of each of `steps` optimiser steps, epoch after epoch."""
    step, epoch = 0, 0
    while step < steps:
        for rows in training_batches(
            lengths, settings.batch_size, settings.seed, epoch, settings.length_pool
        ):
            yield rows
            step += 1
            if step == steps:
                return
        epoch += 1


def micro_batches(
    rows: np.ndarray, micro_batch_size: int | None, world: int
) -> list[list[np.ndarray]]:
    """A step's rows cut into micro-batches, and those dealt to `world` processes in turn.

    Each process gets the same number of them (the accumulation), an empty one where they run out:
    sharded processes have to pass through the model together. Every row is dealt once.
    """
    size = min(micro_batch_size or len(rows), math.ceil(len(rows) / world))
    micro = [rows[i : i + size] for i in range(0, len(rows), size)]
    accumulation = math.ceil(len(micro) / world)
    micro += [rows[:0]] * (accumulation * world - len(micro))
    dealt = [micro[r::world] for r in range(world)]
    if sum(len(m) for own in dealt for m in own) != len(rows):
        raise RuntimeError(f"micro-batches of {size} x {world} processes lose rows of the batch")
    return dealt


def _scaled_loss(model, batch: Batch, losses, divisor: int, context):
    """Sum of the loss over a micro-batch's positions / divisor, ready for a backward pass.

    All logits at once where they fit one chunk of the head, or where it has to be (a head that does
    more than multiply, a loss that knows nothing else); else chunk by chunk.
    """
    from scripts.first.distributed.fsdp import within
    from scripts.first.models.head import chunk_length, chunked_loss, fits, linear_head

    head = linear_head(model) if hasattr(losses, "in_chunks") else None
    if head is None or fits(model, int(batch.counts.sum())):
        with context:
            logits = supervised_logits(model, batch)
        return losses(logits, batch).sum() / divisor

    def chunked(model):
        hidden = supervised_hidden(model, batch)
        parts = losses.in_chunks(batch, hidden.device, head.out_features)
        return chunked_loss(hidden, head.weight, parts, 1 / divisor, chunk_length(model))

    with context:
        return within(model, chunked)


def _backward(model, encoded, rows, losses, reduction, settings, pad_id, step) -> float:
    """Gradients of one optimiser step, micro-batch by micro-batch; return the step's loss."""
    import torch

    world = distributed.world()
    if reduction == "token_mean":
        divisor = sum(int((encoded[i].labels != NO_LABEL).sum()) for i in rows)
    else:
        divisor = len(rows)
    half = settings.dtype == "bfloat16" and world == 1 and not settings.offload_optimizer
    device = next(model.parameters()).device.type
    total, bad = 0.0, []
    for micro in micro_batches(rows, settings.micro_batch_size, world)[distributed.rank()]:
        batch = collate(encoded, micro if len(micro) else rows[:1], pad_id)
        context = torch.autocast(device, torch.bfloat16) if half else contextlib.nullcontext()
        loss = _scaled_loss(model, batch, losses, max(divisor, 1), context)
        if not len(micro):
            loss = 0 * loss
        if not math.isfinite(loss.item()):
            bad += [encoded[i].row_id for i in batch.rows]
            if world == 1:
                break
        # FSDP takes the mean over the processes; the divisor above is already that of all.
        (loss * world if world > 1 else loss).backward()
        total += loss.item()
    total, problems = distributed.totals(total, len(bad))
    if problems:
        names = ", ".join(itertools.chain(*distributed.gathered(bad)))
        distributed.fail(
            f"the loss is {total if world > 1 else loss.item()} at step {step + 1}: "
            f"rows {names}: {REMEDY}"
        )
    return total
