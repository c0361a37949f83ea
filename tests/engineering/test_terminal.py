"""What a run shows: records of Snakemake's logger, and real runs with and without a terminal."""

import logging
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from first_distill import ROOT
from first_distill.runtime.terminal import FEW, LINES, SCREEN
from snakemake_logger_plugin_first import LogHandler, LogHandlerSettings

SECONDS = 120
OTHERS = "dryrun printshellcmds verbose debug_dag show_failed_logs quiet"
RULES = """
rule all:
    input: expand("good/{n}", n=range(3)), "bad", "again"

rule good:
    output: "good/{n}"
    log: "logs/tiny/good/{n}.log"
    shell: "sleep 1; touch {output}"

rule bad:
    output: "bad"
    log: "logs/tiny-x2/bad/alder/csqa.log"
    shell: "echo 'error: no such thing: k: name one' >{log}; exit 1"

rule again:
    output: "again"
    log: "logs/tiny/again/x.log"
    shell: "touch {output}; test -e tried || {{ touch tried; echo 'not yet' >{log}; exit 1; }}"

rule slow:
    output: "slow"
    log: "logs/tiny/slow/x.log"
    shell: "touch started; sleep 100; touch {output}"

rule missing:
    output: "missing"
    shell: "true"
"""


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


@pytest.mark.parametrize("key", OTHERS.split())
def test_whoever_asks_for_more_or_less_has_snakemakes_own(capsys, key):
    asked = MockOutputSettings()
    asked.printshellcmds = asked.show_failed_logs = False
    assert LogHandler(asked, None).writes_to_stream
    setattr(asked, key, {Quietness.PROGRESS} if key == "quiet" else True)
    assert not LogHandler(asked, None).writes_to_stream
    asked.quiet = {Quietness.HOST, Quietness.REASON}
    assert LogHandler(asked, None).writes_to_stream == (key == "quiet")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text(RULES)
    return tmp_path


def command(*words, logger=True):
    own = ["--logger", "first"] if logger else []
    return [sys.executable, "-m", "snakemake", "-c2", "-k", *own, *words]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}


def run(folder, *words, **options):
    """Status, standard output, standard error of a run without a terminal."""
    streams = {"capture_output": True, "text": True, "timeout": SECONDS, "check": False}
    done = subprocess.run(command(*words, **options), cwd=folder, env=environment(), **streams)
    return done.returncode, done.stdout, done.stderr


def in_terminal(folder, *words, interrupt=None):
    """Status and output of a run in a terminal; interrupt: a file after which Ctrl-C is typed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, command(*words), environment())
    text, end = b"", time.monotonic() + SECONDS
    os.set_blocking(terminal, False)
    while time.monotonic() < end:
        if interrupt is not None and interrupt.exists():
            time.sleep(1)
            os.write(terminal, b"\x03")
            interrupt = None
        try:
            part = os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.05)
            continue
        except OSError:  # the other side is closed
            break
        if not part:
            break
        text += part
    else:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return status, text.decode()


FAILURE = "failed: bad alder/csqa (tiny-x2): no such thing: k: name one"
FAILURE += "  (logs/tiny-x2/bad/alder/csqa.log)"


def test_a_run_with_a_failure_and_a_retry(folder):
    status, out, err = run(folder, "--retries", "1")
    lines = Counter(
        re.sub(r"\d+ s\b.*left|in \d+ s|\(Snakemake.*", "", x) for x in err.splitlines()
    )
    assert (status, out) == (1, "") and "\x1b" not in err
    assert lines["5 jobs: 1 again, 1 bad, 3 good"] == 1
    assert lines[FAILURE] == 2 and lines["to be tried again: bad alder/csqa (tiny-x2)"] == 1
    assert lines["failed: again x: not yet  (logs/tiny/again/x.log)"] == 1
    assert err.splitlines()[-1].startswith("1 of 5 jobs failed, 4 done in ")
    assert "Traceback" not in err and "CalledProcessError" not in err and "WorkflowError" not in err
    assert len(err.splitlines()) == 1 + 4 + 3 + 2 + 1, err


def test_a_run_in_a_terminal(folder):
    """The view is drawn and gone at the end, the failure and the end stay."""
    status, text = in_terminal(folder)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert status == 1 and re.search(r"now  (good|again|bad) ", plain)
    assert plain.count(FAILURE) == 1
    assert re.search(r"2 of 5 jobs failed, 3 done in \d+ s", plain.splitlines()[-1])
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"


def test_interrupted(folder):
    """One line from Snakemake, one from us; the job is no failure."""
    status, text = in_terminal(folder, "--", "slow", interrupt=folder / "started")
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert status != 0 and "Terminating processes on user request" in plain
    assert re.search(r"ended after \d+ s, 0 of 1 job done: run it again to go on", plain)
    assert "failed" not in plain and "Error" not in plain


def test_errors_that_are_no_jobs(folder):
    """In full, once, on standard error; and what Snakemake says where nothing is to be done."""
    message = "MissingRuleException:\nNo rule to produce nowhere (if you use input functions make "
    message += "sure that they don't raise unexpected exceptions).\n"
    assert run(folder, "--", "nowhere") == (1, "", message)
    (folder / "Snakefile").write_text(RULES + "\nrule broken\n    output: 'x'\n")
    status, out, err = run(folder)
    assert (status, out) == (1, "") and err.startswith("SyntaxError in file")
    assert err.count("Expected name or colon after") == 1
    (folder / "Snakefile").write_text(RULES)
    assert run(folder, "--", "good/1")[0] == 0
    status, _, err = run(folder, "--", "good/1")
    assert (status, "Nothing to be done" in err) == (0, True)
    status, _, err = run(folder, "--latency-wait", "0", "--", "missing")
    assert status == 1 and err.count("some output files are missing") == 1
    assert err.splitlines()[-1].startswith("at least one of 1 job failed, 0 done in ")


@pytest.mark.parametrize("words", [("-n", "-p"), ("--summary",)])
def test_other_modes_print_what_snakemake_prints(folder, words):
    """Standard output is the same but for times, paths and the order of sets."""

    def lines(text):
        kept = [x for x in text.splitlines() if not re.match(r"\[|  (Date|Workflow|Command)", x)]
        return Counter(re.sub("(Missing output files:|Input files updated).*", "", x) for x in kept)

    ours, own = run(folder, *words), run(folder, *words, logger=False)
    assert ours[0] == own[0] and lines(ours[1]) == lines(own[1])
    assert ours[1]
