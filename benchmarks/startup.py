"""Start-up of a training job and of rules' processes, against `import torch` alone.

A job with a model counts up to its first forward pass: imports, checking and reading its files,
tokenising, loading the model. A rule without a model counts in full, work included. Both are
measured alone (cold: a new interpreter, files in the page cache) and through the warm server, each
repetition next to its own `import torch`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.harness import Row

REPETITIONS = 5
TORCH = ["-c", "import torch"]
TRAINING = "--block-length 160 --epochs 1 --batch-size 16 --learning-rate 0.004 --seed 1".split()
TO_FORWARD = ["-m", "benchmarks.startup", "to-forward"]
# The limit: every job with a model needs this import.
LLAMA = "from transformers import LlamaForCausalLM"
LIBRARY = {"transformers' Llama imported, no more": ["-c", LLAMA]}


def rows(bench) -> Iterator[Row]:
    """A row each for four jobs with a model and three rules without, cold, then warm."""
    from benchmarks.harness import costs

    jobs = prepare(bench.scratch / "startup")
    for state, seconds in (("cold", timed(jobs | LIBRARY)), ("warm server", timed_warm(jobs))):
        torch = seconds.pop("torch")
        for name, ours in seconds.items():
            bar = None if name in LIBRARY else 2
            title = f"10 start-up, {name}, {state}"
            yield costs(title, ours, torch, "s", bar, "against import torch")


def prepare(folder: Path) -> dict[str, list[str]]:
    """Words after `python` of each job, on rows and models that are made once in `folder`."""
    from benchmarks.points import TinyBench, run_script

    tiny = TinyBench(folder)
    student, teacher = (tiny.model(role=role) for role in ("student", "teacher"))
    data = tiny.data_words("csqa")
    knowledge, out = folder / "knowledge", folder / "out"
    store = ["--model", teacher, "--k", 5, "--block-length", 160]
    identity = "--scale tiny --family alder --corpus none --method base --seed 1 --benchmarks csqa"
    evaluation = ["--model", student, "--tests", folder / "csqa/test.parquet", *identity.split()]
    if not (folder / "evaluation/metrics.json").is_file():
        run_script("scripts.data", *data, "--output-dir", folder / "csqa")
        for split in ("train", "validation"):
            rows_of = ["--data", folder / f"csqa/{split}.parquet"]
            run_script("scripts.knowledge", *store, *rows_of, "--output-dir", knowledge / split)
        run_script("scripts.evaluation", *evaluation, "--output-dir", folder / "evaluation")
    tuned = ["--model", student, "--train", folder / "csqa/train.parquet", *TRAINING]
    tuned += ["--validation", folder / "csqa/validation.parquet", "--output-dir", out / "student"]
    matched = ["--objective", "knowledge", "--recalibration", "prob_softmax", "--c", 0.3]
    matched += ["--knowledge", knowledge / "train"]
    cell = ["--metrics", folder / "evaluation/metrics.json", "--setting", "in_domain"]
    cell += "--scale tiny --family alder --corpus csqa --method base --benchmark csqa".split()
    search = ["--knowledge", knowledge / "validation", "--output-dir", out / "temperature"]
    student_job = [*TO_FORWARD, "scripts.student", *tuned, "--method"]
    validation = ["--data", folder / "csqa/validation.parquet", "--output-dir", out / "store"]
    jobs = {
        "training on labels": [*student_job, "finetune", "--objective", "hard_labels"],
        "training on knowledge": [*student_job, "first_ts", *matched],
        "extraction": [*TO_FORWARD, "scripts.knowledge", *store, *validation],
        "evaluation": [*TO_FORWARD, "scripts.evaluation", *evaluation, "--output-dir", out],
        "rule data, whole": ["-m", "scripts.data", *data, "--output-dir", out / "csqa"],
        "rule temperature, whole": ["-m", "scripts.temperature", *search],
        "rule table1_cell, whole": ["-m", "scripts.artifacts", "cell", *cell]
        + ["--output", out / "cell.json"],
    }
    return {name: [str(word) for word in words] for name, words in jobs.items()}


def timed(jobs: dict[str, list[str]]) -> dict[str, list[float]]:
    """Seconds of each job and of `torch`, by turns."""
    from benchmarks.harness import interleave

    lines = {"torch": TORCH, **jobs}
    return interleave({n: lambda w=words: _run(w) for n, words in lines.items()}, REPETITIONS)


def timed_warm(jobs: dict[str, list[str]]) -> dict[str, list[float]]:
    """The same under a warm server; its own start is in the turn that is not counted."""
    from first_distill.runtime.warm import warm_server

    line = [sys.executable, "-m", "benchmarks.startup", "timed"]
    options = {"input": json.dumps(jobs), "cwd": Path(__file__).parents[1], "text": True}
    with warm_server(environment()) as served:
        done = subprocess.run(line, env=served, capture_output=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"the warm server's jobs failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def environment() -> dict[str, str]:
    """One thread, as a rule of the tiny scale gives it, and bytecode kept as Python does it."""
    kept = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"OMP_NUM_THREADS": "1"}


def _run(words: list[str]) -> None:
    line = {"env": environment(), "cwd": Path(__file__).parents[1]}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, **line)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:3])} failed: {done.stderr[-2000:]}")


def to_forward(words: list[str]) -> int:
    """Run a script's `main` until a model is first called, and end this process there."""
    import importlib

    start = time.perf_counter()
    module = importlib.import_module(words[0])
    import torch

    def end(*_) -> None:
        print(f"{time.perf_counter() - start:.3f} s to the first forward pass", flush=True)
        sys.exit(0)

    torch.nn.modules.module.register_module_forward_pre_hook(end)
    module.main(words[1:])
    raise RuntimeError(f"{words[0]} called no model")


def main(words: list[str]) -> int:
    """`to-forward SCRIPT OPTIONS` is one job; `timed` reads jobs, prints seconds (JSON both)."""
    if words[0] == "to-forward":
        return to_forward(words[1:])
    print(json.dumps(timed(json.load(sys.stdin))))
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "timed":
        sys.exit(main(sys.argv[1:]))
    from first_distill.runtime.launch import launch

    launch("benchmarks.startup", main)
