"""`python -m scripts.recover` without a cluster; tests/system/slurm has one."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from scripts.first.runtime.controller import MARK, STARTED_ON
from scripts.recover import is_controller
from tests import tiny_models as tiny


def recovered(folder, *words, path=None):
    """Run it in a folder as a user would."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tiny.REPOSITORY),
        "PATH": path or os.environ["PATH"],
    }
    return subprocess.run(
        [sys.executable, "-m", "scripts.recover", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path):
    """A folder with a Snakefile of one rule."""
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'made'\n    shell: 'sleep 60'\n")
    return tmp_path


def test_nothing_to_do_is_no_error(project):
    done = recovered(project, path=str(project))  # no squeue on this PATH
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == [
        "no Slurm on this machine: no job was looked for",
        "not locked",
    ]


def test_elsewhere_is_one_line(tmp_path):
    done = recovered(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "no Snakefile" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_living_run_is_left_alone_and_a_killed_one_unlocked(project):
    """Refused while snakemake runs; after kill -9 its program is ended and the lock is gone."""
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "-c1", "--quiet", "all"],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    locks = project / ".snakemake/locks"
    end = time.monotonic() + 60
    while not list(locks.glob("*.lock")) and time.monotonic() < end:
        time.sleep(0.1)
    refused = recovered(project)
    assert refused.returncode == 2 and f"process {run.pid}" in refused.stderr
    assert list(locks.glob("*.lock"))
    run.kill()
    run.wait()
    done = recovered(project)
    assert done.returncode == 0 and "unlocked" in done.stdout.splitlines()
    assert not list(locks.glob("*.lock"))


def test_an_orphan_of_a_local_run_is_ended(project):
    """A job's program that outlived its run would write the same files again."""
    orphan = start_orphan(project)
    assert "ended 1 processes" in recovered(project).stdout
    assert orphan.wait(10) != 0


def start_orphan(folder):
    """A process as the rules' shell prefix starts a job's program."""
    words = [sys.executable, "-c", "import time; time.sleep(3600)"]
    environment = {**os.environ, MARK: str(folder / ".snakemake/encodings")}
    return subprocess.Popen(words, cwd=folder, env=environment, start_new_session=True)


def test_jobs_that_nobody_can_look_for_keep_the_lock(project):
    """Submitted from here once, and no squeue on this machine: only by --force."""
    (project / "logs/slurm").mkdir(parents=True)
    lock = project / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    done = recovered(project, path=str(project))
    assert done.returncode == 2 and "--force" in done.stderr and lock.exists()
    assert len(done.stderr.splitlines()) == 1
    forced = recovered(project, "--force", path=str(project))
    assert forced.returncode == 0, forced.stderr
    assert not lock.exists()


def test_a_run_of_another_machine_may_be_alive(project):
    """Its lock stays until `--force` says that it is dead; without a lock it is over."""
    lock = project / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    (project / STARTED_ON).write_text("login2")
    assert recovered(project).returncode == 0
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    refused = recovered(project)
    assert refused.returncode == 2 and "login2" in refused.stderr and lock.exists()
    assert len(refused.stderr.splitlines()) == 1
    assert recovered(project, "--force").returncode == 0
    assert not lock.exists()


@pytest.mark.parametrize(
    ("line", "controller"),
    [
        ("python bin/snakemake --profile slurm", True),
        ("python -m snakemake -c2", True),
        ("python -u /opt/bin/snakemake --profile slurm", True),
        ("python3.11 -X dev -W error -um snakemake", True),
        ("python -m snakemake --mode subprocess", False),
        ("python -c print() snakemake", False),
        ("python -m scripts.student --seed 1", False),
        ("python -u -m scripts.student --seed 1", False),
        ("python -m scripts.plan --scale paper", False),
        ("python -m scripts.recover", False),
        ("python -m scripts.first.runtime.warm run -- make", False),
        ("vim Snakefile", False),
        ("", False),
        ("python -m", False),
    ],
)
def test_what_is_running(line, controller):
    assert is_controller(line.split()) == controller


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1",
            "Unable to contact",
        ),
        ("exit 3", "status 3"),
    ],
)
def test_a_slurm_that_does_not_answer_unlocks_nothing(project, script, said):
    """Jobs may run that nobody can see: the lock stays."""
    lock = project / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    squeue = project / "bin/squeue"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\n{script}\n")
    squeue.chmod(0o755)
    done = recovered(project, path=f"{squeue.parent}:/usr/bin:/bin")
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert lock.exists()
