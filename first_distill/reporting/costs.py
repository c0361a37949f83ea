"""What a run cost: seconds of its jobs by stage, and where they ran, as a Markdown page.

Reads the files of Snakemake's `benchmark:` below benchmarks/{scale}, and the heads of the same
jobs' logs below logs/{scale}.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import pandas
from tabulate import tabulate

from first_distill import joblog
from first_distill.errors import UserError
from first_distill.files import write_text
from first_distill.reporting.output import page, pipe_table
from first_distill.reporting.trace import timing

PLACE = [*joblog.GIVEN, "Python"]
UNKNOWN = "not in the log"


def run(args: argparse.Namespace) -> None:
    """Write the seconds of a run's jobs by stage, and the commits and machines that they ran on."""
    folder = Path(args.benchmarks)
    jobs = timings(folder, Path(args.logs))
    if jobs.empty:
        raise UserError(f"no timings: {folder}: name benchmarks/{{scale}} of a finished run")
    by_stage = jobs.groupby("Stage", sort=False)["Seconds"]
    table = by_stage.agg(Jobs="count", Seconds="sum", Longest="max").reset_index()
    total = {"Stage": "all", "Jobs": len(jobs), "Seconds": jobs["Seconds"].sum()}
    total["Longest"] = jobs["Seconds"].max()
    table = pandas.concat([table.sort_values("Seconds"), pandas.DataFrame([total])])
    where = pandas.DataFrame(places(jobs)).rename(columns=lambda name: name[0].upper() + name[1:])
    times = "From {} to {}.".format(*own) if (own := span(jobs)) else ""
    # A commit of digits alone is no number.
    whole = tabulate(where, "keys", "pipe", disable_numparse=True, showindex=False)
    title = f"# What a run of scale {folder.name} cost"
    write_text(args.output, page(title, times, pipe_table(table), whole))


def timings(folder: Path, logs: Path) -> pandas.DataFrame:
    """Return Job, Stage, Seconds, `PLACE` and started of each job below benchmarks/{scale}.

    Job: its path there, without suffix. logs: logs/{scale}. Of a job that was tried again, the
    last. No rows where nothing was timed, or what was is damaged; what a log does not tell is
    `UNKNOWN`.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        name = path.relative_to(folder)
        if own := timing(path):
            head = joblog.told(logs / name.with_suffix(".log")) or {}
            job = name.with_suffix("").as_posix()
            rows.append({"Job": job, "Stage": name.parts[0], "Seconds": own[0], **head})
    table = pandas.DataFrame(rows, columns=["Job", "Stage", "Seconds", *PLACE, "started"])
    return table.fillna(UNKNOWN).astype({"Seconds": float})


def of_results(jobs: pandas.DataFrame, folder: Path, files: Iterable[Path]) -> pandas.DataFrame:
    """Return those of `timings` that made some of the files below a folder, results/{scale}."""
    own = {file.parent for file in files if file.is_relative_to(folder)}
    made = {place.relative_to(folder).as_posix() for place in own}
    # An extraction that several jobs share has one of its own for each, below its folder.
    parent = jobs["Job"].str.rpartition("/")[0]
    return jobs[jobs["Job"].isin(made) | parent.isin(made)]


def places(jobs: pandas.DataFrame) -> list[dict]:
    """Return each commit and machine of `timings`, by `PLACE`, with its stages and jobs."""
    found = []
    for own, rows in jobs.groupby(PLACE, sort=False):
        stages = "all" if len(rows) == len(jobs) else ", ".join(rows["Stage"].unique())
        place = dict(zip(PLACE, own, strict=True))
        found.append({**place, "stages": stages, "jobs": len(rows)})
    return found


def told(jobs: pandas.DataFrame, name: str) -> list[str]:
    """Return the values of one of `PLACE` in `timings`, those that are not in a log left out."""
    return [own for own in jobs[name].unique() if own != UNKNOWN]


def span(jobs: pandas.DataFrame) -> tuple[str, str] | None:
    """Return when the first of `timings` started and the last ended; None where no log tells.

    Of a job that was tried again, the last try.
    """
    start = pandas.to_datetime(jobs["started"], format=joblog.TIME, errors="coerce")
    end = start + pandas.to_timedelta(jobs["Seconds"], unit="s")
    if end.isna().all():
        return None
    first, last = start[end.notna()].min(), end.max()
    return first.strftime(joblog.TIME), last.strftime(joblog.TIME)
