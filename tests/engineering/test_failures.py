"""A failure is one line: the last line of the job's log; runs without our logger end with them."""

import logging
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from first_distill.runtime.failures import LONGEST, FailedJobs, failure

MORE = "For further error details see the cluster/cloud log ..."
SLURM = f"SLURM-job '7' failed, SLURM status is: 'OUT_OF_MEMORY'. {MORE}"
KILLED = "it was killed, perhaps for memory, and left no message: run it again"
LOGS = {
    "a.log": "50%\nerror: k = 9: --k: at most 5\n",
    "b.log": "Traceback (most recent call last):\n  ...\nRuntimeError: a defect\n\n",
    "empty.log": "",
    "head.log": "job: commit a; processor b; cores 2; memory 8 GiB; GPUs none; Python 3; "
    "started 2026-01-03 10:00:00 UTC\n",
    "slurm.log": "slurmstepd-a1: error: Exceeded job memory limit\nsrun: error: task 0: Killed\n"
    "WorkflowError:\nAt least one job did not complete successfully.\n",
    "killed.log": "error: x\ntests:  23%|####    | 92/400 [01:00<02:44,  1.87row/s]\n",
    "long.log": "\x1b[31m" + "x" * 2 * LONGEST,
}


def event(kind, **extra):
    """One record of Snakemake's logger."""
    record = logging.LogRecord("snakemake", logging.ERROR, "", 0, "", None, None)
    record.__dict__ |= {"event": kind, "rule_msg": None, **extra}
    return record


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in LOGS.items():
        Path(name).write_text(text)


@pytest.mark.parametrize(
    ("logs", "message", "line"),
    [
        (["a.log"], None, "k = 9: --k: at most 5  (a.log)"),
        (["empty.log", "b.log"], None, "RuntimeError: a defect  (b.log)"),
        (["empty.log", "b.log"], SLURM, "OUT_OF_MEMORY: RuntimeError: a defect  (b.log)"),
        (["absent.log (send to storage)"], None, "no message in its log  (absent.log)"),
        (["head.log"], None, "no message in its log  (head.log)"),
        (["head.log", "b.log"], None, "RuntimeError: a defect  (b.log)"),
        (["killed.log"], None, f"{KILLED}  (killed.log)"),
        (["empty.log", "slurm.log"], None, "Exceeded job memory limit  (slurm.log)"),
        (["a.log"], f"sbatch:\nno jobs\n{MORE}", "sbatch: no jobs"),
        ([], None, "it has no log"),
    ],
)
def test_one_line(logs, message, line):
    record = event(LogEvent.JOB_ERROR, log=logs, rule_msg=message)
    assert failure("teacher", record) == f"failed: teacher: {line}"


def test_a_line_for_a_terminal():
    """No control characters, not the longest of lines."""
    line = failure("teacher", event(LogEvent.JOB_ERROR, log=["long.log"]))
    assert line.isprintable() and line.endswith("x ...  (long.log)")
    assert len(line) < LONGEST + 50


def test_report(capsys):
    """Each job that failed once, not one whose retry has succeeded."""
    jobs = FailedJobs()
    for number in (1, 2, 2):
        record = event(LogEvent.JOB_ERROR, jobid=number, rule_name=f"rule{number}", log=["a.log"])
        jobs.handle(record)
    jobs.handle(event(LogEvent.JOB_FINISHED, job_id=1))
    jobs.report()
    assert capsys.readouterr().err == "failed: rule2: k = 9: --k: at most 5  (a.log)\n"
