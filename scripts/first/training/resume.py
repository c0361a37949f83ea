"""What a training run needs to go on as if it had never stopped: written whole, read verified.

Each process keeps its own part of the float32 weights and of AdamW's two moments, and torch's
random state, in `step-N/process-R.safetensors`; the seal beside it holds the step, the schedule and
the loss curve. The order of the rows follows from the seed. A step counts when every process has
its part of it; the one before is removed only then.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from scripts.first.distributed import comm as distributed
from scripts.first.distributed.fsdp import like, local
from scripts.first.runtime.state import read_seal, seal_part, seconds_between_parts

MOMENTS = ("exp_avg", "exp_avg_sq")
SCHEDULE = ("last_epoch", "_step_count", "_last_lr")


def check_weights(model, step: int) -> None:
    """UserError, in every process, where a weight is not finite: a step can overflow them.

    Its loss and gradient were finite, and after the last step nothing else would notice.
    """
    bad = sum(not bool(local(p.detach()).isfinite().all()) for p in model.parameters())
    if distributed.totals(bad)[0]:
        distributed.fail(
            f"a weight is not finite after step {step}: no checkpoint was written; "
            "lower the learning rate"
        )


class TrainingState:
    """The state of one training run in a folder of `open_state`; without a folder it keeps none."""

    def __init__(self, folder: Path | None, model, optimizer, schedule):
        self.folder, self.model = folder, model
        self.optimizer, self.schedule = optimizer.adamw, schedule
        self.stepped = optimizer.named
        self.between = seconds_between_parts()
        self.saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self.folder is not None and time.monotonic() - self.saved_at >= self.between

    def save(self, step: int, curve: list[dict]) -> None:
        """Keep the state after `step` optimiser steps; every process has to call it."""
        if self.folder is None:
            return
        from safetensors.torch import save_file

        check_weights(self.model, step)

        schedule = self.schedule.state_dict()
        note = {"step": step, "curve": curve, "schedule": {k: schedule[k] for k in SCHEDULE}}
        folder = self.folder / f"step-{step:08d}"
        seal_part(self._part(folder), lambda path: save_file(self._tensors(), str(path)), note)
        distributed.gathered(step)  # all parts stand
        if distributed.is_main():
            for other in self.folder.glob("step-*"):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        self.saved_at = time.monotonic()

    def resume(self) -> tuple[int, list[dict]]:
        """Put the newest whole state in place; (steps done, loss curve), (0, []) without one."""
        if self.folder is None:
            return 0, []
        import torch
        from safetensors.torch import load_file

        from scripts.first.models.checkpoints import readable

        whole = {}
        for folder in sorted(self.folder.glob("step-*")):
            note = read_seal(self._part(folder))
            if note is not None:
                whole[note["step"]] = (self._part(folder), note)
        common = set.intersection(*map(set, distributed.gathered(sorted(whole))))
        if not common:
            return 0, []
        path, note = whole[max(common)]
        with readable(path):
            tensors = load_file(path)
        torch.set_rng_state(tensors["rng"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng_cuda"])
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                local(parameter).copy_(tensors[f"weight.{name}"])
            for name, parameter in self.stepped:
                if f"{MOMENTS[0]}.{name}" in tensors:
                    # A clone, because a view into the file's buffer would keep all of it.
                    moments = {
                        m: like(
                            parameter,
                            tensors[f"{m}.{name}"].to(local(parameter).device, copy=True),
                        )
                        for m in MOMENTS
                    }
                    done = torch.tensor(float(note["step"]))
                    self.optimizer.state[parameter] = {"step": done, **moments}
        self.schedule.load_state_dict({**self.schedule.state_dict(), **note["schedule"]})
        for group, rate in zip(
            self.optimizer.param_groups, note["schedule"]["_last_lr"], strict=True
        ):
            group["lr"] = rate
        if distributed.is_main():
            print(f"resumed at step {note['step']}: {self.folder}", file=sys.stderr)
        return note["step"], note["curve"]

    def _part(self, folder: Path) -> Path:
        return folder / f"process-{distributed.rank()}.safetensors"

    def _tensors(self) -> dict:
        import torch

        tensors = {"rng": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["rng_cuda"] = torch.cuda.get_rng_state()
        for name, parameter in self.model.named_parameters():
            tensors[f"weight.{name}"] = local(parameter.detach()).contiguous()
        for name, parameter in self.stepped:
            for moment in MOMENTS:
                if moment in self.optimizer.state.get(parameter, {}):
                    value = self.optimizer.state[parameter][moment]
                    tensors[f"{moment}.{name}"] = local(value).contiguous()
        return tensors
