"""Results keep their identity when code changes that computes no number, and only then."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.engineering.test_fingerprint import edit, rename
from tests.system.faults.jobs import jobs
from tests.system.workflow.copies import environment, job_counts, output, snakemake

DRY = ("-n", "--cores", "1", "--", "all")


def verify(folder) -> subprocess.CompletedProcess:
    """`python -m scripts.verify results/tiny`."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.verify", "results/tiny"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def reword(folder) -> None:
    """Change every message, rename a module, edit every module of a service."""
    edit(folder, r'UserError\(\s*f?"', 'UserError("Reworded: ')
    rename(folder, "training.losses", "training.objectives")
    for path in (folder / "first_distill/runtime").glob("*.py"):
        path.write_text(path.read_text() + "\n\nLIMIT = 3\n")


@pytest.mark.slow
def test_a_finished_run_after_edits(tiny_run, tmp_path):
    """Rewording leaves nothing to do and the results sound; another loss retrains the students."""
    folder = shutil.copytree(tiny_run, tmp_path / "first", symlinks=True)
    reword(folder)
    process = snakemake(folder, *DRY)
    assert process.returncode == 0 and "Nothing to be done" in output(process), output(process)
    process = verify(folder)
    assert process.returncode == 0 and "sound: " in output(process), output(process)

    edit(folder, r"torch\.xlogy\(q, q\) -", "torch.xlogy(q, q) +")
    rules = {*job_counts(snakemake(folder, *DRY))}
    assert {"student_knowledge", "evaluation"} <= rules
    above = {"benchmark_data", "corpus_data", "base_model", "teacher", "knowledge", "temperature"}
    assert not above & rules
    process = verify(folder)
    assert process.returncode == 1
    assert re.search("stale: student/.*other code of stage student", process.stdout)


@pytest.mark.slow
def test_a_stopped_training_resumes_after_rewording(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run, tmp_path / "first", symlinks=True)
    job = next(job for job in jobs(folder) if " scripts.student " in job.line)
    words = shlex.split(job.line.replace(f">{job.log} 2>&1", ""))
    state = folder / words[words.index("--state-dir") + 1]
    settings = {"cwd": folder, "env": environment(folder, FIRST_CHECKPOINT_MINUTES="0")}
    with subprocess.Popen([sys.executable, *words[1:]], **settings) as process:
        while process.poll() is None and not [*state.glob("*/step-*/*.json")]:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    reword(folder)
    process = subprocess.run(
        [sys.executable, *words[1:]], **settings, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0 and "resumed at step" in process.stderr, process.stderr
