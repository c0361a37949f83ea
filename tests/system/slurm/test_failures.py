"""Jobs that Slurm ends: out of memory, out of time, cancelled. What Snakemake makes of them."""

import psutil
import pytest

from tests.system.slurm.runs import ENDED, Run, change, program, remove, until
from tests.system.workflow.copies import digests

pytestmark = pytest.mark.slow

STUDENT = "results/tiny/student/alder/csqa/finetune/seed1234"
EVALUATION = "results/tiny/evaluation/alder"
SLOW = f"{EVALUATION}/csqa/distill/seed1234"
ONCE = f"{EVALUATION}/csqa/distill/seed1235"
ALWAYS = f"{EVALUATION}/boolq/distill/seed1234"


def test_ended_jobs_are_retried_with_more(cluster, tiny_run, finished):
    """Out of memory and of time: again with more. Cancelled: again. Only that one is given up."""
    change(finished, "resources.student.mem_mb", 500)
    change(finished, "resources.evaluation.runtime", 1)
    targets = [f"{STUDENT}/model.safetensors", *(f"{d}/metrics.json" for d in (SLOW, ONCE, ALWAYS))]
    remove(finished, *targets)
    run = Run(cluster, finished, *targets)

    sleeper = until(lambda: program(finished, "scripts.evaluation", SLOW), "the evaluation starts")
    sleeper.suspend()  # as good as an endless one: Slurm wakes it to end it
    cancelled = set()

    def over():
        for name, most in ((ONCE, 1), (ALWAYS, 9)):
            for job in run.jobs(comment(name)):
                mine = {i for n, i in cancelled if n == name}
                if job["JobState"] == "RUNNING" and job["JobId"] not in mine and len(mine) < most:
                    cluster.run("scancel", job["JobId"])
                    cancelled.add((name, job["JobId"]))
        return run.process.poll() is not None

    until(over, "the end of the run", 420)
    assert run.process.returncode == 1
    until(lambda: all(job["JobState"] in ENDED for job in run.jobs()), "the end of all jobs")

    memory = run.jobs("rule_student")
    assert [job["MinMemoryNode"] for job in memory] == ["500M", "750M", "1000M"][: len(memory)]
    assert len(memory) > 1 and states(memory)[-1] == "COMPLETED"
    assert set(states(memory)[:-1]) <= {"FAILED", "OUT_OF_MEMORY"}
    assert "memory" in cluster.logs()

    slow = run.jobs(comment(SLOW))
    assert [job["TimeLimit"] for job in slow] == ["00:01:00", "00:02:00"]
    assert states(slow) == ["TIMEOUT", "COMPLETED"]
    assert not psutil.pid_exists(sleeper.pid)

    assert states(run.jobs(comment(ONCE))) == ["CANCELLED", "COMPLETED"]
    assert states(run.jobs(comment(ALWAYS))) == ["CANCELLED"] * 3
    assert not (finished / ALWAYS / "metrics.json").exists()
    local, here = digests(tiny_run), digests(finished)
    assert {name for name in local if here.get(name) != local[name]} == {
        f"{ALWAYS}/{name}" for name in ("metrics.json", "predictions.parquet", "ranks.parquet")
    }


def comment(folder):
    """What the plugin writes into the comment of the evaluation in a folder."""
    return "rule_evaluation_wildcards_" + folder.replace(EVALUATION, "tiny_alder").replace(
        "/", "_"
    ).replace("_seed", "_")


def states(jobs):
    """States in the order of submission."""
    return [job["JobState"] for job in jobs]
