"""The line at the head of a job's log: its commit, machine and start."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from first_distill import joblog
from first_distill.provenance import made_by
from tests.tiny_models import REPOSITORY

SMI = """#!/bin/sh
case "$*" in *--id=7*) echo "NVIDIA H200" ;; *) printf 'NVIDIA A\\nNVIDIA B\\nNVIDIA A\\n' ;; esac
exit ${SMI:-0}
"""


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists three GPUs, one of which is number 7."""
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_line_is_read_as_it_was_written(tmp_path):
    line = joblog.head({joblog.VARIABLE: joblog.facts("abc-dirty", made_by.machine())})
    (tmp_path / "a.log").write_text(f"before\n{line}\nafter\n")
    told = joblog.told(tmp_path / "a.log")
    assert [*told] == [*joblog.KEYS] and told["commit"] == "abc-dirty"
    assert told["cores"] == str(len(os.sched_getaffinity(0)))
    assert told["memory"] == f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    started = datetime.strptime(told["started"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    assert timedelta(0) <= datetime.now(UTC) - started < timedelta(minutes=1)


@pytest.mark.parametrize("own", [{}, {joblog.VARIABLE: "a", "RANK": "1"}])
def test_no_line_by_hand_and_one_for_all_processes_of_a_training(own):
    assert joblog.head(own) is None
    assert joblog.head({joblog.VARIABLE: "a", "RANK": "0"})


def test_a_commit_is_kept_where_git_is_not():
    given = {joblog.VARIABLE: joblog.facts("abc-dirty", made_by.machine())}
    assert joblog.known_commit(given) == "abc-dirty" and joblog.known_commit({}) is None


@pytest.mark.parametrize("content", [None, b"", b"no line\n", b"job: commit a\n", b"\xff\x00"])
def test_a_log_that_does_not_tell(tmp_path, content):
    if content is not None:
        (tmp_path / "a.log").write_bytes(content)
    assert joblog.told(tmp_path / "a.log") is None


def test_gpus_are_counted_by_name(smi, monkeypatch):
    assert made_by.machine()["GPUs"] == "2 x NVIDIA A, 1 x NVIDIA B"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert made_by.machine()["GPUs"] == "1 x NVIDIA H200"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert made_by.machine()["GPUs"] == "none"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SMI", "9")  # no driver
    assert made_by.machine()["GPUs"] == "unknown"


def test_a_job_begins_with_the_line_and_a_full_log_stops_none(monkeypatch):
    """What the job itself cannot write, it says."""
    monkeypatch.setenv(joblog.VARIABLE, "a")
    code = "from first_distill.runtime.launch import launch; launch('x', lambda argv: 0)"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stderr.startswith("job: a; Python 3.") and done.stderr.count("\n") == 1
    with open("/dev/full", "w") as full:
        subprocess.run(line, stderr=full, cwd=REPOSITORY, check=True)
