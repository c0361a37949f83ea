"""The stages of every architecture by every path, from their command lines.

Models lie in a mirror, as those of a user who has them in folders. Used by test_families.py.
"""

import json
import subprocess
import sys
from pathlib import Path

import psutil

from scripts import evaluation, knowledge, models, student, teacher
from tests import families
from tests import tiny_models as tiny
from tests.science import independent

SETTINGS = independent.Training()
STORED, K, C = 32, 5, 0.05
HALF = ["--dtype", "bfloat16"]
# Path: (options, processes).
PATHS = {
    "plain": ([], 1),
    "bfloat16": (HALF, 1),
    "sharded": ([], 2),
    "offloaded": (["--offload-optimizer"], 1),
    "sharded-bfloat16": (HALF, 2),
}
HALVES = [path for path, (options, _) in PATHS.items() if options == HALF]
SERIAL = {"scripts.teacher": teacher.main, "scripts.student": student.main}


def corpus() -> list[dict]:
    """Questions, and instructions with longer responses, one of them empty.

    Seven: steps of 4 and 3, micro-batches of 2 and 1.
    """
    rows = tiny.ragged_rows(4) + tiny.instruction_rows(3)
    return [row | {"id": f"train/{i:06d}"} for i, row in enumerate(rows)]


TRAIN, TEST = corpus(), tiny.ragged_rows(8, 5)


class Run:
    """The stages of one family: what they wrote by names, or the error of those that failed.

    `student`, `teacher`: base checkpoints. `store-PATH`, `base-PATH`: the teacher's knowledge and
    the student's predictions. `teacher-PATH`, `student-PATH`: the student trained on labels and on
    `store-plain`. `trained-PATH`: the predictions of `teacher-PATH`.
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name, self.failed = folder / name, name, {}
        tiny.write_table(self.folder / "train.parquet", TRAIN)
        tiny.write_table(self.folder / "test.parquet", TEST)
        self.sources = {"student": families.model(name, 0), "teacher": families.model(name, 1)}

    def attempt(self, what: str, main, options: list[str]) -> None:
        """Run a stage and go on."""
        try:
            main([*options, "--output-dir", str(self.folder / what)])
        except (Exception, SystemExit) as error:
            self.failed[what] = f"{type(error).__name__}: {error}"

    def bases(self) -> None:
        """Record the models of the mirror."""
        for which, source in self.sources.items():
            words = f"hub --repo {source.parent.name}/{source.name} --revision {'0' * 40}"
            words += f" --mirror {source.parent.parent}"
            self.attempt(which, models.main, words.split())

    def predictions(self, model: str, name: str, path: str) -> None:
        """Evaluate a model."""
        words = f"--model {self.folder / model} --tests {self.folder}/test.parquet"
        words += " --benchmarks test --scale s --family f --corpus c --method m --seed 1"
        self.attempt(name, evaluation.main, words.split() + HALF * (path in HALVES))

    def store(self, path: str) -> None:
        """Extract the teacher's knowledge of the training split."""
        words = f"--model {self.folder}/teacher --data {self.folder}/train.parquet --k {STORED}"
        words += " --block-length 400"
        self.attempt(f"store-{path}", knowledge.main, words.split() + HALF * (path in HALVES))

    def trainings(self, path: str) -> dict[str, tuple[str, list[str]]]:
        """{name: (module, options)} of the two trainings of a path."""
        words = f"--model {self.folder}/student --block-length 400 --micro-batch-size 2"
        words += f" --train {self.folder}/train.parquet --validation {self.folder}/train.parquet"
        common = [*words.split(), *SETTINGS.options(), *PATHS[path][0]]
        matched = f"--method m --objective knowledge --knowledge {self.folder}/store-plain"
        matched += f" --recalibration prob_softmax --c {C} --k {K} --student-side full_vocab"
        return {
            f"teacher-{path}": ("scripts.teacher", common),
            f"student-{path}": ("scripts.student", [*common, *matched.split()]),
        }


def run_all(folder: Path, chosen: dict[str, list[str]]) -> dict[str, Run]:
    """All stages of {family: paths}; trainings in two processes share one start, meanwhile."""
    runs, alone, together = {name: Run(folder, name) for name in chosen}, [], []
    for name, paths in chosen.items():
        run = runs[name]
        run.bases()
        run.store("plain")
        for path in paths:
            for what, (module, options) in run.trainings(path).items():
                if PATHS[path][1] == 1:
                    alone.append((run, what, SERIAL[module], options))
                else:
                    options += ["--output-dir", str(run.folder / what)]
                    together.append((f"{name}/{what}", module, options))
    process = start(folder / "lines.json", together)
    for run, what, main, options in alone:
        run.attempt(what, main, options)
    for name, run in runs.items():
        for path in {"plain", "bfloat16"} & {*chosen[name]}:
            run.predictions("student", f"base-{path}", path)
        if "bfloat16" in chosen[name]:
            run.store("bfloat16")
    for key, error in ended(process, folder / "lines.json", together).items():
        name, what = key.split("/")
        runs[name].failed[what] = error
    for name, run in runs.items():
        for path in chosen[name]:
            run.predictions(f"teacher-{path}", f"trained-{path}", path)
    return runs


def start(lines: Path, together: list[tuple[str, str, list[str]]]) -> subprocess.Popen:
    """Run all lines in two processes."""
    lines.write_text(json.dumps(together))
    words = "-m first_distill.distributed.launcher --processes 2 tests.science.families_worker"
    command = [sys.executable, *words.split(), str(lines)]
    with lines.with_suffix(".log").open("w") as log:
        return subprocess.Popen(command, cwd=tiny.REPOSITORY, stdout=log, stderr=log)


def ended(process: subprocess.Popen, lines: Path, together: list) -> dict[str, str]:
    """The errors of lines that failed, by their names, once all have ended."""
    try:
        process.wait(60 + 10 * len(together))
    except subprocess.TimeoutExpired:  # where one failed alone, the other would wait for hours
        for each in (*psutil.Process(process.pid).children(recursive=True), process):
            each.kill()
        process.wait()
    report, log = lines.with_suffix(".done.json"), lines.with_suffix(".log").read_text()
    done = json.loads(report.read_text()) if report.is_file() else {}
    errors = {key: done.get(key, f"no result: {log[-2000:]}") for key, _, _ in together}
    return {key: error for key, error in errors.items() if error}
