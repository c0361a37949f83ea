"""What real runs show, with and without a terminal."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from first_distill import ROOT

SECONDS = 120
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
