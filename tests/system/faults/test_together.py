"""Two at once, a read-only folder, a clone that moves, a clock that jumps: one line, no harm."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from random import Random

import pytest

from scripts.first.runtime.controller import jobs_in
from tests.system.faults import WHOLE, tried
from tests.system.faults.runs import (
    SNAKEMAKE,
    Run,
    damage,
    surroundings,
    undisturbed,
)
from tests.system.workflow.copies import digests

YEARS = 10 * 365 * 86400 * 10**9
NOTHING = "Nothing to be done"
TARGET = "results/tiny/tables/table1.csv"
MISSING = ("tables/table1", "tables/table1.csv", "evaluation/alder/csqa/first_ts")
MORE = ("tables/table1", "tables/table1.csv", "evaluation", "student")  # 20 jobs of a run
KEPT = ("data", "models", "teacher", "knowledge")


@pytest.fixture
def original(tmp_path_factory):
    """A whole run that nobody disturbed."""
    return undisturbed(tmp_path_factory.getbasetemp())


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it: files, dates and what Snakemake knows of them."""
    return shutil.copytree(original, tmp_path / "first", symlinks=True)


def test_two_controllers(original, folder):
    """Two at one moment, a third for another scale, a fourth that deletes: one line each.

    The first is undisturbed.
    """
    remove(folder, *MORE)
    kept = upstream(folder)
    two = [Run(folder, TARGET, log=name) for name in ("one.log", "two.log")]
    while all(run.process.poll() is None for run in two):
        time.sleep(0.05)
    first, second = sorted(two, key=lambda run: run.process.poll() is not None)
    first.reach(1, 0)
    third = Run(folder, words=(*SNAKEMAKE, "--config", "scale=smoke"), log="three.log")
    wipe = Run(folder, TARGET, words=(*SNAKEMAKE, "--delete-all-output"), log="wipe.log")
    dry = Run(folder, TARGET, words=(*SNAKEMAKE, "--dry-run"), log="dry.log")
    assert [wipe.wait(), third.wait(), second.wait(), first.process.poll()] == [1, 1, 1, None]
    assert dry.wait() == 0, dry.log()
    assert first.wait() == 0, first.log()[-4000:]
    said = [errors(run) for run in (second, third, wipe)]
    assert all(len(lines) == 1 and "a run is at work here" in lines[0] for lines in said), said
    assert digests(folder) == digests(original)
    assert kept and kept == upstream(folder)
    tried(
        "a second controller, a second scale, one that deletes",
        3,
        3,
        0,
        "a run is at work here, process ...",
    )


def test_read_only(original, folder):
    """What is there is up to date; what is missing cannot be made, and a line says so."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mounts may be made here (unshare -m)")
    with_results, said = read_only(folder, "results")
    assert with_results == 0 and NOTHING in said
    remove(folder)
    status, said = read_only(folder, "results")
    assert status == 1 and "results/ is read-only: what is missing in it cannot be made." in said
    assert "Traceback" not in said and damage(folder, digests(original)) == []
    status, whole = read_only(folder, ".")
    assert status == 1 and re.search(r"Read-only file system: \S+: Snakemake keeps its", whole)
    assert "Traceback" not in whole
    again = Run(folder, TARGET)
    assert again.wait() == 0 and digests(folder) == digests(original), again.log()[-4000:]
    tried(
        "read-only results, read-only clone", 3, 3, 0, "results/ is read-only: what is missing ..."
    )


def test_a_clone_that_moves(original, folder):
    """Killed, moved while its jobs still run, finished elsewhere; moved again, nothing to do."""
    remove(folder, *MORE)
    run = Run(folder, TARGET)
    run.reach(1, 0.2)
    while not jobs_in(folder) and run.process.poll() is None:
        time.sleep(0.01)
    run.strike(signal.SIGKILL, "controller", Random(0))
    run.wait()
    kept = upstream(folder)
    moved = folder.rename(folder.with_name("an other"))
    again = Run(moved, TARGET)
    assert again.wait() == 0, again.log()[-4000:]
    assert "was killed: unlocking" in again.log()
    assert digests(moved) == digests(original)
    last = moved.rename(folder.with_name("third"))
    nothing = Run(last, TARGET)
    assert nothing.wait() == 0 and NOTHING in nothing.log(), nothing.log()[-4000:]
    assert kept and kept == upstream(last)
    tried("a clone moved in the middle and after", 2, 2, 0, "was killed: unlocking, ending ...")


JUMPS = [("results", YEARS), ("resources", YEARS), ("results", -YEARS)]


@pytest.mark.parametrize(("made", "years"), JUMPS if WHOLE else JUMPS[:1])
def test_a_clock_that_jumped(original, folder, made, years):
    """Dated ten years on, or back: the run finishes with the same bytes, the next has none."""
    remove(folder)
    for path in (folder / made).rglob("*"):
        seen = path.stat()
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + years))
    run = Run(folder, TARGET)
    assert run.wait() == 0, run.log()[-4000:]
    assert ("are dated now" in run.log()) == (years > 0)
    assert digests(folder) == digests(original)
    nothing = Run(folder, TARGET)
    assert nothing.wait() == 0 and NOTHING in nothing.log(), nothing.log()[-4000:]
    tried(f"{made} dated {years // YEARS * 10:+d} years", 1, 1, 0, "nothing, or: are dated now")


@pytest.mark.skipif(not WHOLE, reason="make faults has it")
def test_a_clock_set_back_in_a_run(original, folder):
    """A job's outputs are older than its input then; the same command finishes."""
    remove(folder)
    run = Run(folder, TARGET)
    run.reach(1, 0)
    for path in (folder / "results/tiny/data").rglob("*"):
        os.utime(path, ns=(time.time_ns() + YEARS, time.time_ns() + YEARS))
    if run.wait():
        assert "Traceback" not in run.log() and "modification time" in run.log()
    again = Run(folder, TARGET)
    assert again.wait() == 0, again.log()[-4000:]
    assert digests(folder) == digests(original)
    tried("a clock set back in a run", 1, 1, 0, "Output ... has older modification time than input")


def remove(folder, *names):
    """Remove what some jobs made: less to do again than all."""
    for name in names or MISSING:
        path = folder / "results/tiny" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def upstream(folder):
    """{file: (inode, time of change)} of what the removed files were made from."""
    files = [p for name in KEPT for p in (folder / "results/tiny" / name).rglob("*.*")]
    stats = {str(p.relative_to(folder)): p.stat() for p in files}
    return {name: (seen.st_ino, seen.st_mtime_ns) for name, seen in stats.items()}


def read_only(folder, name):
    """(status, what was said) of a run on a file system where one folder is read-only."""
    mount = f"mount --bind {name} {name} && mount -o remount,ro,bind {name}"
    line = f'{mount} && cd "$PWD" && {" ".join(SNAKEMAKE)} -- {TARGET}'
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", line],
        cwd=folder,
        env=surroundings(folder),
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def errors(run):
    """Lines in which a run said what was wrong; all of them, if they are more than that."""
    lines = run.log().splitlines()
    wrong = [line for line in lines if line.startswith("error: ")]
    return wrong if not any("Traceback" in line for line in lines) else lines
