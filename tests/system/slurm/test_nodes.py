"""One training job on two machines: the launch line of one, spread by srun."""

import json
import re
import subprocess

import pytest

from tests.system.slurm.runs import Run, change, preempt, remove, run_again, until
from tests.system.workflow.copies import environment, output, sha256_file

pytestmark = pytest.mark.slow

TEACHER = "results/tiny/teacher/alder/csqa"
MODEL = f"{TEACHER}/model.safetensors"
EPOCHS = 20  # 100 steps, long enough to be hit


def test_two_nodes_train_one_model(cluster, finished):
    """One process on each of two nodes gives the bytes of two on one; preempted, it resumes."""
    folder = finished
    change(folder, "teacher.training.per_corpus", {"csqa": {"epochs": EPOCHS}})
    change(folder, "resources.teacher.nodes", 2)
    change(folder, "resources.teacher.processes", 1)
    change(folder, "resources.teacher.gpu", 1)
    remove(folder, f"{TEACHER}/record.json")
    run = Run(cluster, folder, f"{TEACHER}/record.json", FIRST_CHECKPOINT_MINUTES="0.02")
    state = folder / "results/tiny/.state/teacher/alder/csqa"
    log = folder / "logs/tiny/teacher/alder/csqa.log"
    until(lambda: list(state.glob("*/step-*")), "training has saved its state")
    (job,) = run.jobs("rule_teacher")
    assert (job["NumNodes"], job["NodeList"]) == ("2", "cpu[1-2]")
    assert (job["TresPerNode"], job["NumTasks"]) == ("gres:gpu:1", "2")
    assert cluster.task_environments()[job["JobId"]]["CUDA_VISIBLE_DEVICES"] == "0"  # one each
    preempt(cluster)
    stopped = until(lambda: re.search(r"stopped after step (\d+)", log.read_text()), "it stops")
    until(lambda: run.jobs("rule_teacher")[0]["Restarts"] == "1", "it is in the queue again")
    until(lambda: run_again(cluster, run, job), "it runs again")
    assert run.finish() == 0, run.log()[-3000:] + log.read_text()[-3000:]
    resumed = re.search(r"resumed at step (\d+)", log.read_text())
    assert 0 < int(stopped[1]) < 5 * EPOCHS and resumed[1] == stopped[1]
    assert json.loads((folder / TEACHER / "record.json").read_text())["processes"] == 2
    spread = sha256_file(folder / MODEL)

    change(folder, "resources.teacher.nodes", 1)
    change(folder, "resources.teacher.processes", 2)
    remove(folder, f"{TEACHER}/record.json")
    local = subprocess.run(
        ["snakemake", "-c1", "--", f"{TEACHER}/record.json"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert local.returncode == 0, output(local)[-3000:]
    assert sha256_file(folder / MODEL) == spread
    print(f"job {job['JobId']}: stopped at {stopped[1]}, resumed at {resumed[1]}")
