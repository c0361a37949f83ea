"""The verifier: what rests on what, and what is altered, missing, misplaced or stale."""

import shutil

import pytest

from scripts import verify
from scripts.first.errors import UserError
from scripts.first.provenance import lineage, records
from scripts.first.provenance.made_by import provenance
from scripts.first.provenance.records import SUFFIX
from tests.sealed import reseal

CELL = "tables/table1/cells/alder/distill/in_domain-csqa.json"


@pytest.fixture
def results(tmp_path):
    """Data, a student, its evaluation, a cell and Table 1, as the jobs would record them."""
    root = tmp_path / "results/tiny"

    def job(record, module, files, made_from, **content):
        folder = (root / record).parent
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            (folder / name).write_text(f"{record} {name}")
        content["provenance"] = provenance(module)
        records.write(root / record, content, files, [root / name for name in made_from])

    data, student = "data/csqa/report.json", "student/alder/csqa/distill/seed1/record.json"
    metrics = "evaluation/alder/csqa/distill/seed1/metrics.json"
    job(data, "data", ["train.parquet", "test.parquet"], [])
    job(student, "student", ["model.safetensors"], ["data/csqa/train.parquet"])
    made_from = [student, "data/csqa/test.parquet"]
    job(metrics, "evaluation", ["predictions.parquet"], made_from)
    job(CELL, "cell", [], [metrics])
    job("tables/table1.record.json", "table1", ["table1.csv"], [CELL])
    for name in lineage.ARTIFACTS[1:]:
        module = name.split("/")[-1].split(".")[0]
        job(name.split(".")[0] + SUFFIX, module, [name.split("/")[-1]], ["data/csqa/test.parquet"])
    return root


def told(results, capsys, *words) -> tuple[int, str]:
    status = verify.main([str(results), *words])
    return status, capsys.readouterr().out


def test_sound_results(results, capsys):
    status, text = told(results, capsys)
    assert status == 0 and text.endswith("sound: every file is what its record says\n")
    assert "problems" not in text
    line = next(line for line in text.splitlines() if "table1.csv" in line)
    assert "sound; rests on 1 data, 1 evaluation, 1 student, 1 tables" in line
    assert "claims.json: sound; rests on 1 data" in text


def test_what_is_not_made_is_not_sound(results, capsys):
    for path in results.glob("figures/figure2.*"):
        path.unlink()
    status, text = told(results, capsys)
    assert status == 1 and "figures/figure2.pdf: not made" in text
    assert text.endswith("NOT COMPLETE: 1 of 8 artifacts are not made; what there is, is sound\n")
    assert told(results, capsys, str(results / CELL))[0] == 0


@pytest.mark.parametrize("name", lineage.ARTIFACTS)
def test_an_artifact_without_its_record(results, capsys, name):
    (results / (name.split(".")[0] + SUFFIX)).unlink()
    status, text = told(results, capsys)
    assert status == 1 and text.endswith("NOT SOUND\n")
    assert f"missing: {name}: its record is missing" in text


def test_an_artifact_that_rests_on_nothing(results, capsys):
    reseal(results / "claims.record.json", made_from={})
    status, text = told(results, capsys)
    assert status == 1 and "claims.json: 1 missing; rests on nothing" in text


def test_names_of_others_are_escaped(results, capsys):
    """A name cannot print a verdict of its own, nor clear the terminal."""
    (results / "x\nsound\n\x1b[2J").write_text("")
    (results / "y\udcff").write_text("")
    reseal(results / CELL, provenance={"stage": "a\nsound", "code": "\x1b[2J"})
    status, text = told(results, capsys)
    assert status == 1 and "\x1b" not in text and "\nsound" not in text
    assert "x\\nsound\\n\\x1b[2J" in text and "y\\udcff" in text


@pytest.mark.parametrize("name", ["a" * 5000, "tiny/" + "a" * 5000, "../../etc/passwd", "a\0b"])
def test_sources_that_are_no_paths(results, capsys, name):
    reseal(results / CELL, made_from={name: "0" * 64})
    status, text = told(results, capsys)
    assert status == 1 and text.endswith("NOT SOUND\n")


def test_a_long_chain(results, capsys):
    """Deeper than Python calls: the tree ends, the walk does not."""
    source, content = "data/csqa/report.json", {"provenance": provenance("data")}
    for i in range(1500):
        name = f"models/pairs/{i}.json"
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        records.write(results / name, content, (), [results / source])
        source = name
    assert told(results, capsys, str(results / source))[0] == 0


def test_what_a_number_rests_on(results, capsys):
    status, text = told(results, capsys, str(results / CELL))
    lines = [line.split()[0] for line in text.splitlines()[1:-2]]
    assert status == 0 and lines == [
        CELL,
        "evaluation/alder/csqa/distill/seed1/metrics.json",
        "student/alder/csqa/distill/seed1/record.json",
        "data/csqa/train.parquet",
        "data/csqa/test.parquet",
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("data/csqa/test.parquet", "altered"),
        ("student/alder/csqa/distill/seed1/model.safetensors", "altered"),
        ("data/csqa/report.json", "altered"),
        (CELL, "altered"),
        ("tables/table1.csv", "altered"),
    ],
)
def test_altered(results, capsys, name, kind):
    path = results / name
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    status, text = told(results, capsys)
    assert status == 1 and f"{kind}: {name}: " in text and text.endswith("NOT SOUND\n")
    assert "table1.csv: sound" not in text


@pytest.mark.parametrize("name", ["data/csqa/test.parquet", "data/csqa/report.json", CELL])
def test_missing(results, capsys, name):
    (results / name).unlink()
    status, text = told(results, capsys)
    about = next(line for line in text.splitlines() if "missing: " in line)
    assert status == 1 and (name in about or "no record" in about and "data/csqa" in about)


def test_weights_may_stay_where_they_are_large(results, capsys):
    (results / "student/alder/csqa/distill/seed1/model.safetensors").unlink()
    assert told(results, capsys)[0] == 1
    status, text = told(results, capsys, "--without-weights")
    assert status == 0 and "not here, and not checked: 1 files" in text


def test_made_from_another_version(results, capsys):
    """The student was trained again, its evaluation was not."""
    reseal(results / "student/alder/csqa/distill/seed1/record.json", epochs=2)
    status, text = told(results, capsys)
    assert status == 1
    metrics = "evaluation/alder/csqa/distill/seed1/metrics.json"
    assert f"stale: {metrics}: made from another version of tiny/student/" in text


def test_made_by_other_code(results, capsys):
    reseal(
        results / CELL,
        provenance={"stage": "cell", "code": "0" * 16},
    )
    status, text = told(results, capsys)
    assert status == 1 and f"stale: {CELL}: made by other code of stage" in text
    assert "made from another version" in text  # Table 1, of the cell: a consequence
    told_first = text.index(f"stale: {CELL}: ")
    assert told_first < text.index("stale: tables/table1.record.json")
    repair = f"and what rests on them: snakemake -c2 --config scale=tiny -R results/tiny/{CELL}\n"
    assert repair in text


@pytest.mark.parametrize("said", [None, [], {"stage": 3}, {"stage": "os", "code": None}])
def test_code_that_nobody_knows(results, capsys, said):
    reseal(results / CELL, provenance=said)
    status, text = told(results, capsys)
    assert status == 1 and f"stale: {CELL}: " in text


def test_anothers_record(results, capsys):
    other = results / CELL.replace("distill", "finetune")
    other.parent.mkdir(parents=True)
    shutil.copy(results / CELL, other)
    status, text = told(results, capsys)
    assert status == 1 and "misplaced: " in text and "it is the record of tiny/" in text


def test_results_of_one_scale_do_not_pass_for_anothers(results, capsys):
    paper = results.rename(results.parent / "paper")
    status, text = told(paper, capsys)
    assert status == 1 and "misplaced: the records are of scale tiny, the folder is paper" in text
    elsewhere = paper.rename(paper.parent.parent / "theirs")
    assert told(elsewhere, capsys)[0] == 0


def test_files_that_nobody_recorded(results, capsys):
    (results / "tables/table9.csv").write_text("by hand")
    status, text = told(results, capsys)
    assert status == 0 and "files without a record: 1\n  tables/table9.csv" in text


def test_mistakes_of_the_call(results, tmp_path):
    with pytest.raises(UserError, match="no results: .*: name the folder of a scale: "):
        verify.main([str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no results"):
        verify.main([str(tmp_path / "empty")])
    with pytest.raises(UserError, match="no results: .*name the folder of one scale"):
        verify.main([str(results.parent)])
    with pytest.raises(UserError, match="no record of tables/other"):
        verify.main([str(results), "tables/other.csv"])
    with pytest.raises(UserError, match="a folder: tables: name a file of these results"):
        verify.main([str(results), "tables"])
    with pytest.raises(UserError, match="not in "):
        verify.main([str(results), "/etc/passwd"])
