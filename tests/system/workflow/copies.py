"""Copies of the repository for tests of the workflow: what git would clone, plus what is new.

In a reduced copy the scales tiny and smoke are made small enough to finish in a minute or two, and
everything else is as it is: the README's commands run there unchanged.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from filelock import FileLock

from first_distill.files import sha256_file

ROOT = Path(__file__).resolve().parents[3]
REDUCED = ROOT / "tests/system/workflow/reduced"
SMOKE = "FIRST_DATA_MIRROR=/path/to/mirror make smoke"  # as the README has it
MIRROR = Path(os.environ.get("FIRST_DATA_MIRROR", ROOT.parent / "shared" / "hub")).resolve()


def once(temporary: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills, once for all tests and workers of a session."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        temporary = temporary.parent
    made = temporary / name
    with FileLock(f"{made}.lock"):
        if not (made / "done").exists():
            shutil.rmtree(made, ignore_errors=True)
            make(made)
            (made / "done").touch()
    return made


def copy_repository(target: Path) -> Path:
    """Copy tracked and new files, not ignored ones, so that no test depends on leftovers."""
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


def reduce_scales(folder: Path) -> Path:
    """Shrink the scales tiny and smoke of a copy."""
    scales = folder / "config/scales"
    shutil.copyfile(REDUCED / "tiny.yaml", scales / "tiny.yaml")
    whole = yaml.safe_load((scales / "smoke.yaml").read_text())
    small = yaml.safe_load((REDUCED / "smoke.yaml").read_text())
    (scales / "smoke.yaml").write_text(yaml.safe_dump(_laid_over(whole, small), sort_keys=False))
    return folder


def _laid_over(whole: dict, small: dict) -> dict:
    both = {k: (whole[k], v) for k, v in small.items() if isinstance(v, dict) and whole.get(k)}
    return {**whole, **small, **{key: _laid_over(*pair) for key, pair in both.items()}}


def equip(folder: Path) -> None:
    """Let `make` find the environment that runs the tests."""
    (folder / ".venv").symlink_to(sys.prefix)
    for path in folder.glob("envs/*.txt"):
        os.utime(path, (0, 0))  # older than the environment's stamps


def shell(folder: Path, line: str):
    """Run one line of the README in a copy, as a user would type it, with the real mirror."""
    return subprocess.run(
        ["bash", "-c", line.replace("/path/to/mirror", shlex.quote(str(MIRROR)))],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """Environment of a run: this interpreter first, as `make` sets it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "FIRST_"))}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    fixed = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    return {**kept, **fixed, **changes}


def snakemake(folder: Path, *words: str, warm: bool = False, **changes: str):
    """Run snakemake in a copy; return the completed process with its output as text.

    warm: by the runner, with the server from which jobs are forked.
    """
    runner = [sys.executable, "-m", "first_distill.runtime.run"] if warm else ["snakemake"]
    return subprocess.run(
        [*runner, *words],
        cwd=folder,
        env=environment(folder, **changes),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file of a run: data, weights, predictions, tables, figures, claims.

    Not of the page, which holds timings.
    """
    names = [p for p in sorted((folder / "results/tiny").rglob("*")) if p.is_file()]
    names = [p for p in names if p.name.split(".")[0] != "index"]
    return {str(p.relative_to(folder)): sha256_file(p) for p in names}


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
