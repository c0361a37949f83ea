"""Copies of the repository for tests of the workflow: what git would clone, plus what is new."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MINI = "tests/workflow/mini.yaml"
SMOKE = "tests/workflow/mini_smoke.yaml"
MIRROR = Path(os.environ.get("FIRST_DATA_MIRROR", ROOT.parent / "shared" / "hub"))


def copy_repository(target: Path) -> Path:
    """Copy tracked and new files, not ignored ones, so that nothing rests on leftovers."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    for name in listed:
        source, copy = ROOT / name, target / name
        if source.is_symlink():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(source.readlink())
        elif source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
    return target


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """Environment of a run: this interpreter first, as `make` sets it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "FIRST_"))}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    fixed = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    return {**kept, **fixed, **changes}


def snakemake(folder: Path, *words: str, warm: bool = False, **changes: str):
    """Run snakemake in a copy; return the completed process with its output as text."""
    start = [sys.executable, "-m", "scripts.first.warm", "run", "--"] if warm else []
    return subprocess.run(
        [*start, "snakemake", *words],
        cwd=folder,
        env=environment(folder, **changes),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def output(process) -> str:
    """Both streams of a finished process."""
    return process.stdout + process.stderr


def job_counts(process) -> dict[str, int]:
    """Jobs by rule, from the statistics that snakemake prints; without the total."""
    counts, reading = {}, False
    for line in output(process).splitlines():
        words = line.split()
        if words[:2] == ["job", "count"]:
            reading = True
        elif reading and not words:
            break
        elif reading and len(words) == 2 and words[1].isdigit() and words[0] != "total":
            counts[words[0]] = int(words[1])
    return counts
