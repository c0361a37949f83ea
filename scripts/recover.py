"""After a killed run: cancel the jobs that it left, wait until they are over, unlock the folder.

Snakemake does not know the Slurm jobs of an earlier run. Submitted again while they still run, two
jobs would write one file. Training saves its state when it is cancelled and resumes from it. Run it
in the repository, on the machine where the run was started: only there can it be seen whether that
run is alive. After a run without Slurm no one needs it: the same command does as much.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import subprocess
import time
from pathlib import Path

import psutil

from scripts.first.errors import UserError, run_cli
from scripts.first.runtime.controller import (
    SLURM_LOGS,
    STARTED_ON,
    end_jobs,
    is_locked,
    last_run,
    processes_in,
    take,
    unlock,
)

PREFIX = "first_"  # of the jobs' names: profiles/slurm, slurm-jobname-prefix
NO_CLUSTER = "Could not establish a configuration source"  # installed, but of no cluster
SECONDS_BETWEEN_LOOKS = 2


def main(argv: list[str]) -> None:
    """Recover this folder; UserError when a run is alive or jobs do not end in time."""
    options = argparse.ArgumentParser(prog="python -m scripts.recover", description=__doc__)
    options.add_argument(
        "--wait", type=float, default=600, help="seconds to wait for cancelled jobs (default: 600)"
    )
    options.add_argument(
        "--force",
        action="store_true",
        help="no run of this folder is alive on any machine: go on where that cannot be seen",
    )
    arguments = options.parse_args(argv)
    seconds = arguments.wait
    folder = Path.cwd().resolve()
    if not (folder / "Snakefile").is_file():
        raise UserError(f"{folder}: no Snakefile here: run it in the repository")
    refuse_a_living_run(folder)
    (folder / STARTED_ON).parent.mkdir(exist_ok=True)
    with (folder / STARTED_ON).open("a+") as file:
        if take(file) is False:
            host, process = last_run(folder) or ("this machine", "unknown")
            raise UserError(
                f"{folder}: snakemake runs here, process {process} on {host}: press Ctrl-C there"
            )
        if not arguments.force:
            refuse_other_hosts(folder)
        cancel_jobs(folder, seconds, arguments.force)
        if ended := end_jobs(folder, seconds):
            print(f"ended {ended} processes on this machine")
        print("unlocked" if is_locked(folder) else "not locked")
        unlock(folder)
    print("The same snakemake command continues from here.")


def refuse_a_living_run(folder: Path) -> None:
    """UserError when snakemake is seen at work here: some file systems have no lock to ask for."""
    for pid, process in processes_in(folder).items():
        with contextlib.suppress(psutil.Error):
            if is_controller(process.cmdline()):
                raise UserError(f"{folder}: snakemake runs here, process {pid}: press Ctrl-C there")


def is_controller(words: list[str]) -> bool:
    """Whether a command line is a run of snakemake, and not one job of a run (`--mode`)."""
    return what_runs(words) == "snakemake" and "--mode" not in words


def what_runs(words: list[str]) -> str:
    """The module that a command line runs, or the file name of its program or Python script."""
    name, *rest = [Path(words[0]).name, *words[1:]] if words else [""]
    if not name.startswith("python"):
        return name
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if re.fullmatch("-[A-Za-z]*m", option):
            return rest[0] if rest else ""
        if re.fullmatch("-[A-Za-z]*c", option):
            return ""
        del rest[: option in ("-X", "-W")]
    return Path(rest[0]).name if rest else ""


def refuse_other_hosts(folder: Path) -> None:
    """UserError when the run that locked the folder was started on another machine."""
    host, _ = last_run(folder) or (socket.gethostname(), "")
    if is_locked(folder) and host != socket.gethostname():
        raise UserError(
            f"{folder}: locked by a run on {host}, and this is {socket.gethostname()}: run it "
            "there, or with --force when no snakemake runs there any more"
        )


def cancel_jobs(folder: Path, seconds: float, force: bool) -> None:
    """Cancel the folder's Slurm jobs and wait until none is left."""
    jobs = jobs_of(folder)
    if jobs is None and (folder / SLURM_LOGS).exists() and not force:
        raise UserError(
            f"{folder}: jobs were submitted from here, and there is no Slurm on this machine to "
            "look for them: run it where squeue works, or with --force when none is left"
        )
    if not jobs:
        print(
            "no Slurm job"
            if jobs is not None
            else "no Slurm on this machine: no job was looked for"
        )
        return
    print(f"cancelling {len(jobs)} Slurm jobs: {', '.join(jobs)}", flush=True)
    slurm("scancel", *jobs)
    end = time.monotonic() + seconds
    while left := jobs_of(folder):
        if time.monotonic() > end:
            raise UserError(
                f"Slurm jobs {' '.join(left)}: alive after {seconds:.0f} s: try again later"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)
    print("they are over")


def jobs_of(folder: Path) -> list[str] | None:
    """Ids of the Slurm jobs of runs in this folder that are not over; None without a Slurm."""
    listed = slurm("squeue", "--me", "--noheader", "--format=%i|%j|%Z")
    if listed is None:
        return None
    rows = [line.strip().split("|", 2) for line in listed.splitlines() if line.strip()]
    return [i for i, name, at in rows if name.startswith(PREFIX) and Path(at).resolve() == folder]


def slurm(*words: str) -> str | None:
    """Output of a Slurm command, None where there is no Slurm; UserError when it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise UserError(f"{words[0]}: no answer in 120 s: try again when Slurm answers") from None
    if done.returncode != 0 and NO_CLUSTER in done.stderr:
        return None
    if done.returncode != 0:
        said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise UserError(f"{said}: {words[0]}: nothing was unlocked; try again when Slurm answers")
    return done.stdout


if __name__ == "__main__":
    run_cli(main)
