"""Every architecture by every path against an independent computation.

Stages run by their command lines on models of a mirror; what they write is compared with
`independent`. `pytest -m "slow or not slow" -s tests/science/test_families.py` prints the whole
matrix, architectures by paths.
"""

import json
import os
import signal
import subprocess
import sys
from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from scripts import evaluation, knowledge, models, student, teacher
from tests import families
from tests import tiny_models as tiny
from tests.science import independent

SETTINGS = independent.Training()
STORED, K, C = 32, 5, 0.3
HALF, OFFLOAD = ["--dtype", "bfloat16"], ["--offload-optimizer"]
# Path: (options, processes).
PATHS = {
    "plain": ([], 1),
    "bfloat16": (HALF, 1),
    "sharded": ([], 2),
    "offloaded": (OFFLOAD, 1),
    "sharded bfloat16": (HALF, 2),
}
REDUCED = ("qwen2", "gemma3", "gpt2", "mixtral", "phi3")
NAMES = [
    name if name in REDUCED else pytest.param(name, marks=pytest.mark.slow)
    for name in families.FAMILIES
]
REPORT: dict[tuple[str, str], dict[str, float]] = {}


def corpus(n: int = 6, seed: int = 0) -> list[dict]:
    """Questions, and instructions with longer responses, one of them empty."""
    rows = tiny.choice_rows(n, seed) + tiny.instruction_rows(n - 2, seed)
    return [row | {"id": f"train/{i:06d}"} for i, row in enumerate(rows)]


TRAIN, TEST = corpus(), tiny.choice_rows(8, 5)


class Run:
    """The stages of one family; `failed` holds the errors of paths by their names."""

    def __init__(self, folder, name: str):
        self.folder, self.name, self.failed = folder / name, name, {}
        tiny.write_table(self.folder / "train.parquet", TRAIN)
        tiny.write_table(self.folder / "test.parquet", TEST)
        self.sources = {"student": families.model(name, 0), "teacher": families.model(name, 1)}

    def attempt(self, what: str, main, options: list[str]) -> None:
        try:
            main(options)
        except (Exception, SystemExit) as error:
            self.failed[what] = f"{type(error).__name__}: {error}"

    def bases(self) -> None:
        """Base checkpoints, as models that a user has in folders."""
        for which, source in self.sources.items():
            words = f"--repo {source.parent.name}/{source.name} --revision {'0' * 40}"
            words += f" --mirror {source.parent.parent} --output-dir {self.folder / which}"
            self.attempt(which, models.main, ["hub", *words.split()])

    def inference(self, model: str, name: str, dtype: list[str]) -> None:
        """Predictions of a model."""
        words = f"--model {self.folder / model} --benchmarks test --tests {self.folder}/test.parquet"
        words += " --scale s --family f --corpus c --method m --seed 1"
        words += f" --output-dir {self.folder / name}"
        self.attempt(name, evaluation.main, [*words.split(), *dtype])

    def extraction(self, name: str, dtype: list[str]) -> None:
        """The teacher's knowledge of the training split."""
        words = f"--model {self.folder}/teacher --data {self.folder}/train.parquet --k {STORED}"
        words += f" --block-length 400 --output-dir {self.folder / name}"
        self.attempt(name, knowledge.main, [*words.split(), *dtype])

    def trainings(self, path: str) -> list[tuple[str, str, list[str]]]:
        """(name, module, options) of the two trainings of a path."""
        words = f"--model {self.folder}/student --block-length 400 --micro-batch-size 2"
        words += f" --train {self.folder}/train.parquet --validation {self.folder}/train.parquet"
        matched = f"--method m --objective knowledge --knowledge {self.folder}/store-plain"
        matched += f" --recalibration prob_softmax --c {C} --k {K} --student-side full_vocab"
        lines = []
        for kind, more in (("teacher", []), ("student", matched.split())):
            name = f"{kind}-{path.replace(' ', '-')}"
            options = [*words.split(), *SETTINGS.options(), *PATHS[path][0], *more]
            options += ["--output-dir", str(self.folder / name)]
            lines.append((name, f"scripts.{kind}", options))
        return lines


def dtype_of(path: str) -> list[str]:
    return HALF if "bfloat16" in path else []


def stages(folder, names: list[str]) -> dict[str, Run]:
    """Everything that is compared, of all families; one start of two processes for all."""
    runs, launched = {}, {}
    for name in names:
        run = runs[name] = Run(folder, name)
        run.bases()
        for path in ("plain", "bfloat16"):
            run.extraction(f"store-{path}", dtype_of(path))
            run.inference("student", f"base-{path}", dtype_of(path))
        for path, (_, processes) in PATHS.items():
            for what, module, options in run.trainings(path):
                if processes == 1:
                    main = teacher.main if module == "scripts.teacher" else student.main
                    run.attempt(what, main, options)
                else:
                    launched[f"{name}/{what}"] = (module, options)
    lines = folder / "lines.json"
    lines.write_text(json.dumps([(key, *line) for key, line in launched.items()]))
    command = "-m scripts.first.distributed.launcher --processes 2 tests.science.families_worker"
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, *command.split(), str(lines)],
            cwd=tiny.REPOSITORY, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(60 + 15 * len(names))
        except subprocess.TimeoutExpired:  # the launcher's processes wait for each other for hours
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    failures = lines.with_suffix(".failed.json")
    failed = json.loads(failures.read_text()) if failures.is_file() else {}
    for key in launched:
        name, what = key.split("/")
        if key in failed:
            runs[name].failed[what] = failed[key]
        elif process.returncode or not failures.is_file():
            runs[name].failed[what] = log.read_text()[-2000:]
    for run in runs.values():
        for path in PATHS:
            model = f"teacher-{path.replace(' ', '-')}"
            if model not in run.failed:
                run.inference(model, model.replace("teacher", "trained"), dtype_of(path))
    return runs


@pytest.fixture(scope="module")
def all_runs(request, tmp_path_factory):
    """The families that are to be tested, and in the end the table."""
    chosen = [item.callspec.params["name"] for item in request.session.items
              if item.path == request.path and hasattr(item, "callspec")]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_MODEL_MIRROR", str(tiny.root()))
        yield stages(tmp_path_factory.mktemp("families"), list(dict.fromkeys(chosen)))
    print("\n" + table())


def table() -> str:
    """REPORT as text."""
    columns = list(dict.fromkeys(key for found in REPORT.values() for key in found))
    lines = [["family", "path", *columns]]
    for (name, path), found in REPORT.items():
        values = [found.get(key, "") for key in columns]
        lines.append([name, path, *(v if isinstance(v, str) else f"{v:.1e}" for v in values)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def predictions(folder) -> np.ndarray:
    """(rows, candidates) log-probabilities that evaluation wrote."""
    found = pq.read_table(folder / "predictions.parquet")["candidate_log_probs"]
    return np.asarray(found.to_pylist())


class Reference:
    """What the stages of a family should have written: rows, log-probabilities, weights."""

    def __init__(self, run: Run):
        self.sources = run.sources
        self.rows = independent.encode(run.sources["student"], TRAIN)
        self.labels = np.concatenate([labels for _, _, labels in self.rows])

    def base(self, which: str, half: bool):
        """A base model in float64, of weights that may be rounded to bfloat16 first."""
        dtype = torch.bfloat16 if half else torch.float64
        return independent.load(self.sources[which], dtype).double()

    def trained(self, loss):
        """(model, losses) of a training."""
        model = self.base("student", half=False)
        losses, norms = independent.train(model, self.rows, loss, SETTINGS)
        assert max(norms) > SETTINGS.max_grad_norm  # clipping is compared too
        return model, losses


@cache
def reference(name: str) -> Reference:
    return Reference(RUNS[name])


def rounding(values: np.ndarray) -> np.ndarray:
    """Half of float16's spacing: what the store's own type may change."""
    return np.abs(np.spacing(np.abs(values).astype(np.float16))).astype(np.float64) / 2


def store_difference(folder, rows, log_p: np.ndarray, labels, exact: bool) -> float:
    """Largest difference of a store's log-probabilities and tails, beyond float16's rounding."""
    arrays = load_file(folder / "knowledge.safetensors")
    hashes = np.stack([independent.row_hash(ids, prompt) for ids, prompt, _ in rows])
    assert np.array_equal(arrays["row_hashes"], hashes)  # the ids of prompts and responses
    assert np.array_equal(np.diff(arrays["offsets"]), [len(own) for _, _, own in rows])
    ids, best, tail, ranks = independent.top(log_p, labels, STORED)
    if exact:
        assert np.array_equal(arrays["ids"], ids)
        assert np.array_equal(arrays["gold_rank"], ranks)
    stored = arrays["log_probs"].astype(np.float64), arrays["log_tail"].astype(np.float64)
    own = np.take_along_axis(log_p, arrays["ids"].astype(np.int64), 1)
    pairs = ((stored[0], own), (stored[0], best), (stored[1], tail))
    return max(float((np.abs(a - b) - rounding(b)).max()) for a, b in pairs)


def weight_difference(folder, model, base) -> tuple[float, float]:
    """Of a checkpoint and the trained model: largest, and RMS as a share of RMS of the movement."""
    written = dict(independent.load(folder).named_parameters())
    start, expected = dict(base.named_parameters()), dict(model.named_parameters())
    assert written.keys() == expected.keys()
    far = [(written[n] - expected[n]).detach().flatten() for n in expected]
    moved = [(start[n] - expected[n]).detach().flatten() for n in expected]
    far, moved = torch.cat(far), torch.cat(moved)
    return float(far.abs().max()), float(far.norm() / moved.norm())
