"""The controller is killed, or stopped by Ctrl-C: no job runs twice, and nothing is lost."""

import re
import signal
import subprocess
import sys

import pytest

from tests.system.slurm.cluster import PATH
from tests.system.slurm.runs import ENDED, Run, interval, program, remove, until
from tests.system.workflow.copies import digests, environment

pytestmark = pytest.mark.slow

METHODS = ("finetune", "distill", "distill_ls", "first_ts")
STUDENTS = [f"results/tiny/student/alder/csqa/{m}/seed1234/model.safetensors" for m in METHODS]
EVALUATIONS = [f"results/tiny/evaluation/alder/csqa/{m}/seed1234/metrics.json" for m in METHODS]


def test_killed_controller(cluster, tiny_run, finished):
    """kill -9 at three moments, the one command, the same command: the same bytes, made once."""
    remove(finished, *STUDENTS, *EVALUATIONS)
    moments = {
        "a student is trained": lambda run: program(finished, "scripts.student"),
        "a model is evaluated": lambda run: program(finished, "scripts.evaluation"),
        "jobs are in the queue": lambda run: run.jobs(),
    }
    known = {job["JobId"] for job in cluster.jobs()}
    reported, completed = [], []
    for name, moment in moments.items():
        run = Run(cluster, finished, *EVALUATIONS)
        until(lambda: moment(run), name)  # noqa: B023
        assert "a run is active" in recover(cluster, finished, status=2)
        run.process.kill()
        run.process.wait()
        reported += finished_jobs(run)
        again = Run(cluster, finished, *EVALUATIONS)
        assert again.finish() != 0 and "LockException" in again.log()
        assert again.jobs() == []
        assert "cancelling Slurm jobs: " in recover(cluster, finished)
        until(lambda: all(job["JobState"] in ENDED for job in run.jobs()), "no job left", 5)  # noqa: B023
        completed += [job for job in run.jobs() if job["JobState"] == "COMPLETED"]
    last = Run(cluster, finished, *EVALUATIONS)
    assert last.finish() == 0, last.log()[-4000:]
    reported += finished_jobs(last)

    assert digests(finished) == digests(tiny_run)
    # A kill may come between the end of a job and the line that reports it.
    ended = [job["Comment"] for job in completed if job["Comment"] not in reported]
    made = reported + ended
    assert len(made) == len(set(made)) == len(STUDENTS) + len(EVALUATIONS)
    jobs = [job for job in cluster.jobs() if job["JobId"] not in known]
    for comment in {job["Comment"] for job in jobs}:
        spans = sorted(interval(j) for j in jobs if j["Comment"] == comment and started(j))
        assert all(one[1] <= two[0] for one, two in zip(spans, spans[1:], strict=False)), comment


def test_ctrl_c_cancels_what_was_submitted(cluster, finished):
    """All jobs are cancelled; the site keys of the environment had reached them."""
    remove(finished, *STUDENTS)
    # The plugin forgets its jobs while it asks for their states: looking every second, it would
    # often be found so, and then cancels none.
    site = {"SLURM_PARTITION": "vip", "SLURM_CONSTRAINT": "new"}
    run = Run(cluster, finished, *STUDENTS, patient=True, **site)
    until(lambda: program(finished, "scripts.student"), "a student is trained")
    run.process.send_signal(signal.SIGINT)
    assert run.finish(120) != 0
    jobs = run.jobs()
    until(lambda: all(job["JobState"] in ENDED for job in run.jobs()), "no job left", 60)
    assert {job["JobState"] for job in run.jobs()} == {"CANCELLED"}
    assert {(job["Partition"], job["Features"]) for job in jobs} == {("vip", "new")}
    assert "cancelling" not in recover(cluster, finished)


def recover(cluster, folder, status=0):
    """Run the documented command; its output."""
    changes = {"PATH": f"{environment(folder)['PATH']}:{PATH}"}
    done = subprocess.run(
        cluster.command(sys.executable, "-m", "scripts.recover", cwd=folder),
        env=environment(folder, **changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def finished_jobs(run):
    """Comments of the Slurm jobs that the controller knew to be finished before it ended."""
    log = run.log()
    submitted = dict(re.findall(r"Job (\d+) has been submitted with SLURM jobid (\d+)", log))
    finished = [submitted.get(number) for number in re.findall(r"Finished jobid: (\d+)", log)]
    return [job["Comment"] for job in run.jobs() if job["JobId"] in finished]


def started(job):
    """Whether a job that is over ever ran."""
    return job["StartTime"] != "Unknown" and job["StartTime"] != job["EndTime"]
