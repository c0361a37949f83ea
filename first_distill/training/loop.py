"""The training loop of base models, teachers and students.

AdamW (0.9, 0.999, eps 1e-6), cosine decay after 3 % warm-up, last checkpoint, no selection. The
global batch is cut into micro-batches, spread over the processes where there are several, whose
gradients add up to exactly that of the whole batch. Weights, gradients and the optimizer are
float32; dtype bfloat16 is that of the layers' arithmetic, and of the checkpoint.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import torch
from transformers import get_cosine_schedule_with_warmup

from first_distill.distributed import comm
from first_distill.distributed.fsdp import is_sharded
from first_distill.errors import few
from first_distill.models.batching import training_batches
from first_distill.models.encoding import EncodedRow
from first_distill.models.inference import require_positions
from first_distill.runtime.progress import progress
from first_distill.runtime.signals import StopRequest
from first_distill.training.model import TrainingModel
from first_distill.training.resume import TrainingState, check_weights
from first_distill.training.settings import Settings


def train(
    model,
    encoded: list[EncodedRow],
    loss,
    settings: Settings,
    pad_id: int,
    what: str,
    state: Path | None = None,
) -> list[dict]:
    """Train in place; return the loss curve as [{step, loss, learning_rate}], below 100 points.

    model: a causal language model, or a sharded TrainingModel. loss: CrossEntropy or KnowledgeLoss.
    what: the model's name in messages. state: folder to resume from and to save to, by time and on
    SIGTERM or SIGUSR1. UserError where loss, gradient (naming rows of the step) or a weight is not
    finite, and after a SIGTERM or SIGINT.
    """
    sharded = is_sharded(model)
    root = model if sharded else TrainingModel(model)
    require_positions(root.model, encoded)
    steps = max(1, round(math.ceil(len(encoded) / settings.batch_size) * settings.epochs))
    optimizer = torch.optim.AdamW(
        root.parameters(),
        lr=settings.learning_rate,
        eps=settings.adam_eps,
        weight_decay=settings.weight_decay,
        fused=True,  # one call, without temporary copies
    )
    warmup = math.ceil(settings.warmup_ratio * steps)
    schedule = get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    if settings.gradient_checkpointing:
        if not root.model.supports_gradient_checkpointing:
            kind = type(root.model).__name__
            comm.fail(
                f"gradient_checkpointing: {what}: {kind} does not support it: set it to false"
            )
        root.model.activation_checkpointing_enable({"use_reentrant": False})
    root.train()
    kept = TrainingState(state, root, optimizer, schedule)
    done, curve = kept.resume()
    every, quiet = max(1, steps // 50), not comm.is_main()
    order = itertools.islice(_batches(encoded, settings), done, steps)
    with StopRequest() as asked, progress(what, steps, "step", done=done, quiet=quiet) as advance:
        for step, rows in enumerate(order, done + 1):
            value = backward(root, rows, loss, settings, pad_id)
            norm = torch.nn.utils.clip_grad_norm_(root.parameters(), settings.max_grad_norm)
            norm = (norm.full_tensor() if sharded else norm).item()
            # A finite loss does not imply a finite gradient.
            if not (math.isfinite(value) and math.isfinite(norm)):
                bad = f"gradient is {norm}" if math.isfinite(value) else f"loss is {value}"
                comm.fail(
                    f"the {bad} at step {step}: rows {few([row.row_id for row in rows])}: {what}: "
                    "no checkpoint was written: lower the learning rate or inspect the step's rows"
                )
            rate = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if (step - 1) % every == 0 or step == steps:
                curve.append({"step": step, "loss": value, "learning_rate": rate})
            advance(1, f"loss {value:.4f}")
            if step < steps:
                save_if_asked(kept, asked, step, steps, curve, what=what)
    check_weights(root, steps)
    root.eval()
    return curve


def save_if_asked(
    kept: TrainingState, asked: StopRequest, step: int, steps: int, curve: list[dict], what: str
) -> None:
    """Save when it is time or a signal asks, all processes as one; UserError if one asks to stop.

    what: the model's name in the message.
    """
    stop, save = (value > 0 for value in comm.totals(asked.stop, asked.save or kept.due()))
    if save or stop:  # a signal may arrive between the two readings
        kept.save(step, curve)
        asked.save = False
    if stop:
        saved = "its state is saved" if kept.folder else "it keeps no state (--state-dir)"
        comm.fail(f"stopped after step {step} of {steps}: {what}: {saved}: run it again")


def backward(root, rows: list[EncodedRow], loss, settings: Settings, pad_id: int) -> float:
    """Add the gradients of one optimizer step, micro-batch by micro-batch; return its loss."""
    world, divisor = comm.world(), loss.divisor(rows)
    half = settings.dtype == "bfloat16" and not is_sharded(root)
    total = 0.0
    for micro in micro_batches(rows, settings.micro_batch_size, world)[comm.rank()]:
        value = root(micro or rows[:1], loss, pad_id, half) / divisor
        if not micro:  # sharded processes have to pass through the model together
            value = 0 * value
        total += value.item()
        # FSDP takes the mean over the processes; the divisor above is already that of all.
        (value * world).backward()
    return comm.totals(total)[0]


def micro_batches(rows: list, micro_batch_size: int | None, world: int) -> list[list[list]]:
    """A step's rows cut into micro-batches, and those dealt to `world` processes in turn.

    Each process gets the same number of them (the accumulation), an empty one where they run out:
    sharded processes have to pass through the model together. Every row is dealt once.
    """
    size = min(micro_batch_size or len(rows), math.ceil(len(rows) / world))
    micro = [rows[i : i + size] for i in range(0, len(rows), size)]
    micro += [[]] * (-len(micro) % world)
    return [micro[rank::world] for rank in range(world)]


def _batches(encoded: list[EncodedRow], settings: Settings):
    """Rows of each optimizer step, epoch after epoch, without end."""
    lengths = np.asarray([len(row.input_ids) for row in encoded])
    for epoch in itertools.count():
        for batch in training_batches(
            lengths, settings.batch_size, settings.seed, epoch, settings.length_pool
        ):
            yield [encoded[i] for i in batch]
