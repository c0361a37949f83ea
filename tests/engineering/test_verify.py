"""The verifier: ancestors of results, and what is altered, missing, misplaced or stale."""

import shutil

import pytest

from first_distill.errors import UserError
from first_distill.provenance import lineage, records
from first_distill.provenance.made_by import provenance
from scripts import verify
from tests.sealed import reseal

CELL = "tables/table1/cells/alder/distill/in_domain-csqa.json"
STUDENT = "student/alder/csqa/distill/seed1/record.json"
METRICS = "evaluation/alder/csqa/distill/seed1/metrics.json"


def record_of(artifact: str) -> str:
    return artifact.split(".")[0] + records.SUFFIX


@pytest.fixture
def results(tmp_path):
    """Data, a student, its evaluation, a cell and all artifacts, as the jobs would record them."""
    root = tmp_path / "results/tiny"

    def job(record, stage, files, made_from):
        folder = (root / record).parent
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            (folder / name).write_text(f"{record} {name}")
        content = {"provenance": provenance(stage)}
        records.write(root / record, content, files, [root / name for name in made_from])

    job("data/csqa/report.json", "data", ["train.parquet", "test.parquet"], [])
    job(STUDENT, "student", ["model.safetensors"], ["data/csqa/train.parquet"])
    job(METRICS, "evaluation", ["predictions.parquet"], [STUDENT, "data/csqa/test.parquet"])
    job(CELL, "cell", [], [METRICS])
    for name in lineage.ARTIFACTS:
        stage = name.split("/")[-1].split(".")[0].replace("index", "page")
        source = CELL if stage == "table1" else "data/csqa/test.parquet"
        job(record_of(name), stage, [name.split("/")[-1]], [source])
    return root


@pytest.fixture
def run(results, capsys):
    """The verifier's status and output, for these results unless others are named."""

    def call(*words, folder=results) -> tuple[int, str]:
        status = verify.main([str(folder), *map(str, words)])
        return status, capsys.readouterr().out

    return call


def test_sound_results(run):
    status, text = run()
    assert status == 0 and text.endswith("sound: every file is what its record says\n")
    assert "problems" not in text
    line = next(line for line in text.splitlines() if "table1.csv" in line)
    assert "sound; based on 1 data, 1 evaluation, 1 student, 1 tables" in line
    assert "claims.json: sound; based on 1 data" in text


def test_artifacts_that_are_not_made(results, run):
    for path in results.glob("figures/figure2.*"):
        path.unlink()
    status, text = run()
    assert status == 1 and "figures/figure2.pdf: not made" in text
    assert "NOT COMPLETE: 1 of 11 artifacts" in text.splitlines()[-1]
    assert run(results / CELL)[0] == 0


@pytest.mark.parametrize("name", lineage.ARTIFACTS)
def test_an_artifact_without_its_record(results, run, name):
    (results / record_of(name)).unlink()
    status, text = run()
    assert status == 1 and text.endswith("NOT SOUND\n")
    assert f"missing: {name}: its record is missing" in text


def test_an_artifact_that_rests_on_nothing(results, run):
    reseal(results / "claims.record.json", made_from={})
    status, text = run()
    assert status == 1 and "claims.json: sound; based on nothing" in text
    assert "missing: claims.json: it is not based on any data" in text


def test_names_of_others_are_escaped(results, run):
    """A name cannot print a verdict of its own, nor clear the terminal."""
    (results / "x\nsound\n\x1b[2J").write_text("")
    (results / "y\udcff").write_text("")
    reseal(results / CELL, provenance={"stage": "a\nsound", "code": "\x1b[2J"})
    status, text = run()
    assert status == 1 and "\x1b" not in text and "\nsound" not in text
    assert "x\\nsound\\n\\x1b[2J" in text and "y\\udcff" in text


@pytest.mark.parametrize("name", ["a" * 5000, "../../../etc/passwd", "a\0b", "/", ""])
def test_sources_that_are_no_paths(results, run, name):
    reseal(results / CELL, made_from={name: "0" * 64, f"tiny/{name}": "0" * 64})
    assert run()[0] == 1


@pytest.mark.parametrize("name", [CELL, METRICS])  # a path relative to the folder, and a whole one
def test_what_a_number_rests_on(results, run, name):
    status, text = run(CELL if name == CELL else results / CELL)
    lines = [line.split()[0] for line in text.splitlines()[1:-2]]
    sources = [METRICS, STUDENT, "data/csqa/train.parquet", "data/csqa/test.parquet"]
    assert status == 0 and lines == [CELL, *sources]


WEIGHTS = STUDENT.replace("record.json", "model.safetensors")
DATA, REPORT = "data/csqa/test.parquet", "data/csqa/report.json"


@pytest.mark.parametrize("name", [DATA, WEIGHTS, REPORT, CELL, "tables/table1.csv"])
def test_altered(results, run, name):
    path = results / name
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    status, text = run()
    assert status == 1 and f"altered: {name}: " in text and text.endswith("NOT SOUND\n")
    assert "table1.csv: sound" not in text
    assert name != WEIGHTS or f"ALTERED: {name}\n" in run(results / CELL)[1]


@pytest.mark.parametrize("name", [DATA, REPORT, CELL])
def test_missing(results, run, name):
    (results / name).unlink()
    status, text = run()
    about = [line for line in text.splitlines() if "missing: " in line]
    assert status == 1 and any(name in line or "no record describes" in line for line in about)
    assert "not based on any data" not in text


@pytest.mark.parametrize("name", [DATA, CELL])
def test_unreadable_is_not_altered(results, run, name):
    """Reading that file fails for everybody, as one without permission does for other users."""
    (results / name).unlink()
    (results / name).symlink_to("/proc/self/mem")
    status, text = run()
    assert status == 1 and f"unreadable: {name}: cannot read: " in text
    assert "altered: " not in text and "make these" not in text


def test_weights_may_stay_where_they_are_large(results, run):
    (results / WEIGHTS).unlink()
    assert run()[0] == 1
    status, text = run("--without-weights")
    assert status == 0 and "not here, and not checked: 1 files" in text


def test_made_from_another_version(results, run):
    """The student was retrained, its evaluation was not rerun."""
    reseal(results / STUDENT, epochs=2)
    status, text = run()
    assert status == 1
    assert f"stale: {METRICS}: made from another version of tiny/student/" in text


@pytest.mark.parametrize(
    "said", [{"stage": "cell", "code": "0" * 16}, {}, {"stage": 3}, {"stage": "os"}]
)
def test_made_by_other_code(results, run, said):
    reseal(results / CELL, provenance=said)
    status, text = run()
    assert status == 1 and f"stale: {CELL}: made by other code of stage" in text
    assert "problems: 1\n" in text  # not the table, whose trouble follows from it
    assert f"snakemake -c2 --config scale=tiny -R results/tiny/{CELL}\n" in text


def test_records_of_another_place(results, run):
    """A copied record, and the results of one scale under another's name."""
    other = results / CELL.replace("distill", "finetune")
    other.parent.mkdir(parents=True)
    shutil.copy(results / CELL, other)
    status, text = run()
    assert status == 1 and "misplaced: " in text and f"it belongs to tiny/{CELL}" in text
    shutil.rmtree(other.parent)
    paper = results.rename(results.parent / "paper")
    status, text = run(folder=paper)
    assert status == 1 and f"misplaced: {CELL}: it belongs to tiny/{CELL}" in text
    assert run(folder=paper.rename(paper.parent.parent / "theirs"))[0] == 0


def test_files_without_a_record(results, run):
    (results / "tables/table9.csv").write_text("by hand")
    status, text = run()
    assert status == 0 and "files that no valid record names: 1\n  tables/table9.csv" in text


def test_mistakes_of_the_call(results, run, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty", results.parent):
        with pytest.raises(UserError, match="no results: .*: name "):
            run(folder=folder)
    for name in ("tables/other.csv", "tables", "/etc/passwd"):
        with pytest.raises(UserError, match=f"no record of {name}: .*name a file"):
            run(name)
