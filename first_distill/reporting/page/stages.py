"""The stages of a scale: what each made, from which others, how long it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from first_distill.reporting import trace
from first_distill.reporting.costs import timings

STAGES = {  # what it makes, and from the results of which stages
    "data": ("uniform tables, split into train, validation and test", ()),
    "models": ("base checkpoints", ()),
    "teacher": ("the larger model, fine-tuned with hard labels", ("models", "data")),
    "knowledge": ("the teacher's most probable tokens at each position", ("teacher", "data")),
    "temperature": ("c of Eq. 4, chosen on the validation split", ("knowledge",)),
    "student": (
        "one for each family, corpus, method and seed",
        ("models", "data", "knowledge", "temperature"),
    ),
    "evaluation": ("a model's answers to its benchmarks", ("models", "teacher", "student", "data")),
    "artifacts": (
        "cells, tables, figures and claims",
        ("evaluation", "temperature", "knowledge", "data"),
    ),
}


def graph(sources: Iterable[trace.Source]) -> list[dict]:
    """Return {name, makes, of, n} of each stage; n: its results behind some of the artifacts."""
    results = {source.record for source in sources if not source.outside}
    folders = Counter(record.split("/")[1] for record in results)
    folders["artifacts"] = sum(n for name, n in folders.items() if name not in STAGES)
    return [
        {"name": name, "makes": makes, "of": list(of), "n": folders[name]}
        for name, (makes, of) in STAGES.items()
    ]


def costs(benchmarks: Path, resources: dict[str, dict]) -> list[dict]:
    """Return jobs, hours, and hours of cores and GPUs, of each stage and of all; [] if not timed.

    benchmarks: benchmarks/{scale}. resources: {stage: {threads, gpu, nodes}} that its jobs were
    given: hours of cores and GPUs are those reserved.
    """
    jobs = timings(benchmarks)
    if jobs.empty:
        return []
    jobs = jobs.assign(threads=0.0, gpus=0.0)
    for stage, need in resources.items():
        own, nodes = jobs["Stage"] == stage, need.get("nodes", 1)
        for name, key in (("threads", "threads"), ("gpus", "gpu")):
            jobs.loc[own, name] = jobs.loc[own, "Seconds"] * need.get(key, 0) * nodes
    order = sorted(jobs["Stage"].unique(), key=[*STAGES].index)
    groups = [(stage, jobs[jobs["Stage"] == stage]) for stage in order] + [("all", jobs)]
    return [
        {
            "stage": name,
            "jobs": len(own),
            "seconds": own["Seconds"].sum(),
            "longest": own["Seconds"].max(),
            "core_hours": own["threads"].sum() / 3600,
            "gpu_hours": own["gpus"].sum() / 3600,
        }
        for name, own in groups
    ]


def packages(results: trace.Results, sources: Iterable[trace.Source]) -> dict[str, str]:
    """Return {package: its versions} that the results behind some artifacts were made with."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        made_by = results.content(source.path).get("provenance", {})
        for name, version in made_by.get("packages", {}).items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in sorted(found.items())}
