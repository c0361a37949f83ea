"""A run that is preempted, requeued, and short of memory: the same bytes as without."""

import re
import shutil

import pytest

from tests.system.slurm.runs import Run, change, preempt, program, run_again, until
from tests.system.workflow.copies import digests, output, snakemake

pytestmark = pytest.mark.slow

CELL = "results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json"
STUDENT = "tiny/student/alder/csqa/first_ts/seed1234"
MODEL = f"results/{STUDENT}/model.safetensors"
EPOCHS = 60  # long enough to be hit


def test_a_cell_that_is_preempted_and_runs_out_of_memory(cluster, finished, tmp_path):
    """Training is preempted and resumes; the evaluation gets more memory; the local run's bytes."""
    change(finished, "student.seeds", [1234])
    change(finished, "student.training.per_corpus", {"csqa": {"epochs": EPOCHS}})
    change(finished, "resources.evaluation", {"threads": 1, "gpu": 1, "mem_mb": 500, "runtime": 7})
    whole = shutil.copytree(finished, tmp_path / "uninterrupted", symlinks=True)
    run = Run(cluster, finished, CELL, FIRST_CHECKPOINT_MINUTES="0.002")
    state = finished / f"results/tiny/.state/{STUDENT.removeprefix('tiny/')}"
    log = finished / f"logs/{STUDENT}.log"
    until(lambda: list(state.glob("*/step-*")), "training has saved its state")
    training = program(finished, "scripts.student")
    training.suspend()  # Slurm wakes it to end it
    (job,) = run.jobs("rule_student")
    preempt(cluster)
    stopped = until(lambda: re.search(r"stopped after step (\d+)", log.read_text()), "it stops")
    until(lambda: run.jobs("rule_student")[0]["Restarts"] == "1", "it is in the queue again")
    until(lambda: run_again(cluster, run, job), "it runs again")
    local = snakemake(whole, "-c1", "--", CELL)
    assert local.returncode == 0, output(local)[-3000:]
    assert run.finish() == 0, run.log()[-4000:]

    resumed = re.search(r"resumed at step (\d+)", log.read_text())
    assert resumed[1] == stopped[1] and not state.exists()
    (after,) = run.jobs("rule_student")
    assert (after["JobId"], after["JobState"]) == (job["JobId"], "COMPLETED")
    *short, last = run.jobs("rule_evaluation")
    assert short and {job["JobState"] for job in short} <= {"FAILED", "OUT_OF_MEMORY"}
    assert last["JobState"] == "COMPLETED"
    asked = [(job["MinMemoryNode"], job["TimeLimit"][3:5]) for job in (*short, last)]
    assert asked == [("500M", "07"), ("750M", "14"), ("1000M", "21")][: len(asked)]
    assert "memory" in cluster.logs()
    for number in (job["JobId"] for job in short):
        assert re.search(rf"SLURM-job '{number}' failed, SLURM status is: ", run.log())
    assert digests(finished) == digests(whole)


def test_jobs_have_no_network(cluster):
    """The nodes of these tests have the loopback device and no other."""
    links = cluster.run("srun", "-n1", "cat", "/proc/net/dev").stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in links] == ["lo"]
