"""The whole workflow on a smaller world: what it makes, and what it reruns."""

import json
import re
import shutil

import pyarrow.parquet as pq
import pytest

from first_distill import joblog
from tests.short import short
from tests.system.workflow.copies import copy_repository, job_counts, output, snakemake

DRY = ("-n", "-c1", "--quiet", "host")
NAMES = ("figure2", "figure3", "figure5", "figure6", "meters")
FIGURES = [f"figures/{name}.{kind}" for name in NAMES for kind in ("pdf", "svg", "png", "csv")]
POSTHOC = [f"tables/posthoc.{kind}" for kind in ("csv", "md")]
TABLES = [f"tables/table{n}.{kind}" for n in (1, 2) for kind in ("csv", "md", "tex")]


def test_everything_is_made(tiny_run):
    """Every artifact exists and holds something."""
    for name in [
        *FIGURES,
        *TABLES,
        *POSTHOC,
        "claims.json",
        "claims.md",
        "tables/data_report.md",
        "index.html",
    ]:
        assert (tiny_run / "results/tiny" / name).stat().st_size > 100, name
    claims = json.loads((tiny_run / "results/tiny/claims.json").read_text())
    assert isinstance(claims, list)
    assert {c["verdict"] for c in claims} <= {"holds", "does not hold", "undecided"}
    logs = [path for path in (tiny_run / "logs/tiny").rglob("*.log")]
    heads = [joblog.LINE.findall(path.read_text()) for path in logs]
    assert len(logs) > 100 and {len(found) for found in heads} == {1}


def test_table_matches_predictions(tiny_run):
    """A number of Table 1 follows from the per-question predictions (two seeds, plain mean)."""
    cell = tiny_run / "results/tiny/tables/table1/cells/alder/finetune/in_domain-csqa.json"
    accuracy = json.loads(cell.read_text())["accuracy"]
    folder = tiny_run / "results/tiny/evaluation/alder/csqa/finetune"
    files = sorted(folder.glob("seed*/predictions.parquet"))
    assert len(files) == 2
    means = [100 * pq.read_table(file).to_pandas()["correct"].mean() for file in files]
    assert accuracy["value"] == pytest.approx(sum(means) / 2)


def test_second_run_has_nothing_to_do(tiny_run):
    """Same command, nothing to do; touching every source changes that not at all."""
    assert "Nothing to be done" in output(snakemake(tiny_run, *DRY))
    for path in tiny_run.rglob("*"):
        if path.is_file() and "results" not in path.parts and ".snakemake" not in path.parts:
            path.touch()
    assert "Nothing to be done" in output(snakemake(tiny_run, *DRY))


def test_delta_reruns_only_what_depends_on_it(tiny_run):
    """Another delta of Eq. 3: its students, their evaluations, their cells, what shows them."""
    config = tiny_run / "config/config.yaml"
    text = config.read_text()
    config.write_text(text.replace("delta: 0.1", "delta: 0.2"))
    counts = job_counts(snakemake(tiny_run, *DRY))
    config.write_text(text)
    assert counts == {
        "student_knowledge": 6,
        "evaluation": 6,
        "model_card": 6,
        "table1_cell": 4,
        "table1_files": 1,
        "figure_meters": 1,
        "posthoc": 1,
        "claims_files": 1,
        "page": 1,
        "all": 1,
    }


ENTRIES = {  # an edit of config/datasets.yaml: which data rules run, of how many datasets
    "another template": (
        "text: |-\n      Q: {{",
        "text: |-\n      Question: {{",
        {"benchmark_data": 2},
    ),
    "another key": ("  obqa:\n", "  obqa:\n    duplicates: drop\n", {"benchmark_data": 1}),
    "a corpus": ('"input?"', "input", {"corpus_data": 1}),
    "of no column": ("Review: {{ text }}", "Text: {{ text }}", {}),
    "a comment": ("# 28 outputs", "# 29 outputs", {}),
}


@pytest.mark.parametrize("name", short(ENTRIES, "another key"))
def test_another_entry_remakes_its_datasets(tiny_run, name):
    old, new, remade = ENTRIES[name]
    config = tiny_run / "config/datasets.yaml"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    process = snakemake(tiny_run, *DRY)
    config.write_text(text)
    assert process.returncode == 0, output(process)[-3000:]
    counts = job_counts(process)
    rules = ("benchmark_data", "corpus_data", "test_data", "text_data")
    assert {rule: counts[rule] for rule in rules if rule in counts} == remade
    assert bool(remade) == ("evaluation" in counts)


@pytest.mark.parametrize(
    ("role", "kept", "remade"),
    [
        (
            "student",
            {"teacher"},
            {
                "pair": 3,
                "knowledge": 6,
                "student_labels": 6,
                "student_knowledge": 26,
            },
        ),
        ("teacher", set(), {"teacher": 3}),
    ],
)
def test_another_model_in_a_family(tiny_run, role, kept, remade):
    """Another student leaves its teacher alone, but not the ids that may be stored."""
    config = tiny_run / "config/scales/tiny.yaml"
    text = config.read_text()
    config.write_text(text.replace(f"{role}: alder-{role}", f"{role}: birch-{role}"))
    counts = job_counts(snakemake(tiny_run, *DRY))
    config.write_text(text)
    assert not kept & set(counts)
    assert {name: counts[name] for name in remade} == remade


def test_cell_builds_only_its_ancestors(tmp_path):
    """One cell of FIRST in-domain: one teacher, one corpus, three seeds, and no other method."""
    clone = copy_repository(tmp_path / "clone")
    cell = "results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json"
    counts = job_counts(snakemake(clone, "-n", "-c1", "--quiet", "host", "--", cell))
    assert counts.pop("benchmark_data") == 1
    assert counts == {
        "base_model": 2,
        "pair": 1,
        "teacher": 1,
        "knowledge": 2,
        "temperature": 1,
        "student_knowledge": 3,
        "evaluation": 3,
        "table1_cell": 1,
    }


OWN_TEACHER = {"knowledge_of_student": 2, "temperature_of_student": 1, "student_knowledge": 3}


@pytest.mark.parametrize(
    ("method", "others"),
    short(
        [("finetune_ts", {}), ("finetune_ts_ece", {}), ("self_first", OWN_TEACHER)],
        ("finetune_ts", {}),
    ),
)
def test_cells_that_need_no_larger_teacher(tmp_path, method, others):
    """A post-hoc temperature has no evaluation of its own; a student that teaches itself no pair.

    Of a second seed the teacher is the first one's student all the same.
    """
    clone = copy_repository(tmp_path / "clone")
    cell = f"results/tiny/tables/table1/cells/alder/{method}/in_domain-csqa.json"
    words = ["-n", "-c1", "--quiet", "host"]
    counts = job_counts(snakemake(clone, *words, "--", cell))
    common = {"benchmark_data": 1, "base_model": 1, "student_labels": 1 if others else 3}
    assert counts == {**common, **others, "evaluation": 3, "table1_cell": 1}
    if others:
        student = f"results/tiny/student/alder/csqa/{method}/seed5/record.json"
        process = snakemake(clone, *words, "--", student)
        assert "student/alder/csqa/finetune/seed1234/record.json" in output(process)
        assert job_counts(process) == {**common, **others, "student_knowledge": 1}


def test_interrupted_job_leaves_nothing_finished(tiny_run, tmp_path):
    """A failing job removes what it declared; the log ends in one line for the user."""
    copy = shutil.copytree(tiny_run, tmp_path / "copy", symlinks=True)
    config = copy / "config/scales/tiny.yaml"
    text = config.read_text()
    config.write_text(text.replace("block_length: 160", "block_length: 9"))
    target = "results/tiny/teacher/alder/boolq/record.json"
    process = snakemake(copy, "-c1", "--", target)
    assert process.returncode != 0
    assert not (copy / target).exists()
    log = (copy / "logs/tiny/teacher/alder/boolq.log").read_text()
    assert re.fullmatch(r"error: .*block_length.*", log.strip().splitlines()[-1])
    assert "Traceback" not in log
