"""Whole runs of a small copy as the Makefile starts them: watched, struck by signals, compared."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import psutil

from tests.system.faults.small import small_copy
from tests.system.workflow.copies import digests, environment, once

SNAKEMAKE = ("snakemake", "--cores", "2", "--logger-first-jobs")
RUNNER = (sys.executable, "-m", "first_distill.runtime.run", *SNAKEMAKE[1:])
LOG = "run.log"


def undisturbed(temporary: Path) -> Path:
    """A copy in which an undisturbed whole run has ended, for all tests and workers to read."""

    def make(made: Path) -> None:
        run = Run(small_copy(made / "first"))
        assert run.wait() == 0, run.log()[-4000:]

    return once(temporary, "undisturbed", make) / "first"


class Run:
    """A whole run of `folder` by the runner; its output goes to `folder/run.log`."""

    def __init__(self, folder: Path, *targets: str, words=RUNNER, log=LOG, **variables: str):
        self.folder, self.file = folder, folder / log
        # A new file: what a killed run has left may still write to its own.
        self.file.unlink(missing_ok=True)
        with self.file.open("w") as log_file:
            self.process = subprocess.Popen(
                [*words, "--", *(targets or ("all",))],
                cwd=folder,
                env=surroundings(folder, **variables),
                stdout=log_file,
                stderr=log_file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def log(self) -> str:
        """Its output so far."""
        return self.file.read_text()

    def steps(self) -> tuple[int, int | None]:
        """(jobs done, jobs in all) as it last reported them; None before a job is done."""
        found = re.findall(r"^ *(\d+) of (\d+)  ", self.log(), re.M)
        return tuple(map(int, found[-1])) if found else (0, None)

    def wait(self, seconds: float = 600) -> int:
        """Wait for its end; its exit status."""
        return self.process.wait(seconds)

    def reach(self, steps: int, seconds: float) -> bool:
        """Wait for `steps` more jobs done, then some seconds; False when it has ended before."""
        goal = self.steps()[0] + steps
        while self.process.poll() is None and self.steps()[0] < goal:
            time.sleep(0.02)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is None

    def strike(self, number: int, whom: str, random: Random) -> str:
        """Send a signal to `everything` of the run, its runner, controller, server or a `job`.

        Returns whom it reached: the runner where there is none of the kind just then.
        """
        found = processes_in(self.folder)
        if whom == "everything":
            send(number, *found)
            while number == signal.SIGKILL and (left := processes_in(self.folder)):
                send(number, *left)
            return whom
        kinds = {pid: self.kind(pid, process) for pid, process in found.items()}
        if members := sorted(pid for pid, kind in kinds.items() if kind == whom):
            send(number, random.choice(members))
            return whom
        send(number, self.process.pid)
        return "runner"

    def kind(self, pid: int, process: psutil.Process) -> str:
        """What a process of this run is."""
        words, parent = [], None
        with contextlib.suppress(psutil.Error):
            words, parent = process.cmdline(), process.ppid()
        if pid == self.process.pid:
            return "runner"
        if parent == self.process.pid:
            return "server" if "first_distill.runtime.warm" in words else "controller"
        return "job"


def processes_in(folder: Path) -> dict[int, psutil.Process]:
    """Processes by id whose working directory is the folder."""
    everyone = psutil.process_iter(["cwd", "status"])
    here = [p for p in everyone if p.info["cwd"] == str(folder.resolve())]
    return {p.pid: p for p in here if p.info["status"] != psutil.STATUS_ZOMBIE}


def surroundings(folder: Path, **variables: str) -> dict[str, str]:
    """The Makefile's environment of a run."""
    both = environment(folder, **variables)
    both.pop("PYTHONDONTWRITEBYTECODE", None)
    return both


def send(number: int, *pids: int) -> None:
    """Send a signal to processes that may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def damage(folder: Path, reference: dict[str, str]) -> list[str]:
    """Files that have their final names and are not what an undisturbed run makes."""
    found = digests(folder)
    wrong = [name for name in found.keys() & reference.keys() if found[name] != reference[name]]
    hidden = "/."  # state, and files that are being written
    return sorted(wrong) + sorted(n for n in found.keys() - reference.keys() if hidden not in n)
