"""The student step from stored knowledge, against trl's online distillation of one pair.

The same rows in the same batches, the same supervised positions, AdamW and clipping on both sides;
the teacher has twice the student's layers. trl's GKDTrainer (off-policy: lmbda = 0; forward KL:
beta = 0) runs the teacher in each step and matches the whole vocabulary, which is checked against
the dense KL; ours reads the five stored tokens of each position. Its DistillationTrainer never
makes all logits, but trains only on text it has generated; for reference, its loss gets our rows.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, interleave, rates
from benchmarks.points import BLOCK, run_script

BATCH = {"csqa": 16, "alpaca": 4}  # rows of a step; one step is some seconds of a CPU
STEPS, K, SEED, RATE = 1, 5, 1, 1e-5
TOLERANCE = 1e-5  # of trl's loss to the dense one, relative


def rows(bench) -> Iterator[Row]:
    """Two rows for each corpus: tokens read a second."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    for corpus in BATCH:
        yield from _measure(bench, corpus)


def _measure(bench, corpus: str) -> Iterator[Row]:
    ours = Ours(bench, corpus)
    tokens = sum(len(row.input_ids) for row in ours.encoded)
    for kind, at_least in ((Gkd, 2), (Chunked, None)):
        rival = kind(bench, ours)
        gap = rival.gap_to_dense()
        seconds = interleave({"ours": ours.steps, "theirs": rival.steps})
        note = f"{kind.NAME}; {BATCH[corpus]} rows; its loss is the dense KL within {gap:.0e}"
        row = rates(f"6 student step, {corpus}", tokens, "tokens/s", seconds, at_least, note)
        passes = None if row.passes is None else bool(row.passes and gap <= TOLERANCE)
        name = row.name if at_least else f"{row.name}, chunked"
        yield replace(row, name=name, passes=passes)


class Ours:
    """Training of the student stage: encoded rows joined to a store of the teacher's top-k."""

    def __init__(self, bench, corpus: str):
        from first_distill.data.rows import read_rows
        from first_distill.knowledge.store import KnowledgeStore
        from first_distill.models.batching import training_batches
        from first_distill.models.checkpoints import load_model
        from first_distill.models.determinism import seed_everything
        from first_distill.models.encoding import encode_rows
        from first_distill.models.tokenizer import load_tokenizer
        from first_distill.training.knowledge_loss import KnowledgeLoss
        from first_distill.training.settings import Settings

        seed_everything(SEED)
        table, folder = _table(bench, corpus), bench.model(32_000, "student")
        self.tokenizer = load_tokenizer(folder)
        self.encoded, _ = encode_rows(read_rows(table), self.tokenizer, BLOCK)
        lengths = np.asarray([len(row.input_ids) for row in self.encoded])
        pool = Settings(1, BATCH[corpus], RATE, SEED).length_pool
        self.batches = training_batches(lengths, BATCH[corpus], SEED, 0, pool)
        store = KnowledgeStore.open(_knowledge(bench, corpus, table))
        self.loss = KnowledgeLoss(store, K)
        self.settings = Settings(1, BATCH[corpus], RATE, SEED)
        self.model = load_model(folder)

    def steps(self) -> None:
        """One epoch over the rows: a step for each batch."""
        from first_distill.training.loop import train

        eos = self.tokenizer.eos_id
        train(self.model, self.encoded, self.loss, self.settings, eos, "ours")


class Gkd:
    """trl's GKDTrainer, step by step on the batches of `ours`."""

    NAME = "trl GKDTrainer"

    def __init__(self, bench, ours: Ours):
        from first_distill.models.checkpoints import load_model

        self.encoded, self.batches = ours.encoded, ours.batches
        self.eos = ours.tokenizer.eos_id
        self.student = load_model(bench.model(32_000, "student"))
        self.teacher = load_model(bench.model(32_000, "teacher"))
        self.trainer = self._trainer(bench)
        self.trainer.create_optimizer_and_scheduler(num_training_steps=1000)

    def _trainer(self, bench):
        from datasets import Dataset
        from trl.experimental.gkd import GKDConfig, GKDTrainer

        return _without_loop(GKDTrainer)(
            model=self.student,
            teacher_model=self.teacher,
            args=GKDConfig(lmbda=0.0, beta=0.0, seq_kd=False, **_arguments(bench)),
            processing_class=_tokenizer(bench),
            data_collator=lambda rows: rows,
            train_dataset=Dataset.from_dict({"row": [0]}),
        )

    def collate(self, chosen: np.ndarray) -> dict:
        """input_ids, attention_mask and labels (B, S), the end of the response appended."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        rows = [self.encoded[i] for i in chosen]
        ids = [torch.tensor([*row.input_ids.tolist(), self.eos]) for row in rows]
        labels = [one.clone() for one in ids]
        for row, own in zip(rows, labels, strict=True):
            own[: row.prompt_length] = -100
        pad = dict(batch_first=True)
        return {
            "input_ids": pad_sequence(ids, padding_value=self.eos, **pad),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], **pad),
            "labels": pad_sequence(labels, padding_value=-100, **pad),
        }

    def positions(self, chosen: np.ndarray) -> int:
        return sum(len(self.encoded[i].labels) for i in chosen)

    def backward(self, chosen: np.ndarray):
        """Gradients of one batch by the trainer's own training step; returns the loss."""
        return self.trainer.training_step(self.student, self.collate(chosen))

    def steps(self) -> None:
        trainer = self.trainer
        for chosen in self.batches:
            self.backward(chosen)
            trainer.accelerator.clip_grad_norm_(self.student.parameters(), 1.0)
            trainer.optimizer.step()
            trainer.lr_scheduler.step()
            self.student.zero_grad(set_to_none=True)

    def gap_to_dense(self) -> float:
        """Relative difference of the first batch's loss and the KL of all V at our positions."""
        import torch

        from first_distill.models.batching import collate
        from first_distill.models.inference import supervised_logits

        chosen = self.batches[0]
        with torch.no_grad():
            batch = collate(self.encoded, chosen, self.eos)
            log_p, log_q = (
                supervised_logits(model, batch).double().log_softmax(-1)
                for model in (self.teacher, self.student)
            )
            dense = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
        loss = self.backward(chosen)
        self.student.zero_grad(set_to_none=True)
        return abs(float(loss) / float(dense) - 1)


class Chunked(Gkd):
    """trl's DistillationTrainer: its chunked divergence on the batches of `ours`."""

    NAME = "trl DistillationTrainer's loss"

    def _trainer(self, bench):
        from datasets import Dataset
        from trl import DistillationConfig, DistillationTrainer

        return _without_loop(DistillationTrainer)(
            model=self.student,
            teacher_model=self.teacher,
            args=DistillationConfig(beta=0.0, **_arguments(bench)),
            processing_class=_tokenizer(bench),
            train_dataset=Dataset.from_dict({"prompt": ["a"]}),
        )

    def collate(self, chosen: np.ndarray) -> dict:
        """Prompts padded on the left, responses with their end padded on the right."""
        import torch

        rows = [self.encoded[i] for i in chosen]
        prompts = [row.input_ids[: row.prompt_length].tolist() for row in rows]
        completions = [[*row.input_ids[row.prompt_length :].tolist(), self.eos] for row in rows]
        width, room = max(map(len, prompts)), max(map(len, completions))
        tensors = {
            "prompt_ids": [[self.eos] * (width - len(p)) + p for p in prompts],
            "prompt_mask": [[0] * (width - len(p)) + [1] * len(p) for p in prompts],
            "completion_ids": [c + [self.eos] * (room - len(c)) for c in completions],
            "completion_mask": [[1] * len(c) + [0] * (room - len(c)) for c in completions],
        }
        return {name: torch.tensor(value) for name, value in tensors.items()}

    def backward(self, chosen: np.ndarray):
        self.student.train()
        inputs = {n: t.to(self.student.device) for n, t in self.collate(chosen).items()}
        loss = self.trainer.compute_loss(self.student, inputs)
        self.trainer.accelerator.backward(loss)
        return loss.detach()


def _arguments(bench) -> dict:
    return {
        "output_dir": str(bench.scratch / "trl"),
        "per_device_train_batch_size": 1,  # batches are made here
        "learning_rate": RATE,
        "use_cpu": not bench.cuda,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "disable_tqdm": True,
    }


def _without_loop(trainer: type) -> type:
    """The trainer with what its loop sets before a step, for steps that are taken one by one."""

    class Stepped(trainer):
        current_gradient_accumulation_steps = 1

    return Stepped


def _tokenizer(bench):
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(bench.tokenizer(), trust_remote_code=False)
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _table(bench, corpus: str) -> Path:
    """As many training rows as the steps need."""
    import pyarrow.parquet as pq

    n = STEPS * BATCH[corpus]
    path = bench.scratch / "online" / f"{corpus}-{n}.parquet"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pq.read_table(bench.prepared(corpus)["train"]).slice(0, n), path)
    return path


def _knowledge(bench, corpus: str, table: Path) -> Path:
    """The teacher's top-k of those rows, by the knowledge stage."""
    folder = table.with_suffix("")
    if not (folder / "manifest.json").is_file():
        words = ["--model", bench.model(32_000, "teacher"), "--data", table, "--k", K]
        words += ["--block-length", BLOCK, "--output-dir", folder]
        run_script("scripts.knowledge", *words)
    return folder
