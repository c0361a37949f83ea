"""A whole run in seconds: one family, one corpus, five methods, every kind of artifact."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from tests.workflow.copies import copy_repository, environment, reduce_scales, snakemake

METHODS = ["teacher", "finetune", "finetune_ts", "distill", "first_ts"]


def small_copy(folder: Path, families: tuple = ("alder",), seeds: tuple = (1234,)) -> Path:
    """A copy of the repository whose scale tiny is this small one."""
    reduce_scales(copy_repository(folder))
    config = folder / "config/config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["settings"] = {"in_domain": {"csqa": "csqa"}, "out_of_domain": {"obqa": "csqa"}}
    settings["table1"]["methods"] = METHODS
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    scale = folder / "config/scales/tiny.yaml"
    settings = yaml.safe_load(scale.read_text())
    tiny = settings["scales"]["tiny"]
    tiny["corpora"] = ["csqa"]
    tiny["data"]["datasets"] = {"csqa": {}, "obqa": {}, "pretraining": {"max_train_rows": 100}}
    tiny["families"] = {
        name: {"teacher": f"{name}-teacher", "student": f"{name}-student"} for name in families
    }
    tiny["student"]["seeds"] = list(seeds)
    tiny["figures"]["figure6_methods"] = []
    scale.write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


def run_small(folder: Path, *words: str, cores: int = 2) -> subprocess.CompletedProcess:
    """The whole run, or other targets, as `make demo` does it: beside a warm server."""
    settings = environment(folder, LC_ALL="C.UTF-8")
    settings.pop("PYTHONDONTWRITEBYTECODE", None)
    line = [sys.executable, "-m", "scripts.first.warm", "run", "--", "snakemake"]
    line += ["--profile", "profiles/local", "--cores", str(cores), "--", *(words or ["all"])]
    return subprocess.run(
        line, cwd=folder, env=settings, capture_output=True, text=True, timeout=900, check=False
    )


def commands(folder: Path, *targets: str) -> list[list[str]]:
    """Words of the real command of each job, `scripts.student --model ...`, as Snakemake has it."""
    process = snakemake(folder, "-c1", "-F", "-n", "-p", "--quiet", "host", "--", *targets)
    found = []
    for line in process.stdout.splitlines() + process.stderr.splitlines():
        words = shlex.split(line) if line.strip().startswith("python -m") else []
        if words:
            found.append(words[2 : next(i for i, w in enumerate(words) if w.startswith(">"))])
    return found
