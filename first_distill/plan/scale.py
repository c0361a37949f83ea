"""The scale that is planned, and its jobs as Snakemake itself lists them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from first_distill import ROOT
from first_distill.config.datasets import entry_for, used
from first_distill.config.types import VARIANT
from first_distill.errors import UserError

Job = tuple[str, ...]  # rule, and its folder below the scale's: (teacher, teacher, llama1, csqa)


@dataclass(frozen=True, eq=False)
class Scale:
    """A scale's settings, the configuration's methods, and the files given with --configfile.

    mirror: the configuration's folder of models, if it names one. datasets: entries of those that
    the scale uses, as stage data gets them.
    sources: where the numbers about each model and corpus came from, noted on the way.
    """

    name: str
    settings: dict
    methods: dict
    configfiles: tuple[str, ...] = ()
    mirror: str | None = None
    datasets: dict = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def gpu(self) -> dict:
        """Memory of one GPU in 1e9 bytes, and its dense peak in TFLOPS."""
        return {"memory_gb": 80, "tflops": 989, **self.settings.get("gpu", {})}

    @property
    def width(self) -> int:
        """Bytes of a weight on disk."""
        return 2 if self.settings["dtype"] == "bfloat16" else 4

    @property
    def own(self) -> list[str]:
        """Words for Snakemake that name the user's configuration files."""
        return ["--configfile", *self.configfiles] if self.configfiles else []

    def declared(self, stage: str) -> dict:
        """Resources of a stage; processes on each machine (`on_host`) and in all of one job.

        What is declared holds for each machine; `gpu` as returned counts those of all.
        """
        found = {"nodes": 1, **self.settings["resources"][stage]}
        nodes, gpus = found["nodes"], found["gpu"]
        on_host = found.get("processes", max(1, gpus))
        return {**found, "gpu": gpus * nodes, "on_host": on_host, "all": on_host * nodes}

    def folder(self, *parts: str) -> Path:
        """Where the workflow puts a stage's or a job's files."""
        return Path("results", self.name, *parts)

    def build(self, *files: Path) -> str:
        """Advice to build files of this scale."""
        return "run " + shlex.join(["snakemake", "-c2", *map(str, files), *self.own])

    def jobs(self) -> set[Job]:
        """Each job of `all`, finished or not.

        UserError with Snakemake's last line where it cannot resolve the scale.
        """
        line = [sys.executable, "-m", "snakemake", "--summary", "--quiet", "all", *self.own]
        line += ["--config", f"scale={self.name}"]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("error: ")
            raise UserError(f"cannot list the jobs of scale {self.name}: {last}")
        rows = [row.split("\t") for row in done.stdout.splitlines()[1:]]  # file, date, rule, ..
        return {(rule, *file.split("/")[2:-1]) for file, _, rule, *_ in rows}


def configured(config: dict, name: str, configfiles: Sequence[Path] = ()) -> Scale:
    """A scale of a configuration that was loaded with these files; UserError for an unknown one."""
    if name not in config["scales"]:
        known = ", ".join(scale for scale in config["scales"] if VARIANT not in scale)
        raise UserError(f"--scale {name}: one of {known}, or give --configfile")
    settings = config["scales"][name]
    datasets = {own: entry_for(own, config, settings["data"]) for own in used(settings)}
    files, mirror = tuple(str(path.absolute()) for path in configfiles), config["models"]["mirror"]
    return Scale(name, settings, config["methods"], files, mirror, datasets)
