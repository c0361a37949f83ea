"""A family whose student is pruned from its own teacher: a cell, its records, what it reruns."""

import json
import subprocess
import sys

import pytest
import yaml
from safetensors.torch import load_file

from tests.system.faults.small import small_copy
from tests.system.workflow.copies import environment, job_counts, output, snakemake

pytestmark = pytest.mark.slow

SCALE = "config/scales/tiny.yaml"
CELL = "results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json"
DRY = ("-n", "-c1", "--quiet", "host", "--", CELL)


def edit(folder, change) -> None:
    """Change the scale tiny of a copy."""
    settings = yaml.safe_load((folder / SCALE).read_text())
    change(settings["scales"]["tiny"])
    (folder / SCALE).write_text(yaml.safe_dump(settings, sort_keys=False))


def deep(tiny: dict) -> None:
    """Its teacher gets four layers, and its student is two of these."""
    recipe = tiny["models"]["alder-student"]["pretrain"]
    recipe["architecture"]["num_hidden_layers"] = 4
    tiny["models"] = {
        "alder-teacher": {"pretrain": recipe},
        "short": {"prune": {"from": "alder-teacher", "layers": 2}},
    }
    tiny["families"] = {"alder": {"teacher": "alder-teacher", "student": "short"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small copy in which one cell has been made."""
    folder = small_copy(tmp_path_factory.mktemp("prune") / "first")
    edit(folder, deep)
    counts = job_counts(snakemake(folder, *DRY))
    models = {"tokenizer": 1, "pretrained_model": 1, "pruned_model": 1, "base_model": 2, "pair": 1}
    assert {name: counts.get(name) for name in models} == models
    process = snakemake(folder, "-c2", "--", CELL, warm=True)
    assert process.returncode == 0, output(process)[-3000:]
    return folder


def test_a_cell_of_a_pruned_student(made):
    """The first and the last layer of its teacher's base, bit by bit; nothing is left to do."""
    models = made / "results/tiny/models"
    record = json.loads((models / "short/record.json").read_text())
    assert (record["kind"], record["layers"]) == ("pruned", [0, 3])
    assert {*record["made_from"]} == {"tiny/models/pruned/short/record.json"}
    whole, short = (load_file(models / n / "model.safetensors") for n in ("alder-teacher", "short"))
    for name, tensor in short.items():
        assert tensor.equal(whole[name.replace("layers.1.", "layers.3.")]), name
    assert {name.split(".")[2] for name in short if ".layers." in name} == {"0", "1"}
    student = made / "results/tiny/student/alder/csqa/first_ts/seed1234"
    assert json.loads((student / "config.json").read_text())["num_hidden_layers"] == 2
    assert 0 <= json.loads((made / CELL).read_text())["accuracy"]["value"] <= 100
    assert "Nothing to be done" in output(snakemake(made, *DRY))


def test_its_records_lead_to_its_teacher(made):
    """From the cell down to the model that it was pruned from, all sound."""
    process = subprocess.run(
        [sys.executable, "-m", "scripts.verify", "results/tiny", CELL],
        cwd=made,
        env=environment(made),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, output(process)
    assert "models/pruned/short/record.json" in process.stdout
    assert "models/pretrained/alder-teacher/record.json" in process.stdout


@pytest.mark.parametrize(
    ("change", "remade"),
    [
        (lambda tiny: tiny["models"]["short"]["prune"].update(layers=3), {"pruned_model"}),
        (
            lambda tiny: tiny["models"]["alder-teacher"]["pretrain"].update(seed=5),
            {"pretrained_model", "pruned_model", "teacher"},
        ),
    ],
)
def test_what_a_change_remakes(made, change, remade):
    """Another number of layers leaves the teacher alone; another source remakes all."""
    text = (made / SCALE).read_text()
    edit(made, change)
    counts = job_counts(snakemake(made, *DRY))
    (made / SCALE).write_text(text)
    models = {"tokenizer", "pretrained_model", "pruned_model", "teacher"}
    assert models & {*counts} == remade
    assert {"base_model", "pair", "student_knowledge", "table1_cell"} <= {*counts}


def test_more_layers_than_there_are(made):
    """One line of the job: the number in the source's files decides where no recipe tells it."""
    target = made / "results/tiny/models/pruned/more"
    words = ["--source", "results/tiny/models/alder-teacher", "--output-dir", str(target)]
    process = subprocess.run(
        [sys.executable, "-m", "scripts.models", "prune", *words, "--layers", "20"],
        cwd=made,
        env=environment(made),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2 and not target.exists()
    assert process.stderr.strip() == (
        "error: too few layers: results/tiny/models/alder-teacher: it has 4, 20 are to be kept: "
        "set layers to 4 or less"
    )
