"""Stage data: sizes and reports of the real datasets, and all or nothing on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts import data
from scripts.first import files
from scripts.first.data import sources
from scripts.first.data import tables as uniform
from scripts.first.data.prompts import Row
from scripts.first.errors import UserError
from scripts.first.hub.mirror import DATA_MIRROR

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get(DATA_MIRROR) or ROOT.parent / "shared" / "hub")
REPOS = {
    "csqa": ("tau/commonsense_qa", None),
    "boolq": ("google/boolq", None),
    "obqa": ("allenai/openbookqa", "main"),
    "alpaca": ("tatsu-lab/alpaca", None),
}


# The real datasets -------------------------------------------------------------------------------


@cache
def prepared(dataset: str):
    repo, name = REPOS[dataset]
    if not (MIRROR / repo).is_dir():
        pytest.skip(f"no mirror of {repo}: set {DATA_MIRROR}")
    return uniform.build(dataset, sources.from_mirror(dataset, MIRROR, repo, name))


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
    tables, report = prepared(dataset)
    assert {split: table.num_rows for split, table in tables.items()} == sizes
    assert {split: part["rows"] for split, part in report["splits"].items()} == sizes
    ids = [name for table in tables.values() for name in table["id"].to_pylist()]
    assert len(set(ids)) == sum(sizes.values())
    for split, table in tables.items():
        origin = report["splits"][split]["official_split"]
        assert all(name.startswith(f"{origin}/") for name in table["id"].to_pylist())
        assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
        assert table.schema == uniform.schema()
    assert set(report["shared_prompts"].values()) == {0}


def test_csqa_report():
    tables, report = prepared("csqa")
    assert report["left_out"] == [
        {
            "official_split": "test",
            "rows": 1140,
            "reason": "official split test is not used: unlabelled",
        }
    ]
    assert report["official_ids"] == {"unique": 9741 + 1221 + 1140, "duplicate": 0}
    answers = report["splits"]["test"]["answers"]
    assert answers["counts"]["b"] == 255
    assert (answers["majority"], answers["chance_share"]) == ("b", 0.2)
    assert round(answers["majority_share"], 3) == 0.209
    first = tables["train"].slice(0, 1).to_pylist()[0]
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
    parts = report["splits"]
    yes = (
        parts["train"]["answers"]["counts"]["Yes"] + parts["validation"]["answers"]["counts"]["Yes"]
    )
    assert round(100 * yes / 9427, 1) == 62.3
    assert round(100 * parts["test"]["answers"]["majority_share"], 1) == 62.2
    assert parts["test"]["answers"]["chance_share"] == 0.5
    assert report["left_out"] == []


def test_boolq_passages_are_what_may_be_shortened():
    tables, _ = prepared("boolq")
    raw = sources.from_mirror("boolq", MIRROR, "google/boolq").splits["validation"]
    for row, official in zip(tables["test"].to_pylist(), raw, strict=True):
        assert row["prompt"][row["shorten_start"] : row["shorten_end"]] == official["passage"]


def test_obqa_report():
    _, report = prepared("obqa")
    test = report["splits"]["test"]["answers"]
    assert (test["majority"], test["counts"]["A"], test["chance_share"]) == ("A", 138, 0.25)
    assert report["division"]["rule"] == "official splits"
    assert report["letters"] == "upper"


def test_alpaca_report():
    tables, report = prepared("alpaca")
    assert sum(part["empty_responses"] for part in report["splits"].values()) == 28
    assert all(part["answers"] is None for part in report["splits"].values())
    assert "test" not in tables
    prompts = [p for table in tables.values() for p in table["prompt"].to_pylist()]
    assert sum("\n\n### Input:\n" not in prompt for prompt in prompts) == 31323


def test_the_official_text_column_of_alpaca_is_prompt_and_response():
    _, report = prepared("alpaca")
    (name,) = report["source"]["files"]
    raw = pq.read_table(MIRROR / "tatsu-lab/alpaca" / name)["text"].to_pylist()
    for table in prepared("alpaca")[0].values():
        for row in table.to_pylist():
            text = raw[int(row["id"].split("/")[1])]
            assert text.rstrip() == (row["prompt"] + row["response"]).rstrip()


# The command line on a small mirror --------------------------------------------------------------


def question(i: int, key: str) -> dict:
    choices = {"label": list("ABCDE"), "text": list("vwxyz")}
    return {"id": f"q{i}", "question": f"why {i}?", "choices": choices, "answerKey": key}


SMALL = {
    "train": [question(i, "B") for i in range(40)],
    "validation": [question(i, "C") for i in range(40, 50)],
    "test": [question(i, "") for i in range(50, 55)],
}


def make_mirror(folder: Path) -> Path:
    target = folder / "mirror" / "tau" / "commonsense_qa" / "data"
    target.mkdir(parents=True)
    for split, rows in SMALL.items():
        pq.write_table(pa.Table.from_pylist(rows), target / f"{split}-00000-of-00001.parquet")
    return folder / "mirror"


def arguments(folder: Path, *more: str) -> list[str]:
    words = ["prepare", "--dataset", "csqa", "--source-kind", "mirror"]
    words += ["--repo", "tau/commonsense_qa", "--output-dir", str(folder / "out")]
    return [*words, *more]


def test_command_line_writes_a_complete_and_reproducible_folder(tmp_path, monkeypatch, capsys):
    mirror = make_mirror(tmp_path)
    out = tmp_path / "out"
    assert data.main(arguments(tmp_path, "--mirror", str(mirror))) == 0
    assert "csqa: train 36, validation 4, test 10 rows" in capsys.readouterr().out
    names = ["report.json", "test.parquet", "train.parquet", "validation.parquet"]
    assert sorted(path.name for path in out.iterdir()) == names
    report = files.read_json(out / "report.json")
    for split in report["splits"]:
        described = report["files"][f"{split}.parquet"]
        assert files.sha256_file(out / f"{split}.parquet") == described["sha256"]
    assert files.read_parquet(out / "test.parquet").schema.equals(uniform.schema())
    assert str(tmp_path) not in (out / "report.json").read_text()

    first = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setenv(DATA_MIRROR, str(mirror))
    monkeypatch.chdir(tmp_path)
    data.main(["prepare", *arguments(Path())[1:4], "hub", *arguments(Path("other"))[5:]])
    again = {path.name: path.read_bytes() for path in (tmp_path / "other" / "out").iterdir()}
    assert again == first


def test_a_failure_while_writing_leaves_no_report(tmp_path, monkeypatch):
    mirror = make_mirror(tmp_path)
    words = arguments(tmp_path, "--mirror", str(mirror))
    data.main(words)
    written = []

    def fail_on_the_second(path, table):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(path))
        files.write_parquet(path, table)

    monkeypatch.setattr(data, "write_parquet", fail_on_the_second)
    with pytest.raises(OSError, match="No space left"):
        data.main(words)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.parquet"]


def test_bad_data_leaves_an_earlier_result_alone(tmp_path):
    mirror = make_mirror(tmp_path)
    words = arguments(tmp_path, "--mirror", str(mirror))
    data.main(words)
    before = (tmp_path / "out" / "report.json").read_bytes()
    with pytest.raises(UserError):
        data.main([*words, "--max-train-rows", "1000"])
    assert (tmp_path / "out" / "report.json").read_bytes() == before


def test_an_earlier_test_set_does_not_stay_behind(tmp_path):
    (tmp_path / "test.parquet").write_bytes(b"old")
    tables = {"train": uniform.table(["train/000000"], [Row("p", "r")])}
    data.write(tmp_path, tables, {"splits": {"train": {}}})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "train.parquet"]


def test_user_errors_are_one_line_and_status_2(tmp_path):
    command = [sys.executable, "-m", "scripts.data", *arguments(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if k != DATA_MIRROR}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: no mirror given: set --mirror or FIRST_DATA_MIRROR: name a folder in hub layout\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "csqa", "--source-kind", "hub"], "no --repo"),
        (["--dataset", "csqa", "--source-kind", "world"], "no --world-settings"),
        (["--dataset", "pretraining", "--source-kind", "hub"], "only the world makes it"),
        (["--dataset", "csqa", "--source-kind", "hub", "--repo", "a/b"], "revision is not pinned"),
    ],
)
def test_options_that_do_not_fit_together(tmp_path, monkeypatch, words, message):
    monkeypatch.delenv(DATA_MIRROR, raising=False)
    with pytest.raises(UserError, match=message):
        data.main(["prepare", *words, "--output-dir", str(tmp_path)])


def test_pretraining_text_has_a_training_split_only(tmp_path, monkeypatch):
    from scripts.first import world

    monkeypatch.setattr(world, "build_world", lambda settings: settings)
    monkeypatch.setattr(
        world, "pretraining_rows", lambda _, n, seed: [(f"{seed} {i} (", "a).") for i in range(n)]
    )
    words = ["prepare", "--dataset", "pretraining", "--source-kind", "world"]
    words += ["--world-settings", json.dumps({"seed": 1}), "--max-train-rows", "6"]
    data.main([*words, "--split-seed", "9", "--output-dir", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "train.parquet"]
    rows = files.read_parquet(tmp_path / "train.parquet").to_pylist()
    assert [row["prompt"] for row in rows] == [f"9 {i} (" for i in range(6)]
    assert rows[5] == {
        "id": "train/000005",
        "prompt": "9 5 (",
        "response": "a).",
        "candidates": [],
        "answer": None,
        "shorten_start": -1,
        "shorten_end": -1,
    }


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as caught:
        data.main(["prepare", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ("--mirror", "--revision", "--max-train-rows", "--world-settings"):
        assert option in text
