"""How-tos as a reader would follow them: a method, a recalibration and a family of one's own.

docs/add-a-benchmark.md is followed in test_datasets.py.
"""

import json

import pytest
import yaml

from tests import docs
from tests.system.workflow.copies import ROOT, job_counts, output, shell, snakemake

METHOD, FAMILY = "docs/add-a-method.md", "docs/add-a-family.md"
C35, OTHERS, SQUARED = docs.blocks(METHOD, "yaml")


@pytest.fixture
def copy(tiny_run):
    """A finished run; what is written to mine.yaml there is removed."""
    yield tiny_run
    (tiny_run / "mine.yaml").unlink()


def follow(folder, line: str, **changes: str):
    """A command of a page by the warm server, which is faster and makes the same bytes."""
    program, *words = line.split()
    assert program == "snakemake"
    target = next(word for word in words if word.startswith("results/"))
    words.remove(target)
    process = snakemake(folder, *words, "--", target, warm=True, **changes)
    assert process.returncode == 0, output(process)[-3000:]
    return json.loads((folder / target).read_text()), process


def commands() -> list[str]:
    return [block.strip() for block in docs.blocks(METHOD)]


def test_another_c(copy):
    """One cell; teacher, knowledge and data are there already."""
    (copy / "mine.yaml").write_text(C35)
    cell, process = follow(copy, commands()[0])
    assert cell["c"] == 0.35 and cell["method"] == "first_c35"
    assert "5 jobs: 2 student, 2 evaluation, 1 artifacts\n" in output(process)
    for name in ("ece", "accuracy", "trust"):
        assert cell[name]["low"] <= cell[name]["value"] <= cell[name]["high"]


def test_a_method_of_ones_own(copy):
    """The examples are planned as rows of Table 1, and only what is new."""
    (copy / "mine.yaml").write_text(OTHERS)
    line = "snakemake -n table1 --configfile mine.yaml"
    assert f"`{line} --quiet rules`" in docs.text(METHOD)
    process = shell(copy, line)
    assert job_counts(shell(copy, f"{line} --quiet rules")) == job_counts(process)
    counts = job_counts(process)
    assert process.returncode == 0 and "teacher" not in counts
    for name in ("distill_ls20", "distill_renorm", "first_ts_cool"):
        assert f"results/tiny/tables/table1/cells/alder/{name}/" in output(process)


@pytest.mark.slow
def test_a_recalibration_of_ones_own(copy):
    """The page's function, its name in two places, and a cell of a student trained with it."""
    (function,) = docs.blocks(METHOD, "python")
    code = copy / "first_distill/calibration/recalibration.py"
    types = copy / "first_distill/config/types.py"
    before = code.read_text(), types.read_text()
    text = before[0].replace(
        "\nRECALIBRATIONS = {\n", f'{function}\n\nRECALIBRATIONS = {{\n    "squared": squared,\n'
    )
    code.write_text(text)
    types.write_text(
        before[1].replace(
            'Recalibration = Literal["none", ', 'Recalibration = Literal["none", "squared", '
        )
    )
    (copy / "mine.yaml").write_text(SQUARED)
    try:
        cell, process = follow(copy, commands()[1])
    finally:
        code.write_text(before[0])
        types.write_text(before[1])
    assert cell["method"] == "distill_squared" and "teacher" not in job_counts(process)
    (record, *_) = copy.glob("results/tiny/student/alder/csqa/distill_squared/*/record.json")
    assert json.loads(record.read_text())["recalibration"]["name"] == "squared"


@pytest.mark.slow
def test_a_family_of_ones_own(copy):
    """The page's entry: its cell, its plan, and a table of a scale that is a copy."""
    entry, part = docs.blocks(FAMILY, "yaml")
    (copy / "mine.yaml").write_text(entry)
    cell, plan = (block.replace("\\\n", " ").strip() for block in docs.blocks(FAMILY))
    process = shell(copy, f"{cell} -n")
    assert process.returncode == 0, output(process)[-3000:]
    assert "results/small/models/pythia-410m/record.json" in output(process)
    for size in ("160m", "410m"):  # folders that are there
        entry = entry.replace(f"/data/pythia-{size}", "resources/tiny/alder-student")
    (copy / "mine.yaml").write_text(entry)
    process = shell(copy, plan)
    assert process.returncode == 0 and "pythia" in process.stdout, output(process)[-3000:]
    own = yaml.safe_load((ROOT / "config/scales/small.yaml").read_text())["scales"]["small"]
    own["data"] |= yaml.safe_load(part)["scales"]["mine"]["data"]
    own |= yaml.safe_load(entry)["scales"]["small"] | {
        "figures": {**own["figures"], "family": "pythia"}
    }
    (copy / "mine.yaml").write_text(yaml.safe_dump({"scales": {"mine": own}}))
    line = "snakemake -c8 table1 --configfile FILE --config scale=mine"
    assert line in docs.text(FAMILY)
    counts = job_counts(shell(copy, f"{line.replace('FILE', 'mine.yaml')} -n"))
    assert counts["teacher"] == 3 and counts["base_model"] == 2
