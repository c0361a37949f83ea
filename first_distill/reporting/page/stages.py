"""The stages of a scale: what each made, from which others, how long it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas

from first_distill.provenance import records
from first_distill.provenance.fingerprint import STAGES as CODES
from first_distill.provenance.fingerprint import fingerprint
from first_distill.reporting import trace

STAGES = {  # what it makes
    "data": "uniform tables, split into train, validation and test",
    "models": "base checkpoints",
    "teacher": "the larger model, fine-tuned with hard labels",
    "knowledge": "the teacher's most probable tokens at each position",
    "temperature": "c of Eq. 4, chosen on the validation split",
    "student": "one for each family, corpus, method and seed",
    "evaluation": "a model's answers to its benchmarks",
    "artifacts": "cells of Table 1",
}

BOX, STEP, LANE, GAP = (170, 44), 64, 18, 14  # of the drawing, in pixels: see `drawing`


def graph(results: trace.Results, sources: Iterable[trace.Source]) -> list[dict]:
    """Return {name, makes, of, n} of each stage, as the records behind some artifacts have it.

    of: the other stages that its results were made from; n: how many results.
    """
    found, of = Counter(), {name: set() for name in STAGES}
    for record in {source.record for source in sources if not source.outside}:
        found[name := stage(record)] += 1
        of[name] |= {stage(made) for made in results.content(record).get("made_from", {})}
    return [
        {
            "name": name,
            "makes": makes,
            "of": [other for other in STAGES if other in of[name] - {name}],
            "n": found[name],
        }
        for name, makes in STAGES.items()
    ]


def stage(name: str) -> str:
    """Return the stage of a path below results/; "" for a file from elsewhere."""
    if records.place(Path(records.RESULTS, name)) is None:
        return ""
    folder = name.split("/")[1]
    return folder if folder in STAGES else "artifacts"


def costs(jobs: pandas.DataFrame, resources: dict[str, dict]) -> list[dict]:
    """Return jobs, hours, and hours of cores and GPUs, of each stage and of all; [] if not timed.

    jobs: `costs.timings`. resources: {stage: {threads, gpu, nodes}} that they were given: hours of
    cores and GPUs are those reserved.
    """
    if jobs.empty:
        return []
    jobs = jobs.assign(threads=0.0, gpus=0.0)
    for stage, need in resources.items():
        own, nodes = jobs["Stage"] == stage, need.get("nodes", 1)
        for name, key in (("threads", "threads"), ("gpus", "gpu")):
            jobs.loc[own, name] = jobs.loc[own, "Seconds"] * need.get(key, 0) * nodes
    known = [*STAGES, *sorted({*jobs["Stage"]} - STAGES.keys())]
    order = [name for name in known if name in {*jobs["Stage"]}]
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


def made_by(results: trace.Results, sources: Iterable[trace.Source]) -> list[dict]:
    """Return what the records behind some artifacts say of their making, a row for each stage.

    {stage, codes, current, packages}: fingerprints of its code, whether that is the code of this
    checkout, and {package: versions}. Records name no machine, commit, memory or time.
    """
    found, order = {}, [*STAGES]
    for source in sources:
        if source.outside or not (own := results.content(source.path).get("provenance")):
            continue
        folder = source.path.split("/")[1]
        place = order.index(folder) if folder in STAGES else len(order)
        row = found.setdefault(own["stage"], {"place": place, "codes": {}, "packages": {}})
        row["codes"][own["code"]] = None
        for name, version in own["packages"].items():
            row["packages"].setdefault(name, {})[version] = None
    return [
        {
            "stage": name.replace("_", " "),
            "codes": [*found[name]["codes"]],
            "current": [*found[name]["codes"]] == [name in CODES and fingerprint(name)],
            "packages": {n: [*versions] for n, versions in found[name]["packages"].items()},
        }
        for name in sorted(found, key=lambda name: found[name]["place"])
    ]


def differences(rows: Iterable[dict]) -> list[str]:
    """Return in words where rows of `made_by` are not of one environment and this checkout."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for name, versions in row["packages"].items():
            for version in versions:
                found.setdefault(name, {}).setdefault(version, []).append(row["stage"])
    told = [
        f"{name} is not the same for all: "
        + "; ".join(f"{version} made {', '.join(stages)}" for version, stages in versions.items())
        for name, versions in sorted(found.items())
        if len(versions) > 1
    ]
    several = [row["stage"] for row in rows if len(row["codes"]) > 1]
    other = [row["stage"] for row in rows if not row["current"] and len(row["codes"]) == 1]
    told += [f"more than one version of the code made {', '.join(several)}"] if several else []
    return told + ([f"other code than this checkout's made {', '.join(other)}"] if other else [])


def drawing(stages: list[dict]) -> dict:
    """Return `graph` as a column of boxes: {width, height, box, boxes, lines}, in pixels.

    A line to the next box is straight. A stage whose results go further has a lane of its own
    beside the boxes, by turns left and right, the first outermost. Lines are data of SVG paths.
    """
    rows = {stage["name"]: n for n, stage in enumerate(stages)}
    edges = [(rows[of], rows[stage["name"]]) for stage in stages for of in stage["of"]]
    edges = [(source, target) for source, target in edges if source < target]
    far = sorted({source for source, target in edges if target - source > 1})
    left, right = GAP + LANE * -(-len(far) // 2), GAP + LANE * (len(far) // 2)
    lines = []
    for source, target in edges:
        if source not in far or target - source == 1:
            x, y = left + BOX[0] / 2, target * STEP
            lines.append(f"M{x} {y - STEP + BOX[1]}V{y}m-4 -6l4 6l4 -6")
            continue
        n, side = divmod(far.index(source), 2)
        edge, way = (left + BOX[0], -1) if side else (left, 1)
        lane = left + BOX[0] + right - 1 - LANE * n if side else 1 + LANE * n
        start, end = (row * STEP + BOX[1] / 2 + 10 * (n - 1) for row in (source, target))
        lines.append(
            f"M{edge} {start}H{lane + 6 * way}q{-6 * way} 0 {-6 * way} 6V{end - 6}"
            f"q0 6 {6 * way} 6H{edge}m{-6 * way} -4l{6 * way} 4l{-6 * way} 4"
        )
    boxes = [{**stage, "x": left, "y": n * STEP} for n, stage in enumerate(stages)]
    return {
        "width": left + BOX[0] + right,
        "height": STEP * (len(stages) - 1) + BOX[1],
        "box": BOX,
        "boxes": boxes,
        "lines": lines,
    }
