"""Killed anywhere: a whole run, signals at seeded random moments, the same command again.

One folder is struck again and again until its run is complete, compared with an undisturbed run,
and restarted until all signals are used. Every second time training saves its state at each step.
"""

import shutil
import signal
import subprocess
from collections import Counter
from random import Random

import pytest

from tests.system.faults import WHOLE, tried
from tests.system.faults.runs import SNAKEMAKE, Run, damage, surroundings, undisturbed
from tests.system.faults.small import small_copy
from tests.system.workflow.copies import digests

WHOM = ("everything", "runner", "controller", "job", "server")
SHORT = [("SIGKILL", "controller"), ("SIGTERM", "everything"), ("SIGINT", "runner")]
SIGNALS = [*4 * ["SIGKILL"], "SIGTERM", "SIGINT"]  # of each seed
SEEDS = range(10) if WHOLE else range(1)
# Drawing takes a third of a run, and is one more kind of job: only in the long form.
TARGETS = ("all",) if WHOLE else ("results/tiny/claims.json", "results/tiny/tables/table2.csv")
TABLES = {f"results/tiny/{n}" for n in ("claims.json", "tables/table1.csv", "tables/table2.csv")}
CELL = "results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json"
MADE = ("results/tiny", "logs", "benchmarks", ".snakemake")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy that is struck."""
    return small_copy(tmp_path_factory.mktemp("killed") / "struck")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere(tmp_path_factory, folder, seed):
    """The same command finishes with the same bytes, and finished files are not remade."""
    random = Random(seed)
    strikes = [(name, random.choice(WHOM)) for name in SIGNALS] if WHOLE else list(SHORT)
    random.shuffle(strikes)
    reference = digests(undisturbed(tmp_path_factory.getbasetemp()))
    reached, rounds = Counter(), 0
    while strikes:
        begin(folder)
        often = {"FIRST_CHECKPOINT_MINUTES": "0"} if (seed + rounds) % 2 else {}
        until_complete(folder, reference, random, strikes, reached, often)
        found = digests(folder)
        assert found.items() <= reference.items() and TABLES <= found.keys()
        assert found == reference or not WHOLE
        rounds += 1
    for (name, whom), count in sorted(reached.items()):
        tried(f"{name}: {whom}", count, count, 0, "The last run did not finish: ...")


@pytest.mark.slow
def test_snakemake_alone_continues(tmp_path_factory, folder):
    """As in the README: one cell, killed while outputs appear, `--unlock`, the same command."""
    begin(folder)
    run = Run(folder, CELL, words=SNAKEMAKE)
    assert run.reach(2, 0.5)
    run.strike(signal.SIGKILL, "everything", Random(0))
    line = {"cwd": folder, "env": surroundings(folder), "capture_output": True, "text": True}
    unlocked = subprocess.run([*SNAKEMAKE, "--unlock"], check=False, **line)
    again = Run(folder, CELL, words=SNAKEMAKE)
    assert unlocked.returncode == 0 and again.wait() == 0, again.log()[-4000:]
    found, reference = digests(folder), digests(undisturbed(tmp_path_factory.getbasetemp()))
    assert found.items() <= reference.items() and CELL in found
    tried("SIGKILL: bare snakemake", 1, 1, 0, "LockException: ... --unlock")


def begin(folder) -> None:
    """Remove everything that runs have made."""
    for made in MADE:
        shutil.rmtree(folder / made, ignore_errors=True)


def until_complete(folder, reference, random, strikes, reached, variables) -> None:
    """Start the same command until a run of it ends well; it is struck while there are strikes."""
    most, status = None, None
    while status != 0:
        run, struck = Run(folder, *TARGETS, **variables), False
        while strikes and run.reach(*moment(random)):
            (name, whom), struck = strikes.pop(), True
            whom = run.strike(signal.Signals[name], whom, random)
            reached[name, whom] += 1
            if whom not in ("job", "server"):
                break  # else the run continues without it, to the next moment
        status = run.wait()
        assert status == 0 or struck, run.log()[-4000:]
        assert damage(folder, reference) == []
        assert "LockException" not in run.log() and "IncompleteFiles" not in run.log()
        done, jobs = run.steps()
        if jobs is not None:
            again = f"{jobs} jobs, {most} were left:\n{run.log()[:9000]}"
            assert most is None or jobs <= most, again
            most = jobs - done


def moment(random: Random) -> tuple[int, float]:
    """Jobs, then seconds to wait for; one in four while a run starts, before a job is done."""
    if random.random() < 0.25:
        return 0, random.uniform(0, 6)
    return random.randint(1, 12), random.uniform(0, 1)
