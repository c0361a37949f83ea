"""A student's step against full logits, and against hard labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Row, costs, interleave, isolated, rates
from benchmarks.points import VOCABULARIES, Bench, TinyBench
from benchmarks.work import encoded_rows, loaded, synchronise, tokenizer_of, tokens_of
from first_distill.knowledge.store import KnowledgeStore, write_store
from first_distill.models.batching import collate
from first_distill.models.encoding import EncodedRow
from first_distill.models.inference import supervised_hidden, supervised_logits
from first_distill.training.knowledge_loss import KnowledgeLoss
from first_distill.training.loop import backward
from first_distill.training.losses import CrossEntropy
from first_distill.training.model import TrainingModel
from first_distill.training.settings import Settings

K, C = 5, 0.3
SETTINGS = Settings(epochs=1, batch_size=32, learning_rate=2e-5, seed=1)
SPEED, MEMORY, LABELS = 1.5, 0.5, 1.05


def rows(bench: Bench) -> Iterator[Row]:
    """Time and memory at both vocabularies."""
    first, second = VOCABULARIES
    yield from against_full_logits(bench, f"CSQA, V = {first:,}", first, (SPEED, MEMORY))
    yield from against_full_logits(bench, f"CSQA, V = {second:,}", second, (None, None))
    tiny = TinyBench(bench.scratch)
    scale = f"tiny scale, V = {tiny.vocabulary:,}"
    yield from against_full_logits(tiny, f"CSQA, {scale}", tiny.vocabulary, (None, None))
    for dataset in ("csqa", "alpaca"):
        yield from against_labels(bench, dataset, f"{dataset}, V = {first:,}")
        yield from against_labels(tiny, dataset, f"{dataset}, {scale}")


def against_full_logits(bench: Bench, point: str, vocabulary: int, bars: tuple) -> Iterator[Row]:
    """Rates and memory against full logits; `bars` of the two, None for no bar."""
    batch = encoded_rows(bench, "csqa", SETTINGS.batch_size)
    step = Step(bench, batch, bench.model(vocabulary))
    step.learns = False
    ours, theirs = step.ours(step.knowledge), step.full_logits()
    step.learns = True
    if not np.allclose(ours, theirs, rtol=1e-4):
        raise RuntimeError(f"loss and gradient norm {ours}, with full logits {theirs}")
    calls = {"ours": lambda: step.ours(step.knowledge), "theirs": step.full_logits}
    seconds = a_step(bench, calls)
    name = f"4 student step against full logits: {point}"
    yield rates(name, tokens_of(batch), "tokens/s", seconds, bars[0])
    peaks: dict[str, list[float]] = {"ours": [], "full_logits": []}
    for _ in range(2):  # byte counts barely vary
        for kind, found in peaks.items():
            place = {"scratch": str(bench.scratch), "tiny": isinstance(bench, TinyBench)}
            result = isolated("benchmarks.student:peak", **place, v=vocabulary, kind=kind)
            found.append(result["tensors"] / 1e6)
    name = f"4 student step, peak memory: {point}"
    yield costs(name, peaks["ours"], peaks["full_logits"], "MB", bars[1])


def peak(scratch: str, tiny: bool, v: int, kind: str) -> dict:
    """Largest memory of two steps above that of the imports: weights, moments and all."""
    from benchmarks.isolated import Peak

    bench = (TinyBench if tiny else Bench)(Path(scratch))
    batch = encoded_rows(bench, "csqa", SETTINGS.batch_size)
    step = Step(bench, batch, bench.model(v))
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()
    with Peak() as found:
        for _ in range(2):
            step.ours(step.knowledge) if kind == "ours" else step.full_logits()
    states = 16 * sum(p.numel() for p in step.model.parameters())
    above = states + found.above - 3 * states // 4  # gradients and moments came within
    return {"tensors": torch.cuda.max_memory_allocated() if bench.cuda else above}


def against_labels(bench: Bench, dataset: str, point: str) -> Iterator[Row]:
    """The limit: the same rows and positions, trained on labels with torch's own loss."""
    batch = encoded_rows(bench, dataset, SETTINGS.batch_size)
    step = Step(bench, batch, bench.model())
    calls = {
        "ours": lambda: step.ours(step.knowledge),
        "labels": lambda: step.ours(CrossEntropy()),
        "torch": step.dense_labels,
        "body": step.body,
    }
    seconds = a_step(bench, calls)
    for name, rival, at_most in (
        (f"5 student step against hard labels: {point}", "labels", LABELS),
        (f"5 student step against hard labels, all logits at once: {point}", "torch", LABELS),
        (f"5 student step against its body alone: {point}", "body", None),
    ):
        yield costs(name, seconds["ours"], seconds[rival], "s", at_most)


def a_step(bench: Bench, calls: dict[str, Callable]) -> dict[str, list[float]]:
    """Seconds of one step in each way; of tiny ones, of many at a time."""
    times = 25 if isinstance(bench, TinyBench) else 1
    many = {name: lambda c=call: [c() for _ in range(times)] for name, call in calls.items()}
    return {name: [s / times for s in found] for name, found in interleave(many).items()}


class Step:
    """One optimiser step on a fixed batch, in several ways."""

    def __init__(self, bench: Bench, batch: list[EncodedRow], folder: Path):
        self.learns = True
        self.batch, self.pad = batch, tokenizer_of(bench).eos_id
        self.model = loaded(folder).train()
        self.store = self._store(bench.scratch / "stores" / folder.name)
        # Eq. 5 with Eq. 4's targets, as `first_ts` has it.
        self.knowledge = KnowledgeLoss(self.store, K, "prob_softmax", {"c": C})
        self.training_model = TrainingModel(self.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=SETTINGS.learning_rate, eps=SETTINGS.adam_eps, fused=True
        )

    def _store(self, folder: Path) -> KnowledgeStore:
        """The model's own top-k of the rows: a step's time does not depend on the teacher."""
        from first_distill.knowledge.extraction import extract

        rows = b"".join(row.row_hash for row in self.batch)
        folder /= hashlib.sha256(rows).hexdigest()[:16]
        if not (folder / "manifest.json").is_file():
            arrays = extract(self.model.eval(), self.batch, K, self.pad, 2048)
            write_store(folder, arrays, {"vocabulary_size": self.model.config.vocab_size})
            self.model.train()
        return KnowledgeStore.open(folder)

    def ours(self, loss) -> tuple[float, float]:
        """The project's own step; (loss, gradient norm)."""
        value = backward(self.training_model, self.batch, loss, SETTINGS, self.pad)
        return value, self._update()

    def dense_labels(self) -> tuple[float, float]:
        """A step from labels with torch's cross-entropy on all supervised logits."""
        batch = collate(self.batch, np.arange(len(self.batch)), self.pad)
        logits = supervised_logits(self.model, batch)
        labels = torch.from_numpy(batch.labels).to(logits.device)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        return loss.item(), self._update()

    def body(self) -> None:
        """Forward and backward pass of the body alone: no head, no loss, no optimizer."""
        batch = collate(self.batch, np.arange(len(self.batch)), self.pad)
        supervised_hidden(self.model, batch).sum().backward()
        self.optimizer.zero_grad(set_to_none=True)
        synchronise()

    def full_logits(self) -> tuple[float, float]:
        """The same step with logits at every position and a gather from all of them."""
        batch = collate(self.batch, np.arange(len(self.batch)), self.pad)
        device = next(self.model.parameters()).device
        logits = self.model(
            input_ids=torch.from_numpy(batch.input_ids).to(device),
            attention_mask=torch.from_numpy(batch.attention_mask).to(device),
            use_cache=False,
        ).logits.float()
        everything = logits.log_softmax(-1)
        here = torch.from_numpy(batch.supervised).to(device)
        index = torch.zeros((*here.shape, K), dtype=torch.int64, device=device)
        index[here] = self.knowledge.targets(self.batch, device).ids
        target = torch.zeros(index.shape, device=device)
        target[here] = torch.from_numpy(self._targets(batch)).to(device)
        student = everything.gather(-1, index)
        values = (torch.xlogy(target, target) - target * student).sum(-1)
        loss = values[here].sum() / len(self.batch)
        loss.backward()
        return loss.item(), self._update()

    def _targets(self, batch) -> np.ndarray:
        """(N, k) targets of Eq. 4, written out."""
        found = []
        for row in batch.rows:
            index = self.store.row_by_hash[self.batch[row].row_hash]
            stored = self.store.rows(np.asarray([index]))
            scaled = np.exp(np.exp(stored["log_probs"].astype(np.float64)) / C)
            found.append(scaled / scaled.sum(-1, keepdims=True))
        return np.concatenate(found).astype(np.float32)

    def _update(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), SETTINGS.max_grad_norm)
        if self.learns:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        synchronise()
        return norm.item()
