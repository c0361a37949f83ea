"""Evaluations of a few points of an ablation with known properties, and the ablation of them."""

import json

import numpy as np
import pandas

from tests.science.artifacts_world import artifact, write_run

# (accuracy, confidence - accuracy) of a method of a scale; the variant's distillation is the best.
POINTS = {
    ("tiny", "distill"): (0.70, 0.15),
    ("tiny", "distill_ls"): (0.70, 0.14),
    ("tiny", "first_ts"): (0.70, 0.05),
    ("tiny-no_eos", "distill"): (0.72, 0.0),
    ("tiny", "finetune"): (0.66, 0.2),
}
SEEDS, N = (1, 2, 3), 400
COLUMNS = [["in_domain", "csqa", "csqa"], ["out_of_domain", "obqa", "alpaca"]]
ENTRY = {
    "name": "own",
    "title": "A choice",
    "columns": COLUMNS,
    "points": [
        {"label": "as it is", "method": "distill", "scale": "tiny"},
        {"label": "smoothed", "method": "distill_ls", "scale": "tiny"},
        {"label": "no EOS", "method": "distill", "scale": "tiny-no_eos", "variant": "no_eos"},
        {"method": "finetune", "scale": "tiny", "line": True},
    ],
}


def write_points(root) -> dict:
    """Write the runs of POINTS; {(scale, method, corpus, seed): metrics.json}."""
    found = {}
    for scale, method in POINTS:
        for _, benchmark, corpus in COLUMNS:
            for seed in SEEDS:
                labels = {"scale": scale, "family": "alder", "corpus": corpus, "method": method}
                labels |= {"seed": seed, "benchmark": benchmark}
                folder = root.joinpath(*map(str, labels.values()))
                rng = np.random.default_rng([*map(ord, scale + method + benchmark), seed])
                key = (scale, method, corpus, seed)
                found[key] = write_run(folder, labels, N, *POINTS[scale, method], rng)[1]
    return found


def made(folder, entry: dict, tree: dict, **options) -> tuple[pandas.DataFrame, str]:
    """CSV and page of an ablation."""
    used = {(point["scale"], point["method"]) for point in entry["points"]}
    metrics = [path for key, path in tree.items() if key[:2] in used]
    prefix = folder / entry["name"]
    artifact("ablation", entry=json.dumps(entry), metrics=metrics, output_prefix=prefix, **options)
    assert all(prefix.with_suffix(f".{kind}").stat().st_size > 1000 for kind in ("pdf", "png"))
    return pandas.read_csv(f"{prefix}.csv"), prefix.with_suffix(".md").read_text()
