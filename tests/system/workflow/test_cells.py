"""The list of Table 1's cells: the jobs behind one are Snakemake's, and what a run's cells say."""

import json
import shlex

import yaml

from first_distill.config.load import load, own_files
from first_distill.files import read_json
from first_distill.plan.cells import jobs_behind
from first_distill.plan.scale import configured
from tests.system.workflow.copies import ROOT, output, shell, snakemake

STAGES = ("teacher", "knowledge", "student", "evaluation")  # may use a GPU, but for a merge
COLUMN = {"csqa": "in_domain-csqa", "boolq": "in_domain-boolq", "alpaca": "out_of_domain-obqa"}
COLUMN |= {"none": "in_domain-csqa"}  # of a model that is not tuned
# Cells whose jobs differ in family or corpus, so that one call of Snakemake tells them apart.
CELLS = {
    ("llama1", "csqa"): "teacher",
    ("llama1", "boolq"): "finetune_ts",
    ("llama1", "alpaca"): "first_task",
    ("llama2", "csqa"): "first_ts",
    ("llama2", "boolq"): "self_first",
    ("llama2", "alpaca"): "distill_ls",
    ("openllama", "csqa"): "self_distill",
    ("openllama", "boolq"): "rs_kd_10",
    ("openllama", "alpaca"): "first_c30",
}
UNTUNED = {("llama1", "none"): "base", ("llama2", "none"): "base_teacher"}
OWN = {"scales": {"paper": {"knowledge": {"jobs": 2}, "student": {"seeds": [1, 2]}}}}


def test_jobs_behind_a_cell_are_those_of_the_workflow(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(OWN))
    targets = [
        f"results/paper/tables/table1/cells/{family}/{method}/{COLUMN[corpus]}.json"
        for (family, corpus), method in (CELLS | UNTUNED).items()
    ]
    words = ["--summary", "--quiet", "all", "--configfile", str(own), "--", *targets]
    process = snakemake(ROOT, *words)
    assert process.returncode == 0, output(process)[-3000:]
    rows = [line.split("\t") for line in process.stdout.splitlines()[1:]]
    jobs = {(rule, *file.split("/")[2:-1]) for file, _, rule, *_ in rows}
    expected = {place: set() for place in CELLS | UNTUNED}
    for job in jobs:
        if job[1] in STAGES and job[0] != "knowledge_merge":
            expected[job[2:4]].add(job)
    scale = configured(load([*own_files(), own]), "paper")
    for (family, corpus), method in (CELLS | UNTUNED).items():
        cell = {"family": family, "method": method, "corpus": corpus}
        assert jobs_behind(scale, cell) == expected[family, corpus], method
    assert len(expected["llama2", "csqa"]) == 2 + 2 + 1 + 2 * 2  # all of FIRST


def test_the_cells_of_a_finished_run(tiny_run):
    """Every cell is made, says what its file says, and was timed; one that goes is not made."""

    def listed(*words: str) -> str:
        done = shell(tiny_run, shlex.join(["python", "-m", "scripts.artifacts", "cells", *words]))
        assert done.returncode == 0, output(done)[-3000:]
        return done.stdout

    found = json.loads(listed("--json"))
    table = {(c["method"], c["setting"], c["benchmark"]): c for c in found["cells"]}
    assert len(table) == len(found["cells"]) == 10 * 4
    assert {cell["state"] for cell in found["cells"]} == {"made"}
    cell = table["first_ts", "out_of_domain", "obqa"]
    content = read_json(tiny_run / cell["path"])
    assert cell["ours"]["ece"] == {end: content["ece"][end] for end in ("value", "low", "high")}
    stages = {"data", "models", "teacher", "knowledge", "temperature", "student", "evaluation"}
    assert cell["seconds"].keys() == stages and cell["untimed"] == 0
    # Each timing once: those of all jobs but of Figure 6 and Table 2, which no cell needs.
    timings = (tiny_run / "benchmarks/tiny").rglob("*.tsv")
    needed = [path for path in timings if "first_c" not in str(path)]
    total = sum(float(path.read_text().splitlines()[-1].split("\t")[0]) for path in needed)
    assert abs(sum(found["seconds"].values()) - total) < 0.01
    (tiny_run / cell["path"]).unlink()
    lines = listed().splitlines()
    (line,) = [line for line in lines if line.startswith(cell["path"])]
    assert line.endswith("not made  not measured")
    assert lines[-2].startswith("39 of 40 cells made; their jobs, each once: ")
    assert lines[-1] == f"one cell: snakemake -c2 {cell['path']}"
