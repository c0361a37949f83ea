"""Whole runs of a small copy as the Makefile starts them: watched, struck by signals, compared."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import psutil

from scripts.first.runtime.controller import jobs_in, processes_in
from tests.system.faults.small import small_copy
from tests.system.workflow.copies import digests, environment

SNAKEMAKE = ("snakemake", "--profile", "profiles/local", "--cores", "2")
WARM = (sys.executable, "-m", "scripts.first.runtime.warm", "run", "--")
LOG = "run.log"


@functools.cache
def undisturbed(temporary: Path) -> Path:
    """The copy of a whole run that nobody disturbed, made in a folder; one for all tests."""
    folder = small_copy(temporary / "undisturbed/first")
    run = Run(folder)
    assert run.wait() == 0, run.log()[-4000:]
    return folder


class Run:
    """The Makefile's command for a whole run of `folder`; what it says goes to `folder/run.log`."""

    def __init__(self, folder: Path, *targets: str, words=SNAKEMAKE, log=LOG, **variables: str):
        self.folder, self.file = folder, folder / log
        with self.file.open("w") as log_file:
            self.process = subprocess.Popen(
                [*WARM, *words, "--", *(targets or ("all",))],
                cwd=folder,
                env=surroundings(folder, **variables),
                stdout=log_file,
                stderr=log_file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def log(self) -> str:
        """What it has printed."""
        return self.file.read_text()

    def steps(self) -> int:
        """Jobs that it has said to be done."""
        return self.log().count(" steps (")

    def wait(self, seconds: float = 600) -> int:
        """Wait for its end; its exit status."""
        return self.process.wait(seconds)

    def reach(self, steps: int, seconds: float) -> bool:
        """Wait for `steps` more jobs done, then some seconds; False when it has ended before."""
        goal = self.steps() + steps
        while self.process.poll() is None and self.steps() < goal:
            time.sleep(0.02)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is None

    def strike(self, number: int, whom: str, random: Random) -> str:
        """Send a signal to `everything` of the run, its `controller`, a `job` or its `server`.

        Returns whom it reached: a run that has no job just then has its controller.
        """
        found = processes_in(self.folder)
        if whom == "everything":
            send(number, *found)
            while number == signal.SIGKILL and (left := processes_in(self.folder)):
                send(number, *left)
            return whom
        servers = {p for p, words in words_of(found).items() if "serve" in words}
        first = {p for p in servers if parent(p) == self.process.pid}
        jobs = sorted({*jobs_in(self.folder), *(servers - first)})
        if whom == "job" and jobs:
            send(number, random.choice(jobs))
            return whom
        if whom == "server" and first:
            send(number, *first)
            return whom
        send(number, *(p for p, words in words_of(found).items() if is_snakemake(words)))
        return "controller"


def surroundings(folder: Path, **variables: str) -> dict[str, str]:
    """The Makefile's environment of a run."""
    both = environment(folder, LC_ALL="C.UTF-8", **variables)
    both.pop("PYTHONDONTWRITEBYTECODE", None)
    return both


def send(number: int, *pids: int) -> None:
    """Send a signal to processes that may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def words_of(processes: dict) -> dict[int, list[str]]:
    """Command lines of processes that are alive."""
    found = {}
    for pid, process in processes.items():
        with contextlib.suppress(psutil.Error):
            found[pid] = process.cmdline()
    return found


def is_snakemake(words: list[str]) -> bool:
    """Whether a command line is the controller's, not that of `warm run` before it."""
    return "snakemake" in [Path(word).name for word in words[:2]]


def parent(pid: int) -> int:
    """Process id of a process's parent; -1 when it is gone."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).ppid()
    return -1


def whole_jobs(folder: Path) -> dict[str, frozenset[str]]:
    """{file: all files that its job made} of a whole run, from what Snakemake recorded."""
    jobs = {}
    for path, record in records(folder).items():
        jobs.setdefault((record["rule"], record["shellcmd"]), set()).add(path)
    return {path: frozenset(job) for job in jobs.values() for path in job}


def finished(folder: Path, jobs: dict[str, frozenset[str]]) -> dict[str, tuple[int, int]]:
    """{file: (inode, time of change)} of the jobs that Snakemake has recorded as finished."""
    begun = {decoded(p) for p in folder.glob(".snakemake/incomplete/**/*") if p.is_file()}
    done = set(records(folder)) - begun
    names = [name for name in done if jobs.get(name, frozenset([name])) <= done]
    stats = {name: (folder / name).stat() for name in names if (folder / name).exists()}
    return {name: (s.st_ino, s.st_mtime_ns) for name, s in stats.items()}


def records(folder: Path) -> dict[str, dict]:
    """Snakemake's records of files; one that is being written is none."""
    found = {}
    for path in folder.glob(".snakemake/metadata/**/*"):
        with contextlib.suppress(ValueError, OSError):
            found[decoded(path)] = json.loads(path.read_text())
    return found


def decoded(path: Path) -> str:
    """The file that a record of Snakemake is about."""
    parts = path.relative_to(path.parents[[p.name for p in path.parents].index(".snakemake") - 1])
    return base64.b64decode("".join(p.lstrip("@") for p in parts.parts)).decode()


def damage(folder: Path, reference: dict[str, str]) -> list[str]:
    """Files that have their final names and are not what an undisturbed run makes."""
    found = digests(folder)
    wrong = [name for name in found.keys() & reference.keys() if found[name] != reference[name]]
    begun = "/."  # hidden: state, and files that are being written
    return sorted(wrong) + sorted(n for n in found.keys() - reference.keys() if begun not in n)
