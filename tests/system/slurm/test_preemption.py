"""A training job that Slurm preempts and requeues goes on where it was."""

import re
import shutil
import subprocess

import pytest

from tests.system.slurm.runs import Run, change, preempt, run_again, until
from tests.system.workflow.copies import environment, output, sha256_file

pytestmark = pytest.mark.slow

STUDENT = "tiny/student/alder/csqa/finetune/seed1234"
MODEL = f"results/{STUDENT}/model.safetensors"
EPOCHS = 200  # long enough to be hit: 1,000 steps of some ten milliseconds


def test_preempted_training_resumes(cluster, finished, tmp_path):
    """The same Slurm job, twice on a node; the log names the step; the same weights at the end."""
    change(finished, "student.training.per_corpus", {"csqa": {"epochs": EPOCHS}})
    whole = shutil.copytree(finished, tmp_path / "uninterrupted", symlinks=True)
    run = Run(cluster, finished, MODEL, FIRST_CHECKPOINT_MINUTES="0.02")
    state = finished / "results/tiny/.state/student/alder/csqa/finetune/seed1234"
    log = finished / f"logs/{STUDENT}.log"
    until(lambda: list(state.glob("*/step-*")), "training has saved its state")
    (job,) = run.jobs("rule_student")
    preempt(cluster)
    stopped = until(lambda: re.search(r"stopped after step (\d+)", log.read_text()), "it stops")
    until(lambda: run.jobs("rule_student")[0]["Restarts"] == "1", "it is in the queue again")
    until(lambda: run_again(cluster, run, job), "it runs again")
    assert run.finish() == 0, run.log()[-4000:]
    (after,) = run.jobs("rule_student")
    assert (after["JobId"], after["JobState"], after["Restarts"]) == (
        job["JobId"],
        "COMPLETED",
        "1",
    )
    resumed = re.search(r"resumed at step (\d+)", log.read_text())
    assert 0 < int(stopped[1]) < 5 * EPOCHS and resumed[1] == stopped[1]
    assert not state.exists()
    local = subprocess.run(
        ["snakemake", "-c1", "--", MODEL],
        cwd=whole,
        env=environment(whole),
        capture_output=True,
        text=True,
        check=False,
    )
    assert local.returncode == 0, output(local)[-3000:]
    assert sha256_file(finished / MODEL) == sha256_file(whole / MODEL)
    print(f"job {job['JobId']}: stopped at {stopped[1]}, resumed at {resumed[1]}")
