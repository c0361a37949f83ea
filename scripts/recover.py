"""After a killed `snakemake --profile slurm`: cancel this folder's Slurm jobs and unlock it.

Snakemake does not adopt the jobs of an earlier run: if it resubmitted one that still runs, two jobs
would write the same file. Training saves its state when it is cancelled. Run this in the folder
where Snakemake ran.
"""

import os
import subprocess
import time
from pathlib import Path

import psutil

from first_distill import cli
from first_distill.errors import UserError, run_cli
from first_distill.runtime.run import SNAKEMAKE, acquire

PREFIX = "first_"  # profiles/slurm, slurm-jobname-prefix
SECONDS_BETWEEN_LOOKS = 2


def main(argv: list[str]) -> None:
    """Recover the working directory; UserError where a run is active or Slurm does not answer."""
    cli.parser("scripts.recover", __doc__).parse_args(argv)
    if not Path("Snakefile").is_file():
        raise UserError("no Snakefile: here: run it in the folder where Snakemake was run")
    with acquire():
        refuse_controllers()
        if jobs := jobs_here():
            print(f"cancelling Slurm jobs: {' '.join(jobs)}", flush=True)
            slurm("scancel", *jobs)
        while jobs_here():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        subprocess.run([*SNAKEMAKE, "--unlock"], check=False)
    print("The same snakemake command continues from here.")


def refuse_controllers() -> None:
    """UserError where `snakemake` is active in this folder; jobs on a cluster (--mode) aside."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        named = "--mode" not in words and "snakemake" in [Path(word).name for word in words[:3]]
        if named and process.info["cwd"] == os.getcwd():
            raise UserError(f"a run is active: process {process.pid}: interrupt it first")


def jobs_here() -> list[str]:
    """Ids of this user's Slurm jobs that were submitted from this folder."""
    lines = slurm("squeue", "--me", "--noheader", "--format=%i|%j|%Z").splitlines()
    rows = [line.strip().split("|", 2) for line in lines if "|" in line]
    here = Path.cwd().resolve()
    return [i for i, name, at in rows if name.startswith(PREFIX) and Path(at).resolve() == here]


def slurm(*words: str) -> str:
    """Output of a Slurm command; UserError, and nothing is unlocked, when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or f"status {done.returncode}"
        raise UserError(f"{words[0]}: {said}: try again when Slurm answers")
    return done.stdout


if __name__ == "__main__":
    run_cli(main)
