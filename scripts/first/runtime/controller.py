"""One run of the workflow in a folder at a time; what a killed one left is cleared away first.

Snakemake's own lock is a file: it outlives a killed run, it is gone as soon as one of two runs is
over, and it lets two runs in that look at the same moment. So a run also holds a lock of the
kernel, which ends with its process however that ends: who gets it knows that no other run is alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import IO

from scripts.first.errors import FULL, MAKE_ROOM, UserError

STARTED_ON = ".snakemake/started_on"  # machine and process of the last run, which locked it
LOCKS = ".snakemake/locks"  # Snakemake's
SLURM_LOGS = "logs/slurm"  # profiles/slurm, slurm-logdir: there when jobs were ever submitted
MARK = "FIRST_ENCODINGS"  # what rules/common.smk exports to every job
RECOVER = "python -m scripts.recover"
SECONDS_TO_END = 600
HOUR = 3600 * 10**9

_held: list[IO[str]] = []  # open to the end of the process, and the lock with it


def hold(folder: Path) -> bool:
    """Become the folder's only run until this process ends, and clear away what a killed one left.

    False where the file system has no such locks. UserError when a run is alive, or when it cannot
    be seen from here that none is.
    """
    try:
        (folder / STARTED_ON).parent.mkdir(exist_ok=True)
        file = (folder / STARTED_ON).open("a+")
    except OSError as error:
        mend = "Snakemake keeps its records here: make it writable, or use another clone"
        mend = MAKE_ROOM if error.errno in FULL else mend
        raise UserError(f"{error.strerror}: {folder}: {mend}") from None
    alone = take(file)
    if alone is False:
        host, process = last_run(folder) or ("this machine", "unknown")
        raise UserError(
            f"{folder}: a run is at work here, process {process} on {host}: wait for it, press "
            "Ctrl-C there, or use another clone; of one folder there is one run at a time"
        )
    locked = is_locked(folder)
    if locked:
        refuse_what_cannot_be_seen(folder, alone)
    known = last_run(folder)
    file.truncate(0)  # not by a new file: the lock is this one's
    file.write(f"{socket.gethostname()} {os.getpid()}\n")
    file.flush()
    _held.append(file)
    if alone:
        left = jobs_in(folder) if known else {}
        if locked or left:
            programs = f", ending {len(left)} processes that it left" if left else ""
            print(f"The last run in this folder was killed: unlocking{programs}.", file=sys.stderr)
            end_jobs(folder, SECONDS_TO_END)
        unlock(folder)
        tidy(folder)
        clear(folder)
    if (results := folder / "results").exists() and not os.access(results, os.W_OK):
        print("results/ is read-only: what is missing in it cannot be made.", file=sys.stderr)
    return bool(alone)


def take(file: IO[str]) -> bool | None:
    """Take the kernel's lock of an open file; False where another process has it.

    None on a file system without such locks, where Snakemake's own has to do.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def refuse_what_cannot_be_seen(folder: Path, alone: bool | None) -> None:
    """UserError where the run that left Snakemake's lock, or a job of it, may be alive."""
    host = (last_run(folder) or ("another machine",))[0]
    why = None
    if host != socket.gethostname():
        why = f"locked by a run on {host}: run `{RECOVER}` there"
    elif not alone:
        why = f"locked, by a killed run or by one at work: when none is at work, run `{RECOVER}`"
    elif (folder / SLURM_LOGS).exists():
        why = f"a killed run left it locked, and maybe jobs in Slurm's queue: run `{RECOVER}`"
    if why:
        raise UserError(f"{folder}: {why}, then the same command again")


def last_run(folder: Path) -> tuple[str, str] | None:
    """Machine and process id of the run that holds or held the folder, if there was one."""
    with contextlib.suppress(FileNotFoundError):
        if words := (folder / STARTED_ON).read_text(errors="replace").split():
            return words[0], words[1] if len(words) > 1 else "unknown"
    return None


def processes_in(folder: Path) -> dict:
    """Processes (psutil) by id, less this one, whose working directory is the folder."""
    import psutil

    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it is gone, or another user's
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder:
                found[process.pid] = process
    found.pop(os.getpid(), None)
    return found


def jobs_in(folder: Path) -> dict:
    """Processes (psutil) by id of jobs that a run of this folder started: shells and programs."""
    import psutil

    found = {}
    for pid, process in processes_in(folder).items():
        with contextlib.suppress(psutil.Error, OSError):
            # The shell of a job exports the mark: it is in its words, not in its environment.
            if MARK in process.environ() or any(f"{MARK}=" in w for w in process.cmdline()):
                found[pid] = process
    return found


def end_jobs(folder: Path, seconds: float) -> int:
    """End what a dead run left at work, and return how many; SIGTERM, so that training saves.

    UserError when one is alive after so many seconds.
    """
    told = set()
    end = time.monotonic() + seconds
    while left := jobs_in(folder):
        if time.monotonic() > end:
            raise UserError(
                f"processes {sorted(left)}: alive after {seconds:.0f} s: end them and try again"
            )
        for pid in left.keys() - told:  # a shell may only now start its program
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        told |= left.keys()
        time.sleep(0.1)
    return len(told)


def is_locked(folder: Path) -> bool:
    """Whether Snakemake's lock is there."""
    return any((folder / LOCKS).glob("*.lock"))


def unlock(folder: Path) -> None:
    """Remove Snakemake's lock."""
    shutil.rmtree(folder / LOCKS, ignore_errors=True)


def made_files(folder: Path) -> dict[Path, int]:
    """Time of change, in ns, of the files of results/ and resources/."""
    files = [p for made in ("results", "resources") for p in (folder / made).rglob("*")]
    return {p: p.stat().st_mtime_ns for p in files if p.is_file()}


def clear(folder: Path) -> None:
    """Nothing: files that killed jobs had begun are replaced by the next writer."""


def tidy(folder: Path) -> None:
    """Put right the dates of the future of files in results/ and resources/; told.

    Such a date becomes now, in order: what is made from such a file is older than it, which
    Snakemake takes for a failure, each time again.
    """
    now, dates = time.time_ns(), made_files(folder)
    future = sorted((p for p in dates if dates[p] > now), key=dates.get)
    for place, path in enumerate(future, start=1 - len(future)):
        with contextlib.suppress(OSError):  # read-only
            os.utime(path, ns=(now, now + 10_000 * place))
    if future:
        print("Files of the future in results/ or resources/ are dated now.", file=sys.stderr)
