"""One run a folder at a time, and a killed one continues: real processes and signals."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from first_distill import ROOT
from first_distill.runtime.run import LOCK, NAME
from tests.short import short

RULES = """
rule all:
    input: "made"

rule made:
    input: "other"
    output: "made"
    shell: "trap : TERM; echo $$ >pid; test -e go || sleep 300; date >made"

rule other:
    output: "other"
    shell: "touch other"
"""
SECONDS = 60


@pytest.fixture
def folder(tmp_path):
    """A folder with a workflow; `made` follows `other` and waits unless there is a file `go`."""
    (tmp_path / "Snakefile").write_text(RULES)
    yield tmp_path
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] == str(tmp_path):
            process.kill()


def start(folder, *words, module="first_distill.runtime.run"):
    """Snakemake in the folder, by the runner or without."""
    line = [sys.executable, "-m", module, "-c2", "--rerun-incomplete", *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, cwd=folder, env=environment, **streams)


def started(folder, *words, **options):
    """A run whose job `made` waits, and the process id of the job's shell."""
    run = start(folder, *words, **options)
    return run, until(lambda: (folder / "pid").is_file() and (folder / "pid").read_text().strip())


def until(condition):
    """The value of a condition once it is true."""
    end = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def processes(folder):
    """Processes of a run in the folder, its runner aside."""
    everyone = psutil.process_iter(["cwd", "environ"])
    here = [p for p in everyone if p.info["cwd"] in (str(folder), str(ROOT))]
    return [p for p in here if NAME in (p.info["environ"] or {})]


@pytest.mark.parametrize("number", short([signal.SIGINT, signal.SIGTERM], signal.SIGINT))
def test_a_second_run_is_refused_and_a_signal_ends_the_first(folder, number):
    run, _ = started(folder)
    second = start(folder)
    said = second.communicate(timeout=SECONDS)[0]
    assert second.returncode == 2 and said.count("\n") == 1
    assert said.startswith(f"error: a run is active: {folder}: ")
    run.send_signal(number)
    said = run.communicate(timeout=SECONDS)[0]
    assert run.returncode != 0 and not processes(folder) and not (folder / "made").exists(), said
    (folder / "go").touch()
    again = start(folder)
    said = again.communicate(timeout=SECONDS)[0]
    assert again.returncode == 0 and (folder / "made").exists(), said


def test_a_killed_run_continues(folder):
    """Its orphans are ended, its lock is released; finished files are not remade."""
    run, shell = started(folder)
    other = (folder / "other").stat().st_mtime_ns
    controllers = [p for p in processes(folder) if "snakemake" in p.cmdline()]
    for process in [psutil.Process(run.pid), *controllers]:
        process.kill()
    run.wait()
    assert controllers and psutil.pid_exists(int(shell))
    halted = start(folder)  # killed while it unlocks
    children = psutil.Process(halted.pid).children
    until(lambda: [p.kill() or p for p in children() if "--unlock" in p.cmdline()])
    assert halted.wait(SECONDS) == 128 + signal.SIGKILL
    (folder / "go").touch()
    again = start(folder)
    said = again.communicate(timeout=SECONDS)[0]
    assert again.returncode == 0 and "did not finish" in said, said
    assert not psutil.pid_exists(int(shell))
    assert (folder / "other").stat().st_mtime_ns == other
    assert (folder / LOCK).read_text() == ""


def test_snakemake_alone_keeps_its_lock(folder):
    """Its lock is released only after a run that is known to be killed."""
    run, _ = started(folder, module="snakemake")
    second = start(folder)
    said = second.communicate(timeout=SECONDS)[0]
    assert second.returncode == 1 and "LockException" in said, said
    assert run.poll() is None
    run.kill()
    run.wait()


@pytest.mark.slow
def test_a_snakemake_that_hangs_is_killed(folder):
    """Asked to stop, it ends its jobs and then nothing more, here because it is stopped."""
    run, shell = started(folder)
    controller = next(p for p in processes(folder) if "snakemake" in p.cmdline())
    controller.send_signal(signal.SIGSTOP)
    run.send_signal(signal.SIGTERM)
    assert run.wait(SECONDS) == 128 + signal.SIGKILL and not processes(folder)
    (folder / "go").touch()
    assert start(folder).wait(SECONDS) == 0 and (folder / "made").exists()
