"""After a killed run: cancel the jobs that it left, wait until they are over, unlock the folder.

Snakemake does not know the Slurm jobs of an earlier run. Without this, the same command submits
them again while they still run, and two jobs write one file. Training saves its state when it is
cancelled and resumes from it. Run it in the repository, on the machine where the run was started:
only there can it be seen whether that run is alive.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from scripts.first.errors import UserError, run_cli

PREFIX = "first_"  # of the jobs' names: profiles/slurm, slurm-jobname-prefix
NO_CLUSTER = "Could not establish a configuration source"  # installed, but of no cluster
SLURM_LOGS = "logs/slurm"  # profiles/slurm, slurm-logdir: there when jobs were ever submitted
STARTED_ON = ".snakemake/started_on"  # rules/common.smk, note_machine
SECONDS_BETWEEN_LOOKS = 2
NO_STAGES = {"__init__", "plan", "recover", "verify"}
STAGES = {path.stem for path in Path(__file__).parent.glob("*.py")} - NO_STAGES


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
    for pid, words in processes_in(folder).items():
        if is_controller(words):
            raise UserError(f"{folder}: snakemake runs here, process {pid}: press Ctrl-C there")
    if not arguments.force:
        refuse_other_hosts(folder)
    cancel_jobs(folder, seconds, arguments.force)
    end_programs(folder, seconds)
    unlock(folder)
    print("The same snakemake command continues from here.")


def processes_in(folder: Path) -> dict[int, list[str]]:
    """Command lines, by process id, of all processes whose working directory is the folder."""
    import psutil

    found = {}
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder:
                found[process.pid] = process.cmdline()
        except (psutil.Error, OSError):
            continue  # it is gone, or another user's
    found.pop(os.getpid(), None)
    return found


def is_controller(words: list[str]) -> bool:
    """Whether a command line is a run of snakemake, and not one job of a run (`--mode`)."""
    return what_runs(words) == "snakemake" and "--mode" not in words


def is_program(words: list[str]) -> bool:
    """Whether a command line is a stage's: `python -m scripts.student ...`."""
    package, _, name = what_runs(words).partition(".")
    return package == "scripts" and name in STAGES


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
    with contextlib.suppress(FileNotFoundError):
        host = (folder / STARTED_ON).read_text().strip()
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


def end_programs(folder: Path, seconds: float) -> None:
    """End programs that a killed local run left; SIGTERM, so that training saves its state."""
    programs = programs_in(folder)
    for pid in programs:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + seconds
    while left := programs_in(folder):
        if time.monotonic() > end:
            raise UserError(
                f"processes {left}: alive after {seconds:.0f} s: end them and try again"
            )
        time.sleep(0.2)
    if programs:
        print(f"ended {len(programs)} programs on this machine")


def programs_in(folder: Path) -> list[int]:
    """Process ids of the stages' programs that run in the folder."""
    return [pid for pid, words in processes_in(folder).items() if is_program(words)]


def is_locked(folder: Path) -> bool:
    """Whether a run has locked the folder."""
    return any((folder / ".snakemake/locks").glob("*.lock"))


def unlock(folder: Path) -> None:
    """Remove the lock of the killed run, by snakemake itself."""
    if not is_locked(folder):
        print("not locked")
        return
    words = [sys.executable, "-m", "snakemake", "--unlock", "--cores", "1"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise UserError(f"{said}: snakemake --unlock: put it right and try again")
    print("unlocked")


if __name__ == "__main__":
    run_cli(main)
