"""`python -m first_distill.runtime.run OPTIONS`: Snakemake, and the same command continues.

A folder has one run at a time. Before the next one starts, the processes that a killed run has left
are ended, and Snakemake's lock is released.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import IO

import psutil

from first_distill.errors import UserError, run_cli
from first_distill.runtime.signals import forward_signals
from first_distill.runtime.warm import warm_server

LOCK = Path(".snakemake/run.lock")  # locked by an active run; names one that did not finish
NAME = "FIRST_RUN"  # in the environment of every process of a run
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
GRACE = 10  # seconds from a signal to a look at what Snakemake makes of it


def main(options: list[str]) -> int:
    """Run Snakemake with these options and return its status."""
    with acquire() as file:
        if name := file.read():
            print("The last run did not finish: ending its processes, unlocking.", file=sys.stderr)
            end_processes(name)
            line, own = [*SNAKEMAKE, "--unlock", *options], {**os.environ, NAME: name}
            unlock = subprocess.run(line, capture_output=True, text=True, env=own, check=False)
            if unlock.returncode:  # killed, or not possible with these options: the next run tries
                print(unlock.stderr, file=sys.stderr)
                return exit_status(unlock.returncode)
        name = uuid.uuid4().hex
        file.truncate(0)
        file.write(name)
        file.flush()
        with warm_server({**os.environ, NAME: name}) as environment:
            child = subprocess.Popen([*SNAKEMAKE, *options], env=environment, process_group=0)
            forward_signals(lambda *to: (os.killpg(*to), signal.alarm(GRACE)), child.pid)
            signal.signal(signal.SIGALRM, lambda *_: kill_if_idle(child))
            status = child.wait()
            end_processes(name)
        if status >= 0:  # Snakemake has released its lock
            file.truncate(0)
    return exit_status(status)


def exit_status(status: int) -> int:
    """A child's return code as a shell gives it: 128 and the number of the signal that ended it."""
    return status if status >= 0 else 128 - status


def acquire() -> IO[str]:
    """Open and lock the folder's lock file; UserError where a run is active."""
    LOCK.parent.mkdir(exist_ok=True)
    file = LOCK.open("a+")
    file.seek(0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"a run is active: {Path.cwd()}: wait for it or interrupt it") from None
    return file


def kill_if_idle(child: subprocess.Popen) -> None:
    """Kill a Snakemake that was asked to stop and has no job left; look again while it has one.

    It waits for itself for ever where SIGTERM meets its main thread with the scheduler's lock held.
    """
    with contextlib.suppress(psutil.Error):
        jobs = psutil.Process(child.pid).children()
        if all(job.status() == psutil.STATUS_ZOMBIE for job in jobs):
            child.kill()
        signal.alarm(GRACE)


def end_processes(name: str) -> None:
    """Terminate a run's processes, which lets training save its state, and wait for their end."""
    while left := [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(NAME) == name
    ]:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(left, timeout=5)


if __name__ == "__main__":
    run_cli(main)
