"""A run ends with the last line of each failed job's log."""

import logging
from pathlib import Path

from snakemake_interface_logger_plugins.common import LogEvent

from first_distill.runtime.failures import FailedJobs


def event(jobs, kind, **extra):
    """One record of Snakemake's logger."""
    record = logging.LogRecord("snakemake", logging.ERROR, "", 0, "", None, None)
    record.__dict__ |= {"event": kind, **extra}
    jobs.handle(record)


def test_last_lines(tmp_path, monkeypatch, capsys):
    """A message, a traceback, an empty log before Slurm's, no log, a bar, a retry."""
    monkeypatch.chdir(tmp_path)
    Path("a.log").write_text("50%\nerror: k = 9: --k: at most 5\n")
    Path("b.log").write_text(
        "Traceback (most recent call last):\n  ...\nRuntimeError: a defect\n\n"
    )
    Path("empty.log").write_text("")
    jobs = FailedJobs()
    Path("killed.log").write_text(
        "error: x\ntests:  23%|####    | 92/400 [01:00<02:44,  1.87row/s]\n"
    )
    others = (["absent.log"], ["killed.log"], ["a.log"])
    for number, logs in enumerate((["a.log"], ["empty.log", "b.log"], *others)):
        event(jobs, LogEvent.JOB_ERROR, jobid=number, rule_name="teacher", log=logs)
    event(jobs, LogEvent.JOB_FINISHED, job_id=4)
    jobs.report()
    assert capsys.readouterr().err.splitlines() == [
        "error: teacher: a.log: k = 9: --k: at most 5",
        "error: teacher: b.log: RuntimeError: a defect",
        "error: teacher: no message in its log",
        "error: teacher: killed.log: it was killed, perhaps for memory, and left no message: run "
        "it again",
    ]
