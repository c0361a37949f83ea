"""`python -m scripts.recover` with a Slurm of two scripts; tests/system/slurm has a real one."""

import os
import subprocess
import sys
import time

import pytest

from first_distill import ROOT

SQUEUE = '#!/bin/sh\ncat "$(dirname "$0")/jobs"\n'
SCANCEL = '#!/bin/sh\necho "$@" >>"$(dirname "$0")/cancelled"; echo >"$(dirname "$0")/jobs"\n'


@pytest.fixture
def project(tmp_path):
    """A workflow that a killed run has locked, and a Slurm with three jobs, one of them its own."""
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'made'\n    shell: 'sleep 60'\n")
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.output.lock").write_text("made\n")
    (tmp_path / "bin").mkdir()
    for name, text in (("squeue", SQUEUE), ("scancel", SCANCEL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    rows = f"7|first_0a1b|{tmp_path}\n8|first_0a1b|/elsewhere\n9|mine|{tmp_path}\n"
    (tmp_path / "bin/jobs").write_text(rows)
    return tmp_path


def recovered(folder):
    """Run it in a folder as a user would."""
    path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    line = [sys.executable, "-m", "scripts.recover"]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


def locked(folder):
    return any(folder.glob(".snakemake/locks/*"))


def test_this_folders_jobs_are_cancelled_and_it_is_unlocked(project):
    done = recovered(project)
    assert done.returncode == 0 and not locked(project), done.stderr
    assert (project / "bin/cancelled").read_text() == "7\n"


def test_an_active_run_is_left_alone(project):
    (project / ".snakemake/locks/0.output.lock").unlink()
    line = [sys.executable, "-m", "snakemake", "-c1", "--quiet", "all"]
    with subprocess.Popen(line, cwd=project, stderr=subprocess.DEVNULL) as run:
        while not locked(project) and run.poll() is None:
            time.sleep(0.1)
        done = recovered(project)
        assert done.returncode == 2 and f"process {run.pid}" in done.stderr
        assert locked(project) and not (project / "bin/cancelled").exists()
        run.kill()


@pytest.mark.parametrize("text", ["echo 'squeue: error: Unable to contact' >&2; exit 1", "exit 3"])
def test_a_slurm_that_does_not_answer_unlocks_nothing(project, text):
    """There may be jobs that nobody can see."""
    (project / "bin/squeue").write_text(f"#!/bin/sh\n{text}\n")
    done = recovered(project)
    assert done.returncode == 2 and locked(project)
    assert done.stderr.startswith("error: squeue: ") and len(done.stderr.splitlines()) == 1
