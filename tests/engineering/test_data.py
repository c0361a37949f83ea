"""Stage data: sizes and reports of the real datasets, the command line, all or nothing on disk."""

import json
import os
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from first_distill import files
from first_distill.data import prepare, tables
from first_distill.errors import UserError
from scripts import data
from tests.questions import entry, make_mirror
from tests.system.workflow.copies import REDUCED

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("FIRST_DATA_MIRROR") or ROOT.parent / "shared" / "hub")


# The real datasets -------------------------------------------------------------------------------


@cache
def prepared(dataset: str):
    found = entry(dataset)
    repo = found.get("mirror", found["repo"])
    if not (MIRROR / repo).is_dir():
        pytest.skip(f"no mirror of {repo}: set FIRST_DATA_MIRROR")
    return prepare.load(dataset, found, mirror=MIRROR)


@pytest.mark.parametrize(
    ("dataset", "sizes"),
    [
        ("csqa", {"train": 8766, "validation": 975, "test": 1221}),
        ("boolq", {"train": 8484, "validation": 943, "test": 3270}),
        ("obqa", {"train": 4957, "validation": 500, "test": 500}),
        ("alpaca", {"train": 46801, "validation": 5201}),
    ],
)
def test_sizes_ids_and_schema_of_the_real_datasets(dataset, sizes):
    content, report = prepared(dataset)
    assert {split: table.num_rows for split, table in content.items()} == sizes
    assert {split: part["rows"] for split, part in report["splits"].items()} == sizes
    ids = [name for table in content.values() for name in table["id"].to_pylist()]
    assert len(set(ids)) == sum(sizes.values())
    for split, table in content.items():
        origin = report["splits"][split]["official_split"]
        assert all(name.startswith(f"{origin}/") for name in table["id"].to_pylist())
        assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
        assert table.schema == tables.schema()
    assert set(report["shared_prompts"].values()) == {0}


def test_csqa_report():
    content, report = prepared("csqa")
    reason = "official split test is not used: unlabelled"
    assert report["left_out"] == [{"official_split": "test", "rows": 1140, "reason": reason}]
    assert report["official_ids"] == {"unique": 9741 + 1221, "duplicate": 0}
    answers = report["splits"]["test"]["answers"]
    assert answers["counts"]["b"] == 255
    assert (answers["majority"], answers["chance_share"]) == ("b", 0.2)
    assert round(answers["majority_share"], 3) == 0.209
    first = content["train"].slice(0, 1).to_pylist()[0]
    assert first["prompt"].endswith("(e) avoid\nA: The answer is (")
    assert (first["id"], first["response"]) == ("train/000000", "a).")


def test_boolq_report():
    _, report = prepared("boolq")
    assert report["official_shared_passages"] == {"train and validation": 721}
    assert report["shared_passages"] == {
        "train and validation": 193,
        "train and test": 667,
        "validation and test": 129,
    }
    answers = {split: part["answers"] for split, part in report["splits"].items()}
    yes = answers["train"]["counts"]["Yes"] + answers["validation"]["counts"]["Yes"]
    assert round(100 * yes / 9427, 1) == 62.3
    assert round(100 * answers["test"]["majority_share"], 1) == 62.2
    assert answers["test"]["chance_share"] == 0.5
    assert report["left_out"] == []


def test_obqa_report():
    _, report = prepared("obqa")
    test = report["splits"]["test"]["answers"]
    assert (test["majority"], test["counts"]["A"], test["chance_share"]) == ("A", 138, 0.25)
    assert report["division"] == {"rule": "official splits", "seed": 1234}


def test_alpaca_report():
    content, report = prepared("alpaca")
    assert sum(part["empty_responses"] for part in report["splits"].values()) == 28
    assert all(part["answers"] is None for part in report["splits"].values())
    prompts = [p for table in content.values() for p in table["prompt"].to_pylist()]
    assert sum("\n\n### Input:\n" not in prompt for prompt in prompts) == 31323


def test_the_official_text_column_of_alpaca_is_prompt_and_response():
    content, report = prepared("alpaca")
    (name,) = report["source"]["files"]
    raw = pq.read_table(MIRROR / "tatsu-lab/alpaca" / name)["text"].to_pylist()
    for table in content.values():
        for row in table.to_pylist():
            text = raw[int(row["id"].split("/")[1])]
            assert text.rstrip() == (row["prompt"] + row["response"]).rstrip()


# The command line on a small mirror --------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path):
    make_mirror(tmp_path / "mirror")
    return tmp_path / "mirror"


def words(output_dir: Path, *more: str, **changes) -> list[str]:
    found = json.dumps(entry("csqa", **changes))
    return ["--dataset", "csqa", "--entry", found, "--output-dir", str(output_dir), *more]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_command_line_writes_a_complete_and_reproducible_folder(
    tmp_path, mirror, monkeypatch, capsys
):
    out = tmp_path / "out"
    assert data.main(words(out, "--mirror", str(mirror))) == 0
    assert "csqa: train 36, validation 4, test 10 rows" in capsys.readouterr().out
    first = contents(out)
    assert {*first} == {"report.json", "test.parquet", "train.parquet", "validation.parquet"}
    report = json.loads(first["report.json"])
    for split in report["splits"]:
        described = report["files"][f"{split}.parquet"]
        assert files.sha256_file(out / f"{split}.parquet") == described["sha256"]
    assert files.read_parquet(out / "test.parquet").schema.equals(tables.schema())
    assert str(tmp_path) not in first["report.json"].decode()

    monkeypatch.setenv("FIRST_DATA_MIRROR", str(mirror))
    monkeypatch.chdir(tmp_path)
    data.main(words(Path("other/out")))
    assert contents(tmp_path / "other" / "out") == first


def test_a_failure_while_writing_leaves_no_report(tmp_path, mirror, monkeypatch):
    line = words(tmp_path / "out", "--mirror", str(mirror))
    data.main(line)

    def fail_on_the_second(path, table):
        if path.name == "validation.parquet":
            raise OSError(28, "No space left on device", str(path))
        files.write_parquet(path, table)

    monkeypatch.setattr(prepare, "write_parquet", fail_on_the_second)
    with pytest.raises(OSError, match="No space left"):
        data.main(line)
    assert [*contents(tmp_path / "out")] == ["train.parquet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repo": None}, "no repo and no path: --entry of csqa: name one of them"),
        ({"revision": "main"}, "revision is not pinned"),
        ({"revision": None}, "revision is not pinned"),
    ],
)
def test_keys_that_do_not_fit_together(tmp_path, monkeypatch, changes, message):
    monkeypatch.delenv("FIRST_DATA_MIRROR", raising=False)
    with pytest.raises(UserError, match=message):
        data.main(words(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_share": 5}, "a part without rows: 40 rows of csqa, split train, with"),
        ({"rows": {"test": 0}}, "a subset of 0 rows of csqa, split test: of 10: use a number"),
        ({"repo": "tau/nothing"}, "dataset not in the mirror"),
        ({"name": "main"}, "cannot open the dataset: csqa: .*, configuration main: "),
    ],
)
def test_keys_that_do_not_fit_the_rows(tmp_path, mirror, changes, message):
    with pytest.raises(UserError, match=message):
        data.main(words(tmp_path / "out", "--mirror", str(mirror), **changes))
    assert not (tmp_path / "out").exists()


def test_pretraining_text_has_a_training_split_only(tmp_path):
    scale = yaml.safe_load((REDUCED / "tiny.yaml").read_text())["scales"]["tiny"]
    (tmp_path / "test.parquet").write_bytes(b"of an earlier run")
    line = ["--dataset", "pretraining", "--split-seed", "9", "--output-dir", str(tmp_path)]
    line += ["--world-settings", json.dumps(scale["data"]["world"])]
    data.main([*line, "--entry", json.dumps(entry("pretraining", rows={"train": 6}))])
    assert {*contents(tmp_path)} == {"report.json", "train.parquet"}
    rows = files.read_parquet(tmp_path / "train.parquet").to_pylist()
    assert len(rows) == 6 and rows[5].pop("prompt") and rows[5].pop("response")
    empty = {"candidates": [], "answer": None, "shorten_start": -1, "shorten_end": -1}
    assert rows[5] == {"id": "train/000005", **empty}
