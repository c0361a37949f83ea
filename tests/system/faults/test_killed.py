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

from scripts.first.runtime.interrupts import LINE
from tests.system.faults import WHOLE, tried
from tests.system.faults.runs import Run, damage, finished, undisturbed, whole_jobs
from tests.system.faults.small import small_copy
from tests.system.workflow.copies import digests

WHOM = ("everything", "controller", "job", "server")
SHORT = [("SIGKILL", "controller"), ("SIGTERM", "everything"), ("SIGINT", "job")]
SIGNALS = [*4 * ["SIGKILL"], "SIGTERM", "SIGINT"]  # of each seed
SEEDS = range(10) if WHOLE else range(1)
# Drawing takes a third of a run, and has one more kind of job: in the whole form.
TARGETS = ("all",) if WHOLE else ("results/tiny/claims.json", "results/tiny/tables/table2.csv")
TABLES = {f"results/tiny/{n}" for n in ("claims.json", "tables/table1.csv", "tables/table2.csv")}
REACHED = Counter()  # (signal, whom) of all seeds that passed
MADE = ("results/tiny", "logs", "benchmarks", ".snakemake")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy that is struck; what reached it, and did no harm, is told at the end."""
    yield small_copy(tmp_path_factory.mktemp("killed") / "struck")
    for name in sorted({name for name, _ in REACHED}):
        whom = {w: n for (of, w), n in sorted(REACHED.items()) if of == name}
        told = ", ".join(f"{n} {w}" for w, n in whom.items())
        tried(
            f"{name}: {told}",
            sum(whom.values()),
            sum(whom.values()),
            0,
            "The last run in this folder was killed: unlocking ...",
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere(tmp_path_factory, folder, seed):
    """The same command finishes with the same bytes, and what was finished is not made again."""
    random, start = Random(seed), time.monotonic()
    strikes = [(name, random.choice(WHOM)) for name in SIGNALS] if WHOLE else list(SHORT)
    random.shuffle(strikes)
    whole = undisturbed(tmp_path_factory.getbasetemp())
    reference, jobs = digests(whole), whole_jobs(whole)
    reached, said, rounds = Counter(), [], 0
    while strikes:
        for made in MADE:
            shutil.rmtree(folder / made, ignore_errors=True)
        often = {"FIRST_CHECKPOINT_MINUTES": "0"} if (seed + rounds) % 2 else {}
        until_whole(folder, reference, jobs, random, strikes, reached, said, often)
        found = digests(folder)
        assert found.items() <= reference.items() and TABLES <= found.keys()
        assert found == reference or not WHOLE
        rounds += 1
    for text in said:
        # Ctrl-C before Snakemake has imported itself is Python's to tell.
        own = "Traceback" in text and text.splitlines()[-1] != "KeyboardInterrupt"
        assert not own and "LockException" not in text, text[-4000:]
    REACHED.update(reached)
    print(f"{rounds} whole runs in {time.monotonic() - start:.0f} s: {dict(reached)}")


@pytest.mark.parametrize("gap", (None, 0.05, 0.6) if WHOLE else (0.3,))
def test_ctrl_c_is_one_line(folder, tmp_path_factory, gap):
    """At any moment of a run, once or twice: the last line says so, and that is all."""
    random, count = Random(str(gap)), 0
    reference = digests(undisturbed(tmp_path_factory.getbasetemp()))
    for made in MADE:
        shutil.rmtree(folder / made, ignore_errors=True)
    for _ in range(8 if WHOLE else 3):
        run = Run(folder, *TARGETS)
        time.sleep(random.uniform(1, 9))
        for wait in filter(None, (0.001, gap)):
            time.sleep(wait)
            run.strike(signal.SIGINT, "everything", random)
        status, lines = run.wait(), run.log().splitlines()
        if status == 0 or lines[-1:] == ["KeyboardInterrupt"]:
            continue  # it was done; or Python was still importing Snakemake, and told it
        count += 1
        assert (status, lines[-1]) == (130, LINE), run.log()[-4000:]
        assert "Traceback" not in run.log(), run.log()[-4000:]
        assert damage(folder, reference) == []
    assert count and Run(folder, *TARGETS).wait() == 0
    found = digests(folder)
    assert found.items() <= reference.items() and TABLES <= found.keys()
    tried(f"Ctrl-C, {f'again after {gap} s' if gap else 'once'}", count, count, 0, LINE)


def until_whole(folder, reference, jobs, random, strikes, reached, said, variables):
    """Start the same command until a run of it ends well; it is struck while there are strikes."""
    kept, status = {}, None
    while status != 0:
        run, struck = Run(folder, *TARGETS, **variables), False
        while strikes and run.reach(*moment(random)):
            (name, whom), struck = strikes.pop(), True
            whom = run.strike(signal.Signals[name], whom, random)
            reached[name, whom] += 1
            if whom in ("everything", "controller"):
                break  # else the run goes on without what was struck, to the next moment
        status = run.wait()
        said.append(run.log())
        assert status == 0 or struck, run.log()[-4000:]
        assert damage(folder, reference) == []
        for name, seen in finished(folder, jobs).items():
            assert kept.setdefault(name, seen) == seen, f"made again: {name}"
        assert kept.keys() <= finished(folder, jobs).keys(), "lost"


def moment(random: Random) -> tuple[int, float]:
    """Jobs, then seconds to wait for; one in four while a run starts, before a job is done."""
    if random.random() < 0.25:
        return 0, random.uniform(0, 6)
    return random.randint(1, 12), random.uniform(0, 1)
