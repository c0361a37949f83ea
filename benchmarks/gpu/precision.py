"""A training step, extraction and evaluation on the device against the CPU in float32."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.gpu.models import Numbers, Place, random_model, random_questions, random_rows
from benchmarks.gpu.rows import Row, equal, skipped, within
from benchmarks.gpu.tolerances import FLOAT32, Tolerance, tolerance
from first_distill.distributed.fsdp import whole_model
from first_distill.knowledge.extraction import extract
from first_distill.knowledge.store import KnowledgeStore, positions_of
from first_distill.models.encoding import EncodedRow
from first_distill.models.inference import iterate_logits
from first_distill.models.predictions import predict
from first_distill.training.knowledge_loss import KnowledgeLoss
from first_distill.training.loop import train
from first_distill.training.losses import CrossEntropy
from first_distill.training.settings import Settings

DTYPES = ("float32", "bfloat16")
K, C, MAX_TOKENS, PAD, RATE = 5, 0.3, 1024, 0, 1e-3
# Rows of a forward pass: with labels a few, whose logits are made at once; with knowledge all of
# them, whose logits are more than a chunk.
MICRO = {"labels": 4, "knowledge": None}
NORM = 1e-3
HALF_SECONDS = 60  # that bfloat16 may take on the CPU


@dataclass(frozen=True)
class Step:
    """A training step: its loss; the gradient in one vector on the CPU, before it is clipped.

    update: largest error of an updated weight, as a share of its tolerance.
    """

    loss: float
    gradient: torch.Tensor
    update: float


@dataclass(frozen=True)
class Outcome:
    """All numbers of one computation: a store's arrays, candidates' log-probs, steps by loss."""

    arrays: dict[str, np.ndarray]
    candidates: np.ndarray
    steps: dict[str, Step]


def rows(place: Place, tested=None) -> Iterator[Row]:
    """Both dtypes against the CPU; `tested`: the model of the device, if it is not the CPU's."""
    yield tf32(place)
    sizes, model = place.sizes, compared_model(place)
    vocabulary, widest = model.config.vocab_size, model.config.intermediate_size
    encoded = random_rows(vocabulary, sizes.compared, 2)
    questions = random_questions(vocabulary, (12, sizes.compared[1]), 3)
    logits = reference_logits(model, encoded)
    spread = float(logits.std(dim=1).square().mean().sqrt())
    knowledge = extract(model, encoded, K, PAD, MAX_TOKENS)
    work = encoded, questions, knowledge
    expected = outcome(model, work, "cpu", "float32")
    tested = tested or model
    for dtype in DTYPES:
        found = outcome(tested, work, place.device, dtype)
        bound = tolerance(sizes.layers, max(widest, len(logits)), spread, dtype, 1)
        yield from read(dtype, found, expected, logits, bound)
        yield from stepped(dtype, found, expected, encoded, bound)
        if dtype == "bfloat16" and (wait := half_seconds(model, encoded)) > HALF_SECONDS:
            yield skipped("bfloat16", "errors against the CPU's own", f"{wait:.0f} s on this CPU")
        elif dtype == "bfloat16":
            yield from sizes_of_errors(found, outcome(model, work, "cpu", dtype), expected)
        place.free()


def compared_model(place: Place):
    """The model whose numbers are compared: wide as the first shape, of fewer layers."""
    return random_model({**place.sizes.shapes[0][1], "num_hidden_layers": place.sizes.layers}, 1)


def tf32(place: Place) -> Row:
    """float32 products are of float32: a factor of 1 + 2^-12 survives, which TF32 rounds to 1."""
    size = place.sizes.matmul // 8
    factor = torch.full((size, size), 1 + 2.0**-12, device=place.device)
    product = factor @ torch.eye(size, device=place.device)
    return equal("float32", "products rounded to TF32", int((product != factor).sum()))


def reference_logits(model, encoded: list[EncodedRow]) -> torch.Tensor:
    """float32 logits (N, V) at the supervised positions, in the order of the rows."""
    offsets = np.cumsum([0, *(len(row.labels) for row in encoded)])
    logits = torch.empty(offsets[-1], model.config.vocab_size)
    for batch, values in iterate_logits(model, encoded, PAD, MAX_TOKENS, what="reference"):
        logits[positions_of(offsets, batch.rows)] = values.cpu()
    return logits


def outcome(model, work: tuple, device: str, dtype: str) -> Outcome:
    """Everything that jobs compute with a model, on a device and in a dtype."""
    encoded, questions, knowledge = work
    reader = whole_model(copy.deepcopy(model).to(device), None, dtype).eval()
    arrays = extract(reader, encoded, K, PAD, MAX_TOKENS)
    candidates, *_ = predict(reader, questions, Numbers(), MAX_TOKENS)
    del reader
    matching = KnowledgeLoss(KnowledgeStore(knowledge, {}), K, "prob_softmax", {"c": C})
    losses = {"labels": CrossEntropy(), "knowledge": matching}
    steps = {
        name: step(copy.deepcopy(model).to(device), encoded, losses[name], dtype, micro)
        for name, micro in MICRO.items()
    }
    return Outcome(arrays, candidates, steps)


def step(model, encoded: list[EncodedRow], loss, dtype: str, micro: int | None) -> Step:
    """One step of the training loop on all rows, with the gradient that it clips and applies."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    gradients = {}

    def keep(name: str):
        return lambda parameter: gradients.update({name: parameter.grad.clone()})

    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(keep(name))
    settings = Settings(
        epochs=1,
        batch_size=len(encoded),
        micro_batch_size=micro,
        learning_rate=RATE,
        warmup_ratio=0.0,
        weight_decay=0.01,
        seed=0,
        dtype=dtype,
    )
    curve = train(model, encoded, loss, settings, PAD, f"a step in {dtype}")
    after = dict(model.named_parameters())
    update = update_error(before, gradients, after, settings)
    flat = torch.cat([gradients[name].flatten().cpu() for name in before])
    return Step(curve[0]["loss"], flat, update)


def update_error(before: dict, gradients: dict, after: dict, settings: Settings) -> float:
    """Largest error of a weight after AdamW's first step, as a share of its tolerance.

    In float64, from the gradient that the step was given: moments without history are the clipped
    gradient g and its square, so w' = (1 - rate decay) w - rate g / (|g| + eps). The decay's factor
    and the weight are rounded, the latter twice; 16 roundings are left for the step. The norm that
    clips is torch's, a float32 sum of many squares, which itself may be off by NORM.
    """
    norm = float(torch.nn.utils.get_total_norm(gradients.values()))
    exact = math.sqrt(sum(g.double().square().sum().item() for g in gradients.values()))
    clip, rate = min(1.0, settings.max_grad_norm / (norm + 1e-6)), settings.learning_rate
    worst = [abs(norm / exact - 1) / NORM]
    for name, weight in before.items():
        gradient = gradients[name].double() * clip
        wanted = weight.double() * (1 - rate * settings.weight_decay)
        wanted -= rate * gradient / (gradient.abs() + settings.adam_eps)
        allowed = FLOAT32 * (3 * weight.double().abs() + 16 * rate)
        worst.append(((after[name].detach().double() - wanted).abs() / allowed).max().item())
    return float(np.max(worst))  # unlike max, it keeps a NaN


def read(
    dtype: str, found: Outcome, expected: Outcome, logits: torch.Tensor, bound: Tolerance
) -> Iterator[Row]:
    """Extraction and evaluation."""
    stored = {name: expected.arrays[name].astype(np.float64) for name in ("log_probs", "log_tail")}
    apart = {name: np.abs(found.arrays[name] - stored[name]).max() for name in stored}
    largest = {name: float(np.abs(stored[name]).max()) for name in stored}
    limit = bound.of_largest(largest["log_probs"])
    yield within(dtype, "extraction: log-probabilities, rank by rank", apart["log_probs"], limit)
    ids = [torch.from_numpy(o.arrays["ids"].astype(np.int64)) for o in (found, expected)]
    gaps = (logits.gather(1, ids[0]) - logits.gather(1, ids[1])).abs()
    swaps = f"{int((ids[0] != ids[1]).sum())} of {ids[0].numel()} ids differ"
    yield within(
        dtype, "extraction: gap between ids that changed places", gaps.max(), bound.swap, swaps
    )
    # A logit in the tail counts the more, the smaller the tail: both sides of it are bounded.
    limit = 2 * bound.of_largest(largest["log_tail"])
    yield within(dtype, "extraction: log of the tail", apart["log_tail"], limit)
    apart = np.abs(found.candidates - expected.candidates).max()
    yield within(dtype, "evaluation: candidates' log-probabilities", apart, bound.of_largest())


def stepped(
    dtype: str, found: Outcome, expected: Outcome, encoded: list[EncodedRow], bound: Tolerance
) -> Iterator[Row]:
    """Loss, gradient, its norm, and the weights after the step."""
    positions = sum(len(row.labels) for row in encoded)
    divisors = {"labels": positions, "knowledge": len(encoded)}
    for name, one in found.steps.items():
        wanted, what = expected.steps[name], f"step on {name}"
        limit = bound.loss(wanted.loss, positions, divisors[name])
        yield within(dtype, f"{what}: loss", abs(one.loss - wanted.loss), limit)
        norms = [float(s.gradient.double().norm()) for s in (one, wanted)]
        apart = float((one.gradient - wanted.gradient).double().norm()) / norms[1]
        yield within(dtype, f"{what}: gradient, relative", apart, bound.gradient)
        apart = abs(norms[0] / norms[1] - 1)
        yield within(dtype, f"{what}: gradient norm, relative", apart, bound.gradient)
        yield within(dtype, f"{what}: weights against AdamW of its gradient", one.update, 1.0)


def half_seconds(model, encoded: list[EncodedRow]) -> float:
    """What bfloat16 would take on this CPU: some have no such products, and emulate them slowly."""
    one = torch.ones(1024, 1024, dtype=torch.bfloat16)
    one @ one
    start = time.perf_counter()
    one @ one
    rate = 2 * 1024**3 / (time.perf_counter() - start)
    tokens = sum(len(row.input_ids) for row in encoded)
    # Two steps of three passes each, one extraction, and as much as one pass for the questions.
    return 8 * 2 * model.num_parameters() * tokens / rate


def sizes_of_errors(found: Outcome, own: Outcome, expected: Outcome) -> Iterator[Row]:
    """Errors of bfloat16 on the device as a share of the CPU's own: both round as often.

    A factor of 2 is left for what the two round at other places.
    """

    def ratio(pick) -> float:
        values = [np.asarray(pick(o), dtype=np.float64) for o in (found, own, expected)]
        errors = [np.sqrt(np.square(v - values[2]).mean()) for v in values[:2]]
        return errors[0] / errors[1]

    what = "errors as a share of the CPU's own in bfloat16"
    picks = {"log-probabilities": lambda o: o.arrays["log_probs"]}
    picks["candidates"] = lambda o: o.candidates
    for name in MICRO:
        picks[f"gradient, {name}"] = lambda o, name=name: o.steps[name].gradient
    for name, pick in picks.items():
        yield within("bfloat16", f"{what}: {name}", ratio(pick), 2.0)
