"""What a run shows, by records of Snakemake's logger."""

import logging

import pytest
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from first_distill.runtime.terminal import FEW, LINES, SCREEN
from snakemake_logger_plugin_first import LogHandler, LogHandlerSettings

OTHERS = "dryrun printshellcmds verbose debug_dag show_failed_logs quiet"


class TestInterface(TestLogHandlerBase):
    """The interface's own tests."""

    __test__ = True

    def get_log_handler_cls(self):
        return LogHandler

    def get_log_handler_settings(self):
        return LogHandlerSettings()


class Shown:
    """A handler without a terminal, and what it prints of records at given seconds."""

    def __init__(self, capsys, **settings):
        asked, self.capsys = MockOutputSettings(), capsys
        asked.printshellcmds = asked.show_failed_logs = False
        self.handler = LogHandler(asked, LogHandlerSettings(**settings))

    def record(self, event, at=0.0, msg="", level=logging.INFO, **extra):
        record = logging.LogRecord("snakemake", level, "", 0, msg, (), None)
        record.created = 1e9 + at
        record.__dict__ |= {"event": event, **extra} if event else extra
        self.handler.handle(record)

    def start(self, count, at=0.0):
        self.record(LogEvent.RUN_INFO, at, stats={"teacher": count, "total": count})

    def job(self, number, start, end=None, error=None):
        own = {"rule_name": "teacher", "log": [f"logs/tiny/teacher/alder/{number}.log"]}
        self.record(LogEvent.JOB_STARTED, start, jobs=[number])
        self.record(LogEvent.JOB_INFO, start, jobid=number, wildcards={}, **own)
        if error:
            self.record(LogEvent.JOB_ERROR, end, jobid=number, rule_msg=error, **own)
        elif end is not None:
            self.record(LogEvent.JOB_FINISHED, end, job_id=number)

    def lines(self):
        captured = self.capsys.readouterr()
        assert not captured.out and "\x1b" not in captured.err
        return captured.err.splitlines()


def test_a_line_for_each_of_few_jobs(capsys):
    shown = Shown(capsys)
    shown.start(3)
    for number in range(3):
        shown.job(number, 60 * number, 60 * number + 60)
    shown.handler.close()
    shown.handler.close()  # logging closes it once more at exit
    assert shown.lines() == [
        "3 jobs: 3 teacher",
        "1 of 3  1 min, perhaps 2 min left  teacher alder/0",
        "2 of 3  2 min, perhaps 1 min left  teacher alder/1",
        "3 jobs in 3 min",
    ]


@pytest.mark.parametrize(("count", "every"), [(477, False), (FEW + 1, False), (477, True)])
def test_lines_of_many_jobs(capsys, count, every):
    """A tenth of the run each, unless each job is asked for."""
    shown = Shown(capsys, jobs=every)
    shown.start(count)
    for number in range(count):
        shown.job(number, number, number + 1)
    shown.handler.close()
    lines = shown.lines()
    assert len(lines) == 1 + (count if every else LINES)
    assert all(len(line) <= 120 for line in lines)


def test_a_line_where_a_tenth_takes_long(capsys):
    shown = Shown(capsys)
    shown.start(477)
    for number in range(3):
        shown.job(number, 3600 * number, 3600 * number + 3600)
    assert len(shown.lines()) == 1 + 3


def test_failures(capsys, tmp_path, monkeypatch):
    """Told when they happen, with a retry; at the end again once they have scrolled away."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs/tiny/teacher/alder").mkdir(parents=True)
    (tmp_path / "logs/tiny/teacher/alder/7.log").write_text("step 1\nerror: k: too large\n")
    shown = Shown(capsys, jobs=True)
    shown.start(SCREEN + 20)
    shown.job(7, 0, 1, error="SLURM-job '3' failed, SLURM status is: 'TIMEOUT'. See")
    shown.record(None, 1, msg="Trying to restart job 7.")
    shown.job(7, 2, 3, error="SLURM-job '4' failed, SLURM status is: 'TIMEOUT'. See")
    line = "failed: teacher alder/7: TIMEOUT: k: too large  (logs/tiny/teacher/alder/7.log)"
    assert shown.lines()[1:] == [line, "to be tried again: teacher alder/7", line]
    for number in range(SCREEN + 1):
        shown.job(number + 10, 4, 5)
    wrong = "WorkflowError:\nAt least one job did not complete successfully."
    shown.record(LogEvent.ERROR, 6, wrong, logging.ERROR, exception="WorkflowError")
    shown.record(None, 6, "Complete log(s): /x/y.log")
    shown.handler.close()
    *_, last, end = shown.lines()
    assert last == line
    assert end == "1 of 44 jobs failed, 25 done in 6 s (Snakemake's log: /x/y.log)"


def test_messages(capsys):
    """Every warning and error, once; of the rest what is not of every run."""
    shown = Shown(capsys)
    for level in (logging.WARNING, logging.ERROR):
        shown.record(None, 0, "Building DAG of jobs...", level)
        shown.record(LogEvent.ERROR, 0, "AmbiguousRuleException:\nRules a and b", level)
    for message in ("Building DAG of jobs...", "Select jobs to execute...", "None", "Nothing new"):
        shown.record(None, 0, message)
    shown.record(LogEvent.PROGRESS, 0, "None", done=1, total=2)
    shown.handler.close()
    wrong = ["Building DAG of jobs...", "AmbiguousRuleException:", "Rules a and b"]
    assert shown.lines() == [*wrong, *wrong, "Nothing new"]


@pytest.mark.parametrize("error", [None, "no"])
def test_ended_after_the_jobs_that_run(capsys, error):
    """Snakemake says so again and again, and that a job did not complete, which is none's fault."""
    shown = Shown(capsys)
    shown.start(3)
    for _ in range(3):
        shown.record(None, 1, "Will exit after finishing currently running jobs (scheduler).")
    shown.job(0, 0, 2, error=error)
    shown.record(None, 2, "WorkflowError:\nAt least one job did not complete successfully.")
    shown.handler.close()
    lines = shown.lines()
    assert sum(line.startswith("Will exit after") for line in lines) == 1
    end = "1 of 3 jobs failed, 0 done" if error else "ended after 2 s, 1 of 3 jobs done"
    assert lines[-1].startswith(end)


@pytest.mark.parametrize("key", OTHERS.split())
def test_whoever_asks_for_more_or_less_has_snakemakes_own(capsys, key):
    asked = MockOutputSettings()
    asked.printshellcmds = asked.show_failed_logs = False
    assert LogHandler(asked, None).writes_to_stream
    setattr(asked, key, {Quietness.PROGRESS} if key == "quiet" else True)
    assert not LogHandler(asked, None).writes_to_stream
    asked.quiet = {Quietness.HOST, Quietness.REASON}
    assert LogHandler(asked, None).writes_to_stream == (key == "quiet")
