"""Finished results of one family, small but whole, and the page of them."""

import argparse
import io
import json
from pathlib import Path

import pandas

from first_distill import ROOT
from first_distill.files import write_text
from first_distill.reporting import output
from first_distill.reporting.page import page
from tests.science.artifacts_world import COLUMNS, artifact, write_search, write_tree

METHODS = {  # accuracy, mean confidence - accuracy; `distill` is no better than chance
    "base": (0.45, 0.0),
    "teacher": (0.80, 0.10),
    "finetune": (0.68, 0.14),
    "distill": (0.25, 0.10),
    "distill_ls": (0.68, 0.03),
    "first_ts": (0.71, 0.01),
}
MASS = "corpus,positions,k,mass_mean,mass_sd,n_positions,share_over_95,family\n"
MASS += "csqa,all,5,99,1,900,99,alder\n"
WIDE = 454  # points, of a figure over two columns
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="{}pt" height="72pt"><text>{}</text></svg>'
REPORT = "# Data report\n\n## Rows\n\n| dataset | rows |\n|:--|--:|\n| csqa | 80 |\n"
TIMING = "s\th:m:s\tcpu_time\n3.5\t0:00:03\t1.0\n"
HEAD = "job: commit abc; processor Cpu X; cores 2; memory 8 GiB; GPUs none; Python 3.11.2; "
HEAD += "started 2026-01-03 10:00:00 UTC\n"
RESOURCES = {"evaluation": {"threads": 4, "gpu": 2, "nodes": 1}}


def make_results(root: Path) -> Path:
    """Write results/tiny, benchmarks/tiny and logs/tiny below a folder; return results/tiny."""
    folder = root / "results/tiny"
    tree = write_tree(folder / "evaluation", n=80, seeds=(1, 2), methods=METHODS)
    runs = {key: files for key, files in tree.items() if key[0] == "alder"}
    search = write_search(folder / "temperature/alder/csqa", 0.85, seed=1)
    tables, figures, cells = folder / "tables", folder / "figures", []
    for corpus, benchmark in COLUMNS:
        setting = "in_domain" if corpus == benchmark else "out_of_domain"
        for (family, trained, method, tested), files in runs.items():
            if tested == benchmark and trained in (corpus, "none"):
                place = f"table1/cells/{family}/{method}/{setting}-{benchmark}.json"
                labels = {"scale": "tiny", "family": family, "method": method, "corpus": corpus}
                labels |= {"setting": setting, "benchmark": benchmark}
                labels |= {"c": search["selected"]} if method == "first_ts" else {}
                metrics = [run[1] for run in files]
                artifact("cell", metrics=metrics, **labels, output=tables / place)
                cells.append(tables / place)
    artifact("table1", cells=cells, output_prefix=tables / "table1")
    output.publish(str(tables / "data_report"), "data_report", [], md=REPORT)
    for name in ("figure2", "figure5", "figure6", "meters"):
        svg = SVG.format(WIDE if name == "figure5" else 144, name).encode()
        data = pandas.read_csv(io.StringIO(MASS))
        output.publish(str(figures / name), name, [], csv=data, svg=svg)
    shown = [runs["alder", "csqa", name, "csqa"][0] for name in ("teacher", "finetune", "distill")]
    options = {"ranks": [run[2] for run in shown], "metrics": [run[1] for run in shown]}
    artifact("figure3", benchmark="csqa", **options, output_prefix=figures / "figure3")
    options = {n: figures / f"{n}.csv" for n in ("figure2", "figure3")} | search
    options |= {"metrics": [run[1] for files in runs.values() for run in files]}
    options |= {"table1": tables / "table1.csv", "families": "alder", "corpora": "csqa"}
    designed = ["finetune_over_confident"]
    artifact("claims", **options, by_design=designed, output_prefix=folder / "claims")
    for path in options["metrics"]:
        job = Path(path).parent.relative_to(folder)
        write_text(root / "benchmarks/tiny" / f"{job}.tsv", TIMING)
        write_text(root / "logs/tiny" / f"{job}.log", HEAD)
    left = "student/alder/csqa/gone/seed1"  # of a method that is no longer there
    write_text(root / "benchmarks/tiny" / f"{left}.tsv", TIMING)
    write_text(
        root / "logs/tiny" / f"{left}.log", HEAD.replace("abc", "old").replace("2026", "2025")
    )
    return folder


def add_ablation(folder: Path) -> None:
    """Give the results one ablation."""
    svg, made_from = SVG.format(144, "panel").encode(), [folder / "tables/table1.csv"]
    text = f"# How many tokens\n\nA sentence.\n\n{REPORT.partition('Rows')[2].strip()}\n"
    output.publish(str(folder / "ablations/k"), "ablation", made_from, md=text, svg=svg)
    pages = [folder / "ablations/k.md"]
    output.publish(str(folder / "ablations"), "ablations", pages, md="# Ablations\n")


def words(folder: Path) -> dict:
    """Options of `scripts.artifacts page` for these results."""
    return {
        "results": folder,
        "benchmarks": folder.parents[1] / "benchmarks" / folder.name,
        "logs": folder.parents[1] / "logs" / folder.name,
        "paper_table": str(ROOT / "config/paper_table1.csv"),
        "resources": json.dumps(RESOURCES),
        "description": "A world for tests.",
        "benchmark": "csqa",
        "corpus": "csqa",
        "methods": ["teacher", "first_ts"],
        "output_prefix": folder / "index",
    }


def context(folder: Path) -> dict:
    """What the page of these results shows."""
    return page.gather(argparse.Namespace(**words(folder), posthoc=[]))[0]
