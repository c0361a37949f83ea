"""Speed and peak memory of a training step, extraction and evaluation at real shapes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from benchmarks import plan_memory
from benchmarks.gpu.models import (
    Numbers,
    Place,
    architecture,
    random_model,
    random_questions,
    random_rows,
)
from benchmarks.gpu.rows import FAIL, FLAG, PASS, Row, reported, skipped
from first_distill.distributed import comm
from first_distill.distributed.fsdp import sharded_model, whole_model
from first_distill.knowledge.extraction import extract
from first_distill.models.encoding import encode_prompts
from first_distill.models.predictions import predict
from first_distill.plan.architecture import Architecture
from first_distill.plan.corpora import count
from first_distill.plan.memory import Batch, Training, reading_memory, training_memory
from first_distill.plan.planning import RESERVE
from first_distill.plan.work import forward_flops, training_flops
from first_distill.training.loop import train
from first_distill.training.losses import CrossEntropy
from first_distill.training.model import TrainingModel
from first_distill.training.settings import Settings

DTYPE, K, PAD, MAX_TOKENS = "bfloat16", 5, 0, 8192
MICRO_BATCHES = 2
TRAINING = Training(DTYPE, micro_batches=MICRO_BATCHES)
MEMORY = (0.8, 1.05)  # measured memory as a share of the plan's
# Seconds that the clock must have left, to begin: a shape, and its offloaded training.
NEEDED, OFFLOADED = 75.0, 45.0


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, the fastest; how many there were; largest memory of all."""

    seconds: float
    calls: int
    allocated: int
    reserved: int


@dataclass(frozen=True)
class Case:
    """A shape that is measured: its name, form and a note on it; the peak in operations a second.

    held: bytes of the GPU that are in use without it: the workspaces of matrix products.
    """

    place: Place
    name: str
    form: Architecture
    note: str
    peak: float
    held: int

    def noted(self, *words: str) -> str:
        """Some words and the note."""
        return ", ".join([*words, *filter(None, [self.note])])

    def planned(self, training: Training) -> float:
        """Bytes of a training by the plan."""
        rows_, length, positions = self.place.sizes.timed
        batch = Batch(rows_, length, rows_ * positions)
        return training_memory(self.form, batch, training).total


def rows(place: Place) -> Iterator[Row]:
    """Each shape, and on a CPU the memory of the plan's own benchmark."""
    if place.device == "cpu":
        yield cpu_memory()
    peak = yield from matmul(place)
    for number, (name, config) in enumerate(place.sizes.shapes):
        if place.clock.left() < NEEDED * (place.device == "cuda"):
            yield skipped(name, "speed and memory", f"{place.clock.left():.0f} s left")
            continue
        yield from shape(place, name, config, peak)
        if number == 0 and place.clock.left() < OFFLOADED * (place.device == "cuda"):
            yield skipped(name, "offloaded training", f"{place.clock.left():.0f} s left")
        elif number == 0:
            yield from offloaded(place, name, config, peak)


def matmul(place: Place) -> Iterator[Row]:
    """Operations a second of square bfloat16 products, which other shares are of."""
    size = place.sizes.matmul
    tokens, config = 8192, place.sizes.shapes[-1][1]
    wide = (
        (tokens if place.device == "cuda" else 256),
        *(config[name] for name in ("hidden_size", "intermediate_size")),
    )
    found = {}
    for what, (m, k, n) in {"square": (size,) * 3, "feed-forward": wide}.items():
        a = torch.randn(m, k, device=place.device).to(torch.bfloat16)
        b = torch.randn(k, n, device=place.device).to(torch.bfloat16)
        calls = 20

        def product(a=a, b=b, calls=calls) -> None:
            for _ in range(calls):
                a @ b

        timing = timed(place, product, place.sizes.seconds / 4)
        found[what] = 2 * m * k * n * calls / timing.seconds
        note = f"{m} x {k} x {n}"
        yield reported("matmul", f"{what} products in bfloat16, TFLOPS", found[what] / 1e12, note)
    return max(found.values())


def shape(place: Place, name: str, config: dict, peak: float) -> Iterator[Row]:
    """One shape: training in as many layers as fit, then extraction and evaluation."""
    place.free()
    config, case = fitting(place, name, config, peak)
    model = random_model(config, 7, place.device)
    yield from trained(case, model, TRAINING)
    reader = whole_model(model, None, DTYPE).eval()
    yield from read(case, reader)
    del model, reader
    place.free()


def fitting(place: Place, name: str, config: dict, peak: float) -> tuple[dict, Case]:
    """The shape with as many layers as its training fits in by the plan."""
    free = torch.cuda.mem_get_info()[0] * (1 - RESERVE) if place.device == "cuda" else math.inf
    most = config["num_hidden_layers"]
    for layers in range(most, 0, -1):
        fewer = {**config, "num_hidden_layers": layers}
        note = "" if layers == most else f"{layers} of {most} layers fit"
        case = Case(place, name, architecture(fewer, name), note, peak, place.held())
        if case.planned(TRAINING) <= free:
            break
    return fewer, case


def trained(case: Case, model, training: Training) -> Iterator[Row]:
    """Tokens a second of whole training steps, and their memory."""
    size, length, positions = case.place.sizes.timed
    encoded = random_rows(case.form.vocabulary, (size * MICRO_BATCHES, length, positions), 8)
    settings = Settings(
        epochs=3,  # a step each
        batch_size=len(encoded),
        micro_batch_size=size,
        learning_rate=1e-5,
        seed=0,
        dtype=DTYPE,
        offload_optimizer=training.offload,
    )
    what = "training, offloaded" if training.offload else "training"

    def steps() -> None:
        train(model, encoded, CrossEntropy(), settings, PAD, f"{case.name}, {what}")

    timing, counts = timed(case.place, steps, case.place.sizes.seconds), count(encoded)
    flops = training_flops(case.form, counts, settings.epochs, False)
    yield from told(case, what, timing, settings.epochs * counts.tokens, flops)
    yield from memory(case, what, timing, case.planned(training))


def read(case: Case, model) -> Iterator[Row]:
    """Tokens a second of extraction and evaluation, and their memory."""
    place, (size, length, positions) = case.place, case.place.sizes.timed
    encoded = random_rows(case.form.vocabulary, (8 * size, length, positions), 9)
    questions = random_questions(case.form.vocabulary, place.sizes.questions, 10)
    numbers = Numbers()
    stages: dict[str, tuple[Callable, list]] = {
        "extraction": (lambda: extract(model, encoded, K, PAD, MAX_TOKENS), encoded),
        "evaluation": (
            lambda: predict(model, questions, numbers, MAX_TOKENS),
            encode_prompts(questions, numbers),
        ),
    }
    for what, (call, read_rows) in stages.items():
        timing, counts = timed(place, call, place.sizes.seconds), count(read_rows)
        yield from told(case, what, timing, counts.tokens, sum(forward_flops(case.form, counts)))
        plan = reading_memory(case.form, counts, MAX_TOKENS, DTYPE, what).total
        yield from memory(case, what, timing, plan)


def offloaded(place: Place, name: str, config: dict, peak: float) -> Iterator[Row]:
    """Training with weights and optimizer in host memory."""
    folder = place.scratch / "timed"
    random_model(config, 7).save_pretrained(folder)
    case = Case(place, name, architecture(config, name), "", peak, place.held())
    training = replace(TRAINING, offload=True)
    try:
        model = sharded_model(folder, TrainingModel, DTYPE, True)
        yield from trained(case, model, training)
        del model
    finally:
        comm.leave()
        place.free()


def timed(place: Place, call: Callable[[], object], seconds: float) -> Timing:
    """Call once to warm up, then for so many seconds, at least once and while there is time."""
    place.free()
    if place.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    call()
    place.synchronise()
    found, begin = [], time.perf_counter()
    while not found or (
        time.perf_counter() - begin < seconds and place.clock.left() > 2 * found[-1]
    ):
        start = time.perf_counter()
        call()
        place.synchronise()
        found.append(time.perf_counter() - start)
    memory = (0, 0)
    if place.device == "cuda":
        memory = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return Timing(min(found), len(found), *memory)


def told(case: Case, what: str, timing: Timing, tokens: float, flops: float) -> Iterator[Row]:
    """Speed, and the share of the measured peak that its operations are."""
    note = case.noted(f"fastest of {timing.calls}")
    yield reported(case.name, f"{what}: tokens a second", tokens / timing.seconds, note)
    share = 100 * flops / timing.seconds / case.peak
    yield reported(case.name, f"{what}: % of the measured matmul peak", share, case.note)


def memory(case: Case, what: str, timing: Timing, plan: float) -> Iterator[Row]:
    """Allocated memory against the plan, which must not be exceeded, and what torch reserved."""
    if case.place.device == "cpu":
        return
    allocated, reserved = timing.allocated - case.held, timing.reserved
    what = f"{what}: allocated memory / plan"
    yield against_plan(case.name, what, allocated, plan, case.note)
    what = what.replace("allocated", "reserved")
    yield reported(case.name, what, reserved / plan, case.noted(f"{reserved / 1e9:.3g} GB"))


def against_plan(name: str, what: str, measured: float, plan: float, note: str = "") -> Row:
    """Fails above MEMORY; below it the plan is only generous, which is worth a look."""
    share = measured / plan
    verdict = FAIL if not share <= MEMORY[1] else FLAG if share < MEMORY[0] else PASS
    figures = f"{measured / 1e9:.3g} GB" + (f", {note}" if note else "")
    return Row(name, what, share, MEMORY, verdict, figures)


def cpu_memory() -> Row:
    """Without a GPU: a small case of `benchmarks.plan_memory`, in a process of its own."""
    case = plan_memory.Configuration("small", 2000, 192, 512, 8, 6, 6, 8, 96, 3, 2, False)
    measured, plan = plan_memory.measured(case), plan_memory.formula(case).total
    return against_plan("cpu", "training: resident memory / plan", measured, plan)
