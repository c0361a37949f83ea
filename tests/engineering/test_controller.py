"""One run in a folder at a time, and what is done about a killed one: real processes and locks."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.first.errors import UserError
from scripts.first.runtime import controller
from scripts.first.runtime.controller import LOCKS, MARK, SLURM_LOGS, STARTED_ON, hold

HOLDER = """
import sys, time
from pathlib import Path
from scripts.first.runtime.controller import hold
hold(Path.cwd())
print("held", flush=True)
time.sleep(3600)
"""

WRITER = """
import sys
from scripts.first.files import atomic_path
with atomic_path(sys.argv[1]) as path:
    path.touch()
    print(path, flush=True)
    input()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder; what the test holds is given back."""
    held = []
    monkeypatch.setattr(controller, "_held", held)
    yield tmp_path.resolve()
    for file in held:
        file.close()


@pytest.fixture
def run(folder):
    """A run in another process that holds the folder, with Snakemake's lock."""
    words = [sys.executable, "-c", HOLDER]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    lock(folder)
    yield process
    process.kill()
    process.communicate()


def lock(folder):
    """Snakemake's lock of a run."""
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    (folder / LOCKS / "0.output.lock").touch()


def orphan(folder, *words, **variables):
    """A process of its own in the folder."""
    return subprocess.Popen(
        words, cwd=folder, env={**os.environ, **variables}, start_new_session=True
    )


def test_a_second_run_is_told_of_the_first(folder, run):
    """Its machine and process; the first keeps both locks, its record and its jobs."""
    job = orphan(folder, "sleep", "3600", **{MARK: "x"})
    for _ in range(2):
        with pytest.raises(UserError, match=f"process {run.pid} on {socket.gethostname()}"):
            hold(folder)
    assert controller.is_locked(folder) and job.poll() is None
    assert controller.last_run(folder) == (socket.gethostname(), str(run.pid))
    job.kill()
    job.wait()


def test_what_a_killed_run_left_is_cleared_away(folder, run, capsys):
    """Its job's shell, though it does not end by SIGTERM, and its program; nothing else."""
    program = "import signal, time; signal.signal(15, lambda *a: exit(0)); time.sleep(3600)"
    line = f"trap : TERM; export {MARK}=x; {sys.executable} -c '{program}'; true"
    shell = orphan(folder, "bash", "-c", line)
    stranger = orphan(folder, "sleep", "3600")
    run.kill()
    run.wait()
    hold(folder)
    assert shell.wait(10) == 0 and stranger.poll() is None
    assert not controller.is_locked(folder)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "was killed: unlocking, ending" in said[0]
    stranger.kill()
    stranger.wait()


def test_jobs_that_outlived_a_run_without_its_lock(folder, run, capsys):
    """A run that was stopped twice takes its lock with it, not its jobs."""
    job = orphan(folder, "sleep", "3600", **{MARK: "x"})
    run.kill()
    run.wait()
    controller.unlock(folder)
    hold(folder)
    assert job.wait(10) == -15 and "ending 1" in capsys.readouterr().err


def test_one_run_after_another_says_nothing(folder, capsys):
    hold(folder)
    controller._held.pop().close()
    hold(folder)
    assert capsys.readouterr() == ("", "")


def test_slurm_jobs_may_be_alive(folder, run):
    """They are cancelled by the one command that can look for them; the lock stays until then."""
    (folder / SLURM_LOGS).mkdir(parents=True)
    run.kill()
    run.wait()
    with pytest.raises(UserError, match="Slurm's queue: run `python -m scripts.recover`"):
        hold(folder)
    assert controller.is_locked(folder)


@pytest.mark.parametrize("record", ["login2 17\n", "login2", ""])
def test_a_run_of_another_machine_may_be_alive(folder, record):
    """A file system need not tell one machine of the locks of another."""
    lock(folder)
    if record:
        (folder / STARTED_ON).write_text(record)
    where = "login2" if record else "another machine"
    with pytest.raises(UserError, match=f"locked by a run on {where}: run `python -m"):
        hold(folder)
    assert controller.is_locked(folder)
    assert not record or (folder / STARTED_ON).read_text() == record


def test_a_file_system_without_locks(folder, monkeypatch):
    """Snakemake's own lock has to do: nothing is taken away, and the line says what to do."""

    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    hold(folder)
    lock(folder)
    with pytest.raises(UserError, match=r"when none is at work, run `python -m scripts\.recover`"):
        hold(folder)
    assert controller.is_locked(folder)


def test_files_of_the_future_are_dated_now_in_their_order(folder, capsys):
    """So that nothing is made again; what is older than now keeps its date."""
    names = ["old", "deep/first", "second", "deep/third"]
    dates = [10**18, 4 * 10**18, 4 * 10**18 + 1, 5 * 10**18]
    for name, date in zip(names, dates, strict=True):
        made(folder, name, date)
    hold(folder)
    found = [(folder / "results" / name).stat().st_mtime for name in names]
    assert found == sorted(set(found)) and found[0] == 10**9 and found[-1] <= time.time()
    assert "are dated now" in capsys.readouterr().err
    controller.tidy(folder)
    assert capsys.readouterr().err == ""


def test_files_that_killed_jobs_had_begun_are_removed(folder, capsys):
    """Their process has ended; a file that has its final name stays."""
    kept = made(folder, "model.safetensors", 10**18)
    words = [sys.executable, "-c", WRITER, str(folder / "results/a/x.csv")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        left = Path(process.stdout.readline().decode().strip())
        hold(folder)
        assert left.exists() and capsys.readouterr().err == ""  # from wherever it was started
        process.kill()
    controller.clear(folder)
    assert kept.exists() and not left.exists()
    assert "Removed 1 files" in capsys.readouterr().err


def test_files_of_unknown_writers_are_kept_for_an_hour(folder, capsys):
    """Of another machine, or of another name."""
    now = time.time_ns()
    names = ["a/.x.elsewhere-999999999.0a1b2c3d.part.csv", "a/.x.0a1b2c3d.part.csv"]
    kept = [made(folder, name, now) for name in names]
    left = made(folder, "a/.y.elsewhere-1.0a1b2c3d.part.csv", now - 2 * controller.HOUR)
    controller.clear(folder)
    assert all(path.exists() for path in kept) and not left.exists()
    assert "Removed 1 files" in capsys.readouterr().err


def made(folder, name, date):
    """A file of results/ and its date in nanoseconds."""
    path = folder / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, ns=(date, date))
    return path
