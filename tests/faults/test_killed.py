"""Killed anywhere: a whole run, signals at seeded random moments, the same command again.

One folder is struck again and again until its run is whole, is compared with an undisturbed run,
and begun anew until all signals are spent. Every second time training saves its state at each step,
and goes on from there.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from random import Random

import pytest

from tests.faults import WHOLE, tried
from tests.faults.runs import Run, damage, finished, part_files, whole_jobs
from tests.faults.small import small_copy
from tests.workflow.copies import digests

COUNTS = (
    {"SIGKILL": 40, "SIGTERM": 10, "SIGINT": 10}
    if WHOLE
    else dict.fromkeys(("SIGKILL", "SIGTERM", "SIGINT"), 1)
)
WHOM = ("everything", "controller", "job", "server")
SEED = 2408
MADE = ("results/tiny", "logs", "benchmarks", ".snakemake")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A whole run that nobody disturbed."""
    folder = small_copy(tmp_path_factory.mktemp("killed") / "first")
    run = Run(folder)
    assert run.wait() == 0, run.log()[-4000:]
    return folder


def test_killed_anywhere(undisturbed, tmp_path):
    """The same command finishes with the same bytes, and what was finished is not made again."""
    reference, jobs = digests(undisturbed), whole_jobs(undisturbed)
    folder = small_copy(tmp_path / "first")
    random = Random(SEED)
    strikes = [name for name, count in COUNTS.items() for _ in range(count)]
    random.shuffle(strikes)
    done, kept, said, rounds, run = Counter(), {}, [], 0, None
    start = time.monotonic()

    def ended(run):
        """What a run left that is over, killed or not."""
        said.append(run.log())
        for name, seen in finished(folder, jobs).items():
            assert kept.setdefault(name, seen) == seen, f"made again: {name}"
        assert damage(folder, reference) == []

    while strikes or run:
        if run is None:
            minutes = {"FIRST_CHECKPOINT_MINUTES": "0"} if rounds % 2 else {}
            run = Run(folder, **minutes)
        alive = strikes and run.reach(*moment(random))
        if alive:
            name = strikes.pop()
            whom = run.strike(signal.Signals[name], random.choice(WHOM), random)
            done[name, whom] += 1
            if whom in ("job", "server"):
                continue  # the run goes on without it, to the next moment
        status = run.wait()
        ended(run)
        if status == 0:
            assert digests(folder) == reference
            assert not damage(folder, reference)
            rounds += 1
            kept.clear()
            for made in MADE if strikes else ():
                shutil.rmtree(folder / made, ignore_errors=True)
        run = None if strikes or status else False
    assert run is False and digests(folder) == reference
    log = "\n".join(said)
    assert "Traceback" not in log and "LockException" not in log
    assert part_files(folder) == []
    seconds = time.monotonic() - start
    for name in COUNTS:
        reached = ", ".join(f"{n} {whom}" for (s, whom), n in sorted(done.items()) if s == name)
        tried(f"{name} at a random moment ({reached})", COUNTS[name], COUNTS[name], 0, "nothing")
    print(f"{sum(done.values())} signals, {rounds} whole runs, {seconds:.0f} s: {dict(done)}")


def moment(random: Random) -> tuple[int, float]:
    """(jobs, seconds) to wait for: one in four while a run starts or goes on, before a job is done."""
    if random.random() < 0.25:
        return 0, random.uniform(0, 6)
    return random.randint(1, 12), random.uniform(0, 1)
