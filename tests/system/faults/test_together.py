"""Two runs of one folder, and a clone that moves while it is at work: one line, no harm."""

import shutil
import signal
import time
from random import Random

import pytest

from tests.system.faults import tried
from tests.system.faults.runs import RUNNER, SNAKEMAKE, Run, undisturbed
from tests.system.workflow.copies import digests

TARGETS = ("results/tiny/tables/table1.csv", "cards")
MISSING = ("tables/table1", "tables/table1.csv", "evaluation", "student")  # 26 jobs of a run


@pytest.fixture
def original(tmp_path_factory):
    """An undisturbed whole run."""
    return undisturbed(tmp_path_factory.getbasetemp())


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it, with Snakemake's records, in which some files are missing."""
    folder = shutil.copytree(original, tmp_path / "first", symlinks=True)
    for name in MISSING:
        path = folder / "results/tiny" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


@pytest.mark.slow
def test_two_runs(original, folder):
    """Two at one moment, a third for another scale, a bare snakemake: the first is undisturbed."""
    two = [Run(folder, *TARGETS, log=name) for name in ("one.log", "two.log")]
    while all(run.process.poll() is None for run in two):
        time.sleep(0.05)
    first, second = sorted(two, key=lambda run: run.process.poll() is not None)
    first.reach(1, 0)
    third = Run(folder, words=(*RUNNER, "--config", "scale=smoke"), log="three.log")
    assert (second.wait(), third.wait()) == (2, 2)
    for run in (second, third):
        assert run.log().startswith("error: a run is active: ") and run.log().count("\n") == 1
    bare = Run(folder, *TARGETS, words=SNAKEMAKE, log="bare.log")
    assert bare.wait() == 1 and "LockException" in bare.log()
    assert first.wait() == 0, first.log()[-4000:]
    assert digests(folder) == digests(original)
    tried("a second run, another scale, a bare snakemake", 3, 3, 0, second.log().strip())


@pytest.mark.slow
def test_a_clone_that_moves(original, folder):
    """Killed, moved while its jobs run, finished elsewhere; moved again, nothing to do."""
    run = Run(folder, *TARGETS)
    assert run.reach(1, 0.2)
    for whom in ("runner", "controller"):
        run.strike(signal.SIGKILL, whom, Random(0))
    run.wait()
    moved = folder.rename(folder.with_name("an other"))
    again = Run(moved, *TARGETS)
    assert again.wait() == 0 and "did not finish" in again.log(), again.log()[-4000:]
    assert digests(moved) == digests(original)
    nothing = Run(moved.rename(folder.with_name("third")), *TARGETS)
    assert nothing.wait() == 0 and "Nothing to be done" in nothing.log(), nothing.log()[-4000:]
    tried("a clone moved in the middle and after", 2, 2, 0, "The last run did not finish: ...")
