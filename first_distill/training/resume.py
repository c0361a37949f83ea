"""The state of a training run, from which a stopped run continues to the same bytes.

Each process keeps its own shard of the float32 weights and of the optimizer's state, and torch's
random state, in `step-N/process-R.safetensors`; the seal beside it holds the step, the schedule and
the loss curve. The order of the rows follows from the seed. A step counts when every process has
its part of it; the one before is removed only then.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from first_distill.distributed import comm
from first_distill.distributed.fsdp import local
from first_distill.models.loading import readable
from first_distill.runtime.state import open_state, read_seal, seal_part, seconds_between_parts

MOMENTS = ("exp_avg", "exp_avg_sq")


def open_training_state(arguments: argparse.Namespace, record: dict) -> Path | None:
    """The folder of this run's state, or None without --state-dir.

    It is keyed by the checkpoint's record so far, the number of threads and the kind of device.
    """
    if arguments.state_dir is None:
        return None
    facts = {**record, "threads": os.environ.get("OMP_NUM_THREADS", "1")}
    facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return comm.from_main(lambda: open_state(arguments.state_dir, facts))


def check_weights(model, step: int) -> None:
    """Raise UserError, on every process, where a weight is not finite.

    A step can overflow weights although its loss and gradient were finite, and after the last step
    nothing else would notice.
    """
    bad = sum(not bool(local(p.detach()).isfinite().all()) for p in model.parameters())
    if comm.totals(bad)[0]:
        comm.fail(
            f"a weight is not finite after step {step}: no checkpoint was written: "
            "lower the learning rate"
        )


class TrainingState:
    """State in a folder of `open_state`; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, model, optimizer: torch.optim.AdamW, schedule):
        self.folder, self.model = folder, model
        self.optimizer, self.schedule = optimizer, schedule
        self.interval = seconds_between_parts()
        self.saved_at = time.monotonic()
        self.part = f"process-{comm.rank()}.safetensors"

    def due(self) -> bool:
        """Whether the next save is due."""
        return self.folder is not None and time.monotonic() - self.saved_at >= self.interval

    def save(self, step: int, curve: list[dict]) -> None:
        """Save the state after `step` optimizer steps; every process has to call it."""
        if self.folder is None:
            return
        check_weights(self.model, step)
        note = {"step": step, "curve": curve, "schedule": self.schedule.state_dict()}
        folder = self.folder / f"step-{step:08d}"
        seal_part(folder / self.part, lambda path: save_file(self._tensors(), str(path)), note)
        comm.gathered(step)  # all parts are complete
        if comm.is_main():
            for other in self.folder.glob("step-*"):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        self.saved_at = time.monotonic()

    def resume(self) -> tuple[int, list[dict]]:
        """Load the newest complete state; (steps done, loss curve), (0, []) without one."""
        if self.folder is None:
            return 0, []
        parts = {path.parent.name: path for path in self.folder.glob(f"step-*/{self.part}")}
        notes = {step: note for step, path in parts.items() if (note := read_seal(path))}
        common = set.intersection(*map(set, comm.gathered(list(notes))))
        if not common:
            return 0, []
        newest = max(common)
        note = notes[newest]
        with readable(parts[newest], advice="delete it and run it again"):
            self._load(load_file(parts[newest]))
        self.schedule.load_state_dict(note["schedule"])
        self.optimizer.param_groups[0]["lr"] = self.schedule.get_last_lr()[0]
        if comm.is_main():
            print(f"resumed at step {note['step']}: {self.folder}", file=sys.stderr)
        return note["step"], note["curve"]

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {"rng": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["rng_cuda"] = torch.cuda.get_rng_state()
        for name, parameter in self.model.named_parameters():
            state = {"weight": parameter.detach(), **self.optimizer.state[parameter]}
            for kind, value in state.items():
                tensors[f"{kind}.{name}"] = local(value).contiguous()
        return tensors

    def _load(self, tensors: dict[str, torch.Tensor]) -> None:
        torch.set_rng_state(tensors["rng"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng_cuda"])
        for name, parameter in self.model.named_parameters():
            weight, state = parameter.detach(), self.optimizer.state[parameter]
            local(weight).copy_(tensors[f"weight.{name}"])
            if f"step.{name}" in tensors:  # otherwise it had no gradient yet
                state["step"] = tensors[f"step.{name}"].to(weight.device)
                for moment in MOMENTS:
                    state[moment] = torch.zeros_like(weight)
                    local(state[moment]).copy_(tensors[f"{moment}.{name}"])
