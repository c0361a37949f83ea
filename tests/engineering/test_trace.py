"""What stands behind a result, by records made by hand, and what its jobs took, by timings."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from first_distill.errors import UserError
from first_distill.provenance import records
from first_distill.provenance.fingerprint import fingerprint
from first_distill.reporting import trace
from tests.sealed import reseal

CELL = "tiny/tables/table1/cells/oak/first_ts/in_domain-csqa.json"
SEED1, SEED2 = (f"tiny/evaluation/oak/csqa/first_ts/seed{n}/metrics.json" for n in (1, 2))
STUDENT1, STUDENT2 = (f"tiny/student/oak/csqa/first_ts/seed{n}/record.json" for n in (1, 2))
SELECTED = "tiny/temperature/oak/csqa/selected.json"
TRAIN, VALIDATION = (f"tiny/knowledge/oak/csqa/{s}/manifest.json" for s in ("train", "validation"))
TEACHER, PAIR = "tiny/teacher/oak/csqa/record.json", "tiny/models/pairs/oak/csqa.json"
MODEL, DATA = "tiny/models/oak-student/record.json", "tiny/data/csqa/report.json"
BUNDLE = "resources/tiny/alder-student/record.json"
TABLES = {name: f"tiny/data/csqa/{name}.parquet" for name in ("train", "validation", "test")}
# {record: (stage, other files, what it was made from)}, sources first.
JOBS = {
    DATA: ("data", ["train.parquet", "validation.parquet", "test.parquet"], []),
    MODEL: ("base_model", ["model.safetensors"], [BUNDLE]),
    PAIR: ("pair", [], [MODEL, TABLES["train"]]),
    TEACHER: ("teacher", ["model.safetensors"], [MODEL, TABLES["train"], TABLES["validation"]]),
    TRAIN: ("knowledge", ["knowledge.safetensors"], [TEACHER, TABLES["train"]]),
    VALIDATION: ("knowledge", ["knowledge.safetensors"], [TEACHER, TABLES["validation"]]),
    SELECTED: ("temperature", [], [VALIDATION]),
    **{
        student: (
            "student",
            ["model.safetensors", "validation.json"],
            [MODEL, TABLES["train"], TRAIN, SELECTED, PAIR],
        )
        for student in (STUDENT1, STUDENT2)
    },
    SEED1: ("evaluation", ["predictions.parquet"], [STUDENT1, TABLES["test"]]),
    SEED2: ("evaluation", ["predictions.parquet"], [STUDENT2, TABLES["test"]]),
    CELL: ("cell", [], [SEED1, SEED2, SELECTED]),
}
# {path: (depth, parent)} in the order in which a breadth-first reading by hand meets them.
CHAIN = {
    CELL: (0, None),
    SEED1: (1, CELL),
    SEED2: (1, CELL),
    SELECTED: (1, CELL),
    STUDENT1: (2, SEED1),
    TABLES["test"]: (2, SEED1),
    STUDENT2: (2, SEED2),
    VALIDATION: (2, SELECTED),
    MODEL: (3, STUDENT1),
    TABLES["train"]: (3, STUDENT1),
    TRAIN: (3, STUDENT1),
    PAIR: (3, STUDENT1),
    TEACHER: (3, VALIDATION),
    TABLES["validation"]: (3, VALIDATION),
    BUNDLE: (4, MODEL),
}
# Seconds and CPU seconds of jobs; a job that was tried again has two lines.
TIMES = {
    "tiny/data/csqa.tsv": ["1.5\t0:00:01\t1.25"],
    "tiny/models/oak-student.tsv": ["2.0\t0:00:02\tNA"],
    "tiny/teacher/oak/csqa.tsv": ["100.0\t0:01:40\t90", "30.0\t0:00:30\t28"],
    "tiny/knowledge/oak/csqa/train.tsv": ["4.0\t0:00:04\t3.5"],
    "tiny/knowledge/oak/csqa/train/1-of-2.tsv": ["8.0\t0:00:08\t7.5"],
    "tiny/knowledge/oak/csqa/train/2-of-2.tsv": ["9.0\t0:00:09\t8.5"],
    "tiny/knowledge/oak/csqa/validation.tsv": ["2.5\t0:00:02\t2.0"],
    "tiny/temperature/oak/csqa.tsv": ["0.25\t0:00:00\t0.25"],
    "tiny/student/oak/csqa/first_ts/seed1.tsv": ["20.0\t0:00:20\t19"],
    "tiny/student/oak/csqa/first_ts/seed2.tsv": ["21.0\t0:00:21\t18"],
    "tiny/evaluation/oak/csqa/first_ts/seed1.tsv": ["3.0\t0:00:03\t2"],
    "tiny/evaluation/oak/csqa/first_ts/seed2.tsv": ["3.5\t0:00:03\t2"],
    "tiny/evaluation/oak/csqa/distill/seed1.tsv": ["900.0\t0:15:00\t900"],  # of another cell
}
SECONDS = {"data": 1.5, "models": 2.0, "teacher": 30.0, "knowledge": 4.0 + 8.0 + 9.0 + 2.5}
SECONDS |= {"temperature": 0.25, "student": 41.0, "evaluation": 6.5}
CPU = {"data": 1.25, "teacher": 28.0, "knowledge": 3.5 + 7.5 + 8.5 + 2.0}
CPU |= {"temperature": 0.25, "student": 37.0, "evaluation": 4.0}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def results(tmp_path):
    """A cell of two seeds and all behind it, as the jobs would record them, and their timings."""
    root = tmp_path / "results"
    for name, (stage, files, made_from) in JOBS.items():
        folder = (root / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / file).write_text(f"{name} {file}")
        sources = [Path(s) if s == BUNDLE else root / s for s in made_from]
        content = {"provenance": {"stage": stage, "code": fingerprint(stage)}}
        records.write(root / name, content, files, sources)
    for name, lines in TIMES.items():
        path = tmp_path / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["s\th:m:s\tcpu_time", *lines]) + "\n")
    return root


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(trace.ROOT)  # where BUNDLE lies


def problems(results, name=CELL) -> dict[str, str]:
    return {s.path: s.problem for s in trace.behind(results / name) if s.problem}


def test_each_file_once_nearest_first(results):
    found = trace.behind(results / CELL)
    assert {s.path: (s.depth, s.parent) for s in found} == CHAIN
    assert [s.path for s in found] == list(CHAIN)
    for source in found:
        path = Path(source.path) if source.outside else results / source.path
        assert source.sha256 == digest(path)
        assert source.problem == ""
    stages = {s.path: (s.stage, s.code) for s in found}
    assert stages[SEED2] == ("evaluation", fingerprint("evaluation"))
    for table in TABLES.values():  # a trained cell is made from all three splits
        assert stages[table] == ("data", fingerprint("data"))
    assert {s.record for s in found if s.path in TABLES.values()} == {DATA}
    assert stages[BUNDLE] == ("", "") and [s.path for s in found if s.outside] == [BUNDLE]


def test_a_file_that_another_record_describes(results):
    """From any file of a job, not only from its record."""
    whole = trace.behind(results / TEACHER)
    weights = results / "tiny/teacher/oak/csqa/model.safetensors"
    found = trace.behind(weights)
    assert found[0].path == "tiny/teacher/oak/csqa/model.safetensors"
    assert found[0].sha256 == digest(weights)
    assert [s.path for s in found[1:]] == [s.path for s in whole[1:]]
    tables = [TABLES["train"], TABLES["validation"]]
    assert [s.path for s in whole] == [TEACHER, MODEL, *tables, BUNDLE]


def test_a_missing_record_is_marked_and_ends_its_branch(results):
    shutil.rmtree((results / TEACHER).parent)
    assert problems(results) == {TEACHER: "missing: its record is gone"}
    (results / DATA).unlink()
    assert problems(results)[TABLES["test"]] == "missing: its record is gone"


def test_a_damaged_record_is_marked(results):
    path = results / STUDENT1
    path.write_text(path.read_text().replace("student", "stutend", 1))
    found = problems(results)
    assert found[STUDENT1] == "altered: the record is damaged"
    assert found[SEED1] == f"stale: made from another version of {STUDENT1}"
    assert found.keys() == {STUDENT1, SEED1}


def test_other_code_and_another_version_are_stale(results):
    reseal(results / PAIR, json.loads((results / PAIR).read_text()), provenance={"stage": "pair"})
    found = problems(results)
    assert found[PAIR] == "stale: made by other code of stage pair"
    assert found[STUDENT1] == f"stale: made from another version of {PAIR}"
    assert found.keys() == {PAIR, STUDENT1, STUDENT2}


def test_a_misplaced_record_is_marked(results):
    shutil.copyfile(results / STUDENT1, results / STUDENT2)
    assert problems(results)[STUDENT2] == f"misplaced: it belongs to {STUDENT1}"


def test_the_result_itself_must_be_sound(results, tmp_path):
    with pytest.raises(UserError, match="no result: .*: name a file below results/"):
        trace.behind(tmp_path / "elsewhere.json")
    with pytest.raises(UserError, match="no record: .*never finished.*remake it: snakemake"):
        trace.behind((results / CELL).with_name("in_domain-boolq.json"))
    (results / CELL).write_text("{}")
    with pytest.raises(UserError, match="altered or incomplete record: .*: wrong seal: remake it"):
        trace.behind(results / CELL)


def test_seconds_of_the_jobs_behind(results, tmp_path):
    sources = trace.behind(results / CELL)
    assert trace.seconds(sources, tmp_path / "benchmarks") == (SECONDS, CPU, 0)
    # Of several results, each job once.
    others = trace.behind(results / SEED2)
    assert trace.seconds([*others, *sources, *sources], tmp_path / "benchmarks").untimed == 0
    assert trace.seconds([*sources, *others], tmp_path / "benchmarks").seconds == SECONDS


@pytest.mark.parametrize("text", [None, "", "s\tcpu_time\n", "s\tcpu_time\nNA\t1\n", "\x00\xff"])
def test_jobs_without_a_timing_are_counted(results, tmp_path, text):
    path = tmp_path / "benchmarks/tiny/temperature/oak/csqa.tsv"
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="latin-1")
    cost = trace.seconds(trace.behind(results / CELL), tmp_path / "benchmarks")
    assert "temperature" not in cost.seconds and "temperature" not in cost.cpu
    assert cost.seconds["student"] == 41.0 and cost.untimed == 1


def test_no_timings_at_all(results, tmp_path):
    """Of twelve jobs, those of the cell and the pair are not timed."""
    cost = trace.seconds(trace.behind(results / CELL), tmp_path / "nowhere")
    assert cost == ({}, {}, 10)
