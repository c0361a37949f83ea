"""One training several times: again, sharded, offloaded, stopped and resumed."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.models import Place, random_model, random_rows
from benchmarks.gpu.rows import Row, equal, within
from benchmarks.gpu.tolerances import tolerance
from first_distill.distributed import comm
from first_distill.distributed.fsdp import sharded_model, whole_model
from first_distill.errors import UserError
from first_distill.knowledge.extraction import extract
from first_distill.models.encoding import EncodedRow
from first_distill.models.inference import iterate_logits
from first_distill.training.loop import train
from first_distill.training.losses import CrossEntropy
from first_distill.training.model import TrainingModel
from first_distill.training.settings import Settings

STEPS, STOP, PAD, RATE = 6, 3, 0, 3e-5
KINDS = ("plain", "offloaded")


@dataclass(frozen=True)
class Run:
    """Losses (STEPS,) of a training, and its weights as bytes in float32, by name."""

    losses: list[float]
    weights: dict[str, np.ndarray]


class StopAt(CrossEntropy):
    """Cross-entropy during whose nth step this process is sent SIGTERM, as Slurm would."""

    def __init__(self, step: int):
        self.left = step

    def divisor(self, rows: list[EncodedRow]) -> int:
        """That of cross-entropy; it is asked for once a step."""
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGTERM)
        return super().divisor(rows)


class Trainings:
    """A base model, in memory and as a checkpoint, and one training of it."""

    def __init__(self, place: Place):
        config = {**place.sizes.shapes[0][1], "num_hidden_layers": place.sizes.layers}
        self.place, self.config = place, config
        self.model = random_model(config, 4)
        self.encoded = random_rows(config["vocab_size"], place.sizes.trained, 5)
        self.folder = place.scratch / "trained"
        self.model.save_pretrained(self.folder)

    def run(self, kind: str, dtype: str, loss=None, state: Path | None = None) -> Run:
        """STEPS steps on half of the rows each. kind: plain, sharded or offloaded."""
        settings = Settings(
            epochs=STEPS / 2,
            batch_size=len(self.encoded) // 2,
            learning_rate=RATE,
            seed=6,
            dtype=dtype,
            offload_optimizer=kind == "offloaded",
        )
        torch.manual_seed(settings.seed)
        if kind == "plain":
            model = copy.deepcopy(self.model).to(self.place.device)
        else:
            model = sharded_model(self.folder, TrainingModel, dtype, settings.offload_optimizer)
        loss = loss or CrossEntropy()
        curve = train(model, self.encoded, loss, settings, PAD, f"{kind}, {dtype}", state)
        whole = whole_model(model, self.folder, "float32")
        weights = {name: p.detach().cpu().numpy() for name, p in whole.named_parameters()}
        del model, whole
        self.place.free()
        return Run([point["loss"] for point in curve], weights)

    def resumed(self, kind: str, dtype: str, between: Callable[[Path], None] | None) -> Run:
        """The same, stopped after STOP steps and started again from its state."""
        state = self.place.scratch / "state" / kind
        try:
            self.run(kind, dtype, StopAt(STOP), state)
        except UserError as stopped:
            if f"stopped after step {STOP}" not in str(stopped):
                raise
        if between:
            between(state)
        self.place.free()
        return self.run(kind, dtype, state=state)


def rows(place: Place, between: Callable[[Path], None] | None = None) -> Iterator[Row]:
    """Determinism, resuming and sharding; `between` is called with the state of a stopped run."""
    trainings = Trainings(place)
    try:
        first = {kind: trainings.run(kind, "bfloat16") for kind in KINDS}
        for kind, run in first.items():
            again = trainings.run(kind, "bfloat16")
            yield same("determinism", f"{STEPS} steps in bfloat16 twice, {kind}", again, run)
        yield from extracted_twice(trainings)
        for kind, run in first.items():
            resumed = trainings.resumed(kind, "bfloat16", between)
            what = f"stopped at step {STOP} of {STEPS} and resumed, {kind}"
            yield same("resume", what, resumed, run)
        yield from sharded(trainings, first)
    finally:
        comm.leave()


def same(name: str, what: str, one: Run, other: Run) -> Row:
    """A row of how many losses and tensors differ by a bit."""
    tensors = sum(not np.array_equal(one.weights[n], w) for n, w in other.weights.items())
    losses = sum(a != b for a, b in zip(one.losses, other.losses, strict=True))
    count = len(other.losses) + len(other.weights)
    return equal(name, f"{what}: losses and tensors that differ", losses + tensors, f"of {count}")


def extracted_twice(trainings: Trainings) -> Iterator[Row]:
    """The store's arrays of two extractions."""
    model = copy.deepcopy(trainings.model).to(trainings.place.device)
    model = whole_model(model, None, "bfloat16").eval()
    one, other = (extract(model, trainings.encoded, 5, PAD, 4096) for _ in range(2))
    differing = sum(int((one[name] != other[name]).sum()) for name in one)
    yield equal("determinism", "extraction in bfloat16 twice: numbers that differ", differing)


def sharded(trainings: Trainings, first: dict[str, Run]) -> Iterator[Row]:
    """FSDP2 in one process, with and without offloading, against the plain run: losses."""
    model = copy.deepcopy(trainings.model).to(trainings.place.device)
    pieces = iterate_logits(model, trainings.encoded[:4], PAD, 4096, what="spread")
    spread = max(float(logits.std(dim=1).max()) for _, logits in pieces)
    del model, pieces
    half = trainings.encoded[: len(trainings.encoded) // 2]
    positions = sum(len(row.labels) for row in half)
    inner = max(trainings.config["intermediate_size"], sum(len(row.input_ids) for row in half))
    for dtype in ("float32", "bfloat16"):
        runs = dict(first) if dtype == "bfloat16" else {}
        for kind in ("plain", "sharded", "offloaded"):
            runs[kind] = runs.get(kind) or trainings.run(kind, dtype)
        plain = runs.pop("plain")
        bound = tolerance(trainings.config["num_hidden_layers"], inner, spread, dtype)
        for kind, run in sorted(runs.items(), reverse=True):
            # The step that is worst, in proportion to its own tolerance.
            apart = []
            for loss, wanted in zip(run.losses, plain.losses, strict=True):
                limit = bound.loss(wanted, positions, positions, plain.losses[0] - wanted)
                apart.append((abs(loss - wanted), limit))
            worst = max(apart, key=lambda pair: pair[0] / pair[1])
            equal_bits = run.losses == plain.losses and all(
                np.array_equal(run.weights[n], w) for n, w in plain.weights.items()
            )
            note = f"{plain.losses[0]:.3f} to {plain.losses[-1]:.3f}"
            note += ", equal to the bit" if equal_bits else ", not to the bit"
            what = f"losses of {STEPS} steps in {dtype}, {kind} against plain"
            yield within("sharding", what, *worst, note)
