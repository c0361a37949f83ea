"""The state of a training run, from which a stopped run continues to the same bytes.

Each process keeps its own shard of the float32 weights and of the optimizer's state, and torch's
random state, in `step-N/process-R.safetensors`; the seal beside it holds the step, the schedule and
the loss curve. The order of the rows follows from the seed. A step counts when every process has
its part of it; the one before is removed only then.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from scripts.first.distributed import comm
from scripts.first.distributed.fsdp import like, local
from scripts.first.models.checkpoints import readable
from scripts.first.runtime.state import read_seal, seal_part, seconds_between_parts
from scripts.first.training.optimizer import Optimizer


def check_weights(model, step: int) -> None:
    """Raise UserError, on every process, where a weight is not finite.

    A step can overflow weights although its loss and gradient were finite, and after the last step
    nothing else would notice.
    """
    bad = sum(not bool(local(p.detach()).isfinite().all()) for p in model.parameters())
    if comm.totals(bad)[0]:
        comm.fail(
            f"a weight is not finite after step {step}: no checkpoint was written; "
            "lower the learning rate"
        )


class TrainingState:
    """State in a folder of `open_state`; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, model, optimizer: Optimizer, schedule):
        self.folder, self.model, self.schedule = folder, model, schedule
        self.adamw, self.stepped = optimizer.adamw, optimizer.stepped
        self.interval = seconds_between_parts()
        self.saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self.folder is not None and time.monotonic() - self.saved_at >= self.interval

    def save(self, step: int, curve: list[dict]) -> None:
        """Save the state after `step` optimizer steps; every process has to call it."""
        if self.folder is None:
            return
        check_weights(self.model, step)
        note = {"step": step, "curve": curve, "schedule": self.schedule.state_dict()}
        folder = self.folder / f"step-{step:08d}"
        seal_part(self._part(folder), lambda path: save_file(self._tensors(), str(path)), note)
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
        complete = {}
        for folder in sorted(self.folder.glob("step-*")):
            note = read_seal(self._part(folder))
            if note is not None:
                complete[note["step"]] = (self._part(folder), note)
        common = set.intersection(*map(set, comm.gathered(sorted(complete))))
        if not common:
            return 0, []
        path, note = complete[max(common)]
        with readable(path):
            tensors = load_file(path)
        self._load(tensors, note["schedule"])
        if comm.is_main():
            print(f"resumed at step {note['step']}: {self.folder}", file=sys.stderr)
        return note["step"], note["curve"]

    def _part(self, folder: Path) -> Path:
        return folder / f"process-{comm.rank()}.safetensors"

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {"rng": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["rng_cuda"] = torch.cuda.get_rng_state()
        for name, parameter in self.model.named_parameters():
            tensors[f"weight.{name}"] = local(parameter.detach()).contiguous()
        for index, state in self.adamw.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"adamw.{index}.{name}"] = local(value).contiguous()
        return tensors

    def _load(self, tensors: dict[str, torch.Tensor], schedule: dict) -> None:
        torch.set_rng_state(tensors["rng"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng_cuda"])
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                local(parameter).copy_(tensors[f"weight.{name}"])
        moments: dict[int, dict] = {}
        for key in [key for key in tensors if key.startswith("adamw.")]:
            _, index, name = key.split(".")
            parameter = self.stepped[int(index)]
            device = "cpu" if name == "step" else local(parameter).device
            # Copied, because a view into the file's buffer would keep all of it.
            value = tensors.pop(key).to(device, copy=True)
            moments.setdefault(int(index), {})[name] = (
                value if name == "step" else like(parameter, value)
            )
        self.schedule.load_state_dict(schedule)
        groups = self.adamw.state_dict()["param_groups"]
        for group, rate in zip(groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        self.adamw.load_state_dict({"state": moments, "param_groups": groups})
