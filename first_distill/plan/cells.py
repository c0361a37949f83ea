"""The cells of Table 1 of a scale, one line each: the paper's value, ours, and what each costs.

A cell that is made has the time of the jobs behind it, one that is not the plan's GPU-hours.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from first_distill.errors import UserError
from first_distill.reporting import listing


def run(args: argparse.Namespace) -> None:
    """List the cells of Table 1: the paper's value, ours, whether it is made, what it costs."""
    # Imported here: jobs that make an artifact need neither the configuration nor a plan.
    from first_distill.config.load import load, own_files, with_variants
    from first_distill.plan.scale import configured

    files = list(map(Path, args.configfile))
    config = with_variants(load([*own_files(), *files]))
    scale = configured(config, args.scale or config["scale"], files)
    gpus = any(scale.declared(stage)["gpu"] for stage in scale.settings["resources"])
    cells = listing.cells(scale.name, scale.settings, config["table1"]["methods"])
    whole = listing.measure(cells, Path("results"), Path("benchmarks"))
    open_cells = [cell for cell in cells if cell["state"] == listing.NOT_MADE]
    if gpus and open_cells:
        try:
            jobs = {cell["path"]: jobs_behind(scale, cell) for cell in open_cells}
            hours = gpu_hours(scale, set().union(*jobs.values()))
            for cell in open_cells:
                cell["gpu_hours"] = sum(hours[job] for job in jobs[cell["path"]])
            whole["gpu_hours"] = sum(hours.values())
        except UserError as error:  # such as a model whose shape is not known yet
            whole["not_planned"] = str(error)
    where = ["--profile", "slurm"] if gpus else ["-c2"]
    command = ["snakemake", *where, (open_cells or cells)[0]["path"], *scale.own]
    listing.show(scale.name, cells, whole, command, args.json)


def jobs_behind(scale, cell: dict) -> set[tuple[str, ...]]:
    """Jobs behind a cell that may use a GPU, as `Scale.jobs` names them.

    From the names of the rules: Snakemake lists the jobs of a cell in seconds, not those of each.
    """
    family, corpus, settings = cell["family"], cell["corpus"], scale.settings
    method = scale.methods[cell["method"]].get("of", cell["method"])
    entry, seeds = scale.methods[method], [f"seed{seed}" for seed in settings["student"]["seeds"]]
    objective = entry["objective"]
    if objective in ("none", "teacher"):
        seeds = seeds[:1]
    tuned = "none" if objective == "none" else corpus
    found = {("evaluation", "evaluation", family, tuned, method, seed) for seed in seeds}
    if objective in ("hard_labels", "knowledge"):
        rule = {"hard_labels": "student_labels", "knowledge": "student_knowledge"}[objective]
        found |= {(rule, "student", family, corpus, method, seed) for seed in seeds}
    if objective == "teacher" or (objective == "knowledge" and "teacher" not in entry):
        found.add(("teacher", "teacher", family, corpus))
    if objective == "knowledge":
        found |= _knowledge(settings, entry, "knowledge", family, corpus, seeds[0])
    return found


def _knowledge(settings: dict, entry: dict, stage: str, *of: str) -> set[tuple[str, ...]]:
    """Extractions for students of a method; of: family, corpus and the first seed."""
    *folder, seed = of
    searches = [("validation",)] if entry.get("c") == "selected" else []
    splits = [("train",), *searches]
    if own := entry.get("teacher"):  # the fine-tuned student of the first seed
        found = {("knowledge_of_student", stage, *folder, own, *split) for split in splits}
        return found | {("student_labels", "student", *folder, own, seed)}
    if draws := entry.get("draws"):
        return {("knowledge_sampled", stage, *folder, f"sampled-{draws}", "train")}
    found = set()
    if searches and "c_from" in entry:
        found.add(("knowledge_of_task", stage, *folder, f"on-{entry['c_from']}", "validation"))
        splits = [("train",)]
    jobs = settings["knowledge"].get("jobs", 1)
    parts = [f"{index}-of-{jobs}" for index in range(1, jobs + 1)]
    for split in splits:
        if jobs == 1:
            found.add(("knowledge", stage, *folder, *split))
        else:
            found |= {("knowledge_part", stage, *folder, *split, "parts", part) for part in parts}
    return found


def gpu_hours(scale, jobs: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    """Planned GPU-hours of each job; 0 for one that no plan estimates."""
    from first_distill.plan.planning import ESTIMATES

    return {
        job: ESTIMATES[job[0]](scale, *job[1:])["gpu_hours"] if job[0] in ESTIMATES else 0.0
        for job in sorted(jobs)
    }
