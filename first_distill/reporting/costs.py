"""What a run cost: seconds of its jobs by stage, and the machine, as a Markdown page.

Reads the files of Snakemake's `benchmark:` below benchmarks/{scale}.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas

from first_distill.errors import UserError
from first_distill.files import write_text
from first_distill.provenance.made_by import commit
from first_distill.reporting.output import page, pipe_table
from first_distill.reporting.trace import timing

CPU = re.compile(r"^model name\s*:\s*(.+)$", re.M)


def run(args: argparse.Namespace) -> None:
    """Write the seconds of a run's jobs by stage, and the machine that writes this."""
    folder = Path(args.benchmarks)
    jobs = timings(folder)
    if jobs.empty:
        raise UserError(f"no timings: {folder}: name benchmarks/{{scale}} of a finished run")
    by_stage = jobs.groupby("Stage", sort=False)["Seconds"]
    table = by_stage.agg(Jobs="count", Seconds="sum", Longest="max").reset_index()
    total = {"Stage": "all", "Jobs": len(jobs), "Seconds": jobs["Seconds"].sum()}
    total["Longest"] = jobs["Seconds"].max()
    table = pandas.concat([table.sort_values("Seconds"), pandas.DataFrame([total])])
    facts = "\n".join(f"- {name}: {value}" for name, value in machine().items())
    text = page(f"# What a run of scale {folder.name} cost", facts, pipe_table(table))
    write_text(args.output, text)


def timings(folder: Path) -> pandas.DataFrame:
    """Return Stage and Seconds of each job below benchmarks/{scale}; of one tried again, the last.

    No rows where nothing was timed, or what was is damaged.
    """
    paths = sorted(folder.rglob("*.tsv"))
    found = [(path.relative_to(folder).parts[0], timing(path)) for path in paths]
    rows = [(stage, own[0]) for stage, own in found if own]
    return pandas.DataFrame(rows, columns=["Stage", "Seconds"]).astype({"Seconds": float})


def machine() -> dict[str, str]:
    """Processor, cores, versions, and the commit of this checkout, where git tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    cpu = CPU.search(cpuinfo.read_text()) if cpuinfo.exists() else None
    try:
        torch = version("torch")
    except PackageNotFoundError:  # in the environment of the artifacts
        torch = "not here"
    return {
        "commit": commit(),
        "processor": cpu[1] if cpu else platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"),
        "Python": platform.python_version(),
        "torch": torch,
    }
