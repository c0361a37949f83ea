"""Evaluation: one model on CommonsenseQA, BoolQ and OpenBookQA, against lm-eval.

Both sides start from rows and a model in memory and end with a prediction for each row; this
includes tokenisation, but neither imports nor loading the model. lm-eval reads local YAML tasks
whose contexts are our prompts and whose choices are our candidates. Each side runs at its fastest
batch size on this machine.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, interleave, rates

ROWS = {"csqa": 120, "boolq": 30, "obqa": 120}
BATCH_SIZES = (1, 8, 32)
MAX_TOKENS = (1024, 2048, 8192)  # of one batch of ours
TOLERANCE = 1e-4  # of a choice's log-likelihood
TASK = """\
task: {name}
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: "{table}"}}, cache_dir: "{cache}"}}
test_split: test
output_type: multiple_choice
doc_to_text: prompt
doc_to_choice: candidates
doc_to_target: "{{{{candidates.index(answer)}}}}"
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""


def rows(bench) -> Iterator[Row]:
    """A row for each benchmark: questions a second."""
    import torch

    from first_distill.models.checkpoints import load_model
    from first_distill.models.determinism import seed_everything
    from first_distill.models.tokenizer import load_tokenizer

    seed_everything(0)
    folder = bench.model(32_000, "trained")
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    rival = Harness(model, folder, {n: _table(bench, n) for n in ROWS}, bench.scratch / "lm_eval")
    for name in ROWS:
        yield _compare(name, Ours(model, tokenizer, _table(bench, name)), rival)
    if bench.cuda:
        del rival, model
        torch.cuda.empty_cache()


def _compare(name: str, ours: Ours, rival: Harness) -> Row:
    """Check that both give the same numbers, then time them in turn, progress bars hidden."""
    with contextlib.redirect_stderr(io.StringIO()):
        return _measured(name, ours, rival)


def _measured(name: str, ours: Ours, rival: Harness) -> Row:
    log_probs, *_ = ours.predict()
    theirs = rival.log_likelihoods(name)
    gap = float(np.abs(log_probs - theirs).max())
    same = bool((log_probs.argmax(1) == ours.gold).mean() == rival.accuracy(name))
    best = (ours.tune(), rival.tune(name))
    seconds = interleave({"ours": ours.predictions, "theirs": lambda: rival.evaluate(name)})
    accuracy = "the same accuracy" if same else "ANOTHER ACCURACY"
    note = f"batches of {best[0]} tokens and {best[1]} prompts; {accuracy}, within {gap:.1e}"
    row = rates(f"8 evaluation, {name}", len(ours.rows), "questions/s", seconds, 2, note)
    return replace(row, passes=bool(row.passes and same and gap <= TOLERANCE))


class Ours:
    """The stage's own work on one benchmark."""

    def __init__(self, model, tokenizer, table: Path):
        from first_distill.data.rows import read_rows

        self.model, self.tokenizer, self.rows = model, tokenizer, read_rows(table)
        self.gold = np.asarray([list(r["candidates"]).index(r["answer"]) for r in self.rows])
        self.max_tokens = MAX_TOKENS[-1]

    def predict(self):
        from first_distill.models.predictions import predict

        return predict(self.model, self.rows, self.tokenizer, self.max_tokens)

    def predictions(self):
        from first_distill.models.predictions import tables

        return tables("csqa", self.rows, *self.predict())

    def tune(self) -> int:
        """Set the tokens of a batch that are fastest, and return them."""

        def use(tokens: int) -> None:
            self.max_tokens = tokens
            self.predictions()

        use(best := _fastest(MAX_TOKENS, use))
        return best


class Harness:
    """lm-eval with the same model in memory and one task for each table."""

    def __init__(self, model, folder: Path, tables: dict[str, Path], scratch: Path):
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
        from tokenizers.processors import TemplateProcessing
        from transformers import PreTrainedTokenizerFast

        logging.disable(logging.WARNING)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
        bos = (tokenizer.bos_token, tokenizer.bos_token_id)  # add_bos_token needs it in the file
        processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
        tokenizer.backend_tokenizer.post_processor = processor
        self.loaded = partial(
            HFLM,
            pretrained=model,
            tokenizer=tokenizer,
            add_bos_token=True,
            device=str(model.device),
            max_length=model.config.max_position_embeddings,
        )
        self.lm = self.loaded(batch_size=1)
        tasks = scratch / "tasks"
        tasks.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            text = TASK.format(name=f"first_{name}", table=table, cache=scratch / "cache")
            (tasks / f"{name}.yaml").write_text(text)
        manager = TaskManager(include_path=str(tasks), include_defaults=False)
        self.tasks = {name: manager.load([f"first_{name}"]) for name in tables}

    def evaluate(self, name: str, log_samples: bool = False) -> dict:
        """Build the requests, answer and score them, without standard errors."""
        from lm_eval.evaluator import evaluate

        task = self.tasks[name]
        return evaluate(self.lm, task, bootstrap_iters=0, log_samples=log_samples)

    def accuracy(self, name: str) -> float:
        return self.evaluate(name)["results"][f"first_{name}"]["acc,none"]

    def log_likelihoods(self, name: str) -> np.ndarray:
        """(rows, candidates), of the candidate alone.

        A newline at a prompt's end is moved into the continuation by lm-eval; its
        log-likelihood is measured and subtracted.
        """
        samples = self.evaluate(name, log_samples=True)["samples"][f"first_{name}"]
        samples = sorted(samples, key=lambda sample: sample["doc_id"])
        found = np.asarray([[r[0] for r in s["filtered_resps"]] for s in samples], dtype=float)
        prompts = [sample["doc"]["prompt"] for sample in samples]
        if prompts[0].endswith("\n"):
            found -= self._newlines([prompt[:-1] for prompt in prompts])[:, None]
        return found

    def _newlines(self, contexts: list[str]) -> np.ndarray:
        from lm_eval.api.instance import Instance

        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=(context, "\n"), idx=i)
            for i, context in enumerate(contexts)
        ]
        return np.asarray([v for v, _ in self.lm.loglikelihood(requests, disable_tqdm=True)])

    def tune(self, name: str) -> int:
        """Set the batch size that is fastest for a task, and return it."""

        def use(size: int) -> None:
            self.lm = self.loaded(batch_size=size)
            self.evaluate(name)

        use(best := _fastest(BATCH_SIZES, use))
        return best


def _fastest(options: tuple[int, ...], use: Callable[[int], None]) -> int:
    """The option with which `use` takes the least time."""
    seconds = {}
    for option in options:
        start = time.perf_counter()
        use(option)
        seconds[option] = time.perf_counter() - start
    return min(seconds, key=seconds.get)


def _table(bench, name: str) -> Path:
    """The first rows of a benchmark's test split."""
    import pyarrow.parquet as pq

    path = bench.scratch / "evaluation" / f"{name}-{ROWS[name]}.parquet"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pq.read_table(bench.prepared(name)["test"]).slice(0, ROWS[name]), path)
    return path
