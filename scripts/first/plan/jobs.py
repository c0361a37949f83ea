"""The jobs of a scale, as Snakemake itself lists them, and what they are counted by."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from functools import cache

from scripts.first import ROOT
from scripts.first.errors import UserError

Job = tuple[str, ...]  # (stage, family, corpus, method, seed) or so: its folder below the scale's


@cache
def jobs_of(scale: str, configfiles: tuple[str, ...] = ()) -> frozenset[Job]:
    """Each job of `all` at one scale by the folder that it writes, finished or not.

    UserError with Snakemake's last line where it cannot resolve the scale.
    """
    line = [sys.executable, "-m", "snakemake", "--summary", "--quiet", "all"]
    line += ["--configfile", *configfiles] if configfiles else []
    line += ["--config", f"scale={scale}"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"cannot list the jobs of scale {scale}: {last.removeprefix('error: ')}")
    files = [row.split("\t")[0] for row in done.stdout.splitlines()[1:]]
    inside = [f.split("/")[2:-1] for f in files if f.startswith(f"results/{scale}/")]
    return frozenset(map(tuple, inside))


def students(jobs: frozenset[Job], methods: dict, family: str) -> Counter:
    """{(corpus, objective): jobs} of one family's students."""
    found = [job for job in jobs if job[:2] == ("student", family)]
    return Counter((job[2], methods[job[3]]["objective"]) for job in found)


def evaluations(jobs: frozenset[Job], methods: dict, family: str) -> dict[str, Counter]:
    """{role of the model, `teacher` or `student`: {corpus: jobs}} of one family."""
    found: dict[str, Counter] = {"teacher": Counter(), "student": Counter()}
    for job in jobs:
        if job[:2] == ("evaluation", family):
            method = methods[job[3]]
            teacher = method["objective"] == "teacher" or method.get("model") == "teacher"
            found["teacher" if teacher else "student"][job[2]] += 1
    return found
