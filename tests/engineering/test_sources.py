"""Sources say what they are, and every mistake in them is one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.first import world
from scripts.first.data import sources
from scripts.first.errors import UserError
from scripts.first.hub.mirror import CHECKSUMS, DATA_MIRROR, mirror_folder, mirror_given

COMMIT = "94630fe30dad47192a8546eb75f094926d47e155"
CHOICES = {"label": list("ABCDE"), "text": list("vwxyz")}
ROWS = [{"id": f"q{i}", "question": f"why {i}?", "choices": CHOICES} for i in range(30)]
CSQA = {
    "train": [{**row, "question_concept": "x", "answerKey": "B"} for row in ROWS[:20]],
    "validation": [{**row, "question_concept": "x", "answerKey": "C"} for row in ROWS[20:25]],
    "test": [{**row, "question_concept": "x", "answerKey": ""} for row in ROWS[25:]],
}
SETTINGS = {"seed": 3, "size": 4}


def make_mirror(folder: Path, splits: dict, repo: str = "tau/commonsense_qa") -> Path:
    data = folder / repo / "data"
    data.mkdir(parents=True)
    for split, rows in splits.items():
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, data / f"{split}-00000-of-00001.parquet")
    return folder


def one_line(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_mirror_option_wins_over_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_MIRROR, str(tmp_path))
    assert mirror_folder(None, DATA_MIRROR) == tmp_path
    (tmp_path / "b").mkdir()
    assert mirror_folder(tmp_path / "b", DATA_MIRROR) == tmp_path / "b"
    with pytest.raises(UserError, match="mirror not found: .*nowhere"):
        mirror_folder(tmp_path / "nowhere", DATA_MIRROR)


@pytest.mark.parametrize("value", [None, ""])
def test_no_mirror(monkeypatch, value):
    monkeypatch.delenv(DATA_MIRROR, raising=False)
    if value is not None:
        monkeypatch.setenv(DATA_MIRROR, value)
    assert not mirror_given(None, DATA_MIRROR)
    with pytest.raises(UserError, match="set --mirror or FIRST_DATA_MIRROR"):
        mirror_folder(None, DATA_MIRROR)


def test_mirror_rows_and_identity_without_any_local_path(tmp_path):
    make_mirror(tmp_path, CSQA)
    found = sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa", revision=COMMIT)
    assert {split: len(rows) for split, rows in found.splits.items()} == {
        "train": 20,
        "validation": 5,
        "test": 5,
    }
    row = dict(CSQA["train"][3])
    del row["question_concept"]
    assert found.splits["train"][3] == row
    assert found.identity["kind"] == "mirror"
    assert found.identity["mirrored_revision"] == COMMIT
    assert sorted(found.identity["files"]) == [
        f"data/{split}-00000-of-00001.parquet" for split in ("test", "train", "validation")
    ]
    assert str(tmp_path) not in str(found.identity)


def test_a_changed_mirror_is_seen_at_once(tmp_path, monkeypatch):
    """No cached copy may stand in for the files: a local folder has no revision to tell them."""
    import datasets

    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    make_mirror(tmp_path, CSQA)
    before = sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa")
    shutil.rmtree(tmp_path / "tau")
    changed = [{**row, "answerKey": "E"} for row in CSQA["train"]]
    make_mirror(tmp_path, {**CSQA, "train": changed})
    after = sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa")
    assert not cache.exists()
    assert {row["answerKey"] for row in after.splits["train"]} == {"E"}
    assert before.identity["files"] != after.identity["files"]
    assert sources.rows_sha256(before.splits["train"]) != sources.rows_sha256(after.splits["train"])


def test_a_mirror_of_links_and_a_relative_name(tmp_path, monkeypatch):
    make_mirror(tmp_path / "blobs", CSQA)
    links = tmp_path / "mirror" / "tau" / "commonsense_qa" / "data"
    links.mkdir(parents=True)
    for path in (tmp_path / "blobs").rglob("*.parquet"):
        (links / path.name).symlink_to(path)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    found = sources.from_mirror("csqa", Path("../mirror"), "tau/commonsense_qa")
    assert "data/train-00000-of-00001.parquet" in found.identity["files"]


def test_mirror_without_the_dataset(tmp_path):
    with pytest.raises(UserError) as caught:
        sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa")
    assert "dataset not in the mirror" in one_line(caught)


def test_mirror_without_files(tmp_path):
    (tmp_path / "tau" / "commonsense_qa").mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa")
    assert "cannot open the dataset" in one_line(caught)


def test_unknown_configuration(tmp_path):
    make_mirror(tmp_path, CSQA)
    (tmp_path / "tau/commonsense_qa/README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n"
        "    path: data/train-*\n---\n"
    )
    with pytest.raises(UserError) as caught:
        sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa", name="other")
    assert "'other' not found. Available: ['main']" in one_line(caught)


def test_mirror_column_missing(tmp_path):
    make_mirror(tmp_path, {"train": [{"id": "a", "question": "b"}]})
    with pytest.raises(UserError) as caught:
        sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa")
    text = one_line(caught)
    assert text.startswith("no column choices, answerKey: csqa: ")
    assert "split train" in text


def test_mirror_file_truncated(tmp_path):
    make_mirror(tmp_path, CSQA)
    path = tmp_path / "tau/commonsense_qa/data/train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError) as caught:
        sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa")
    assert "cannot read the dataset" in one_line(caught)


def test_mirror_checksums_are_compared(tmp_path):
    make_mirror(tmp_path, CSQA)
    name = "tau/commonsense_qa/data/train-00000-of-00001.parquet"
    digest = sources.sha256_file(tmp_path / name)
    sums = tmp_path / CHECKSUMS
    sums.write_text(f"{digest}  ./{name}\n\n")
    sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa")
    sums.write_text(f"{digest[::-1]}  ./{name}\n")
    with pytest.raises(UserError) as caught:
        sources.from_mirror("csqa", tmp_path, "tau/commonsense_qa")
    assert "checksum differs from SHA256SUMS" in one_line(caught)


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:12], COMMIT.upper()])
def test_hub_refuses_a_revision_that_moves(revision):
    with pytest.raises(UserError, match="revision is not pinned"):
        sources.from_hub("csqa", "tau/commonsense_qa", revision)


@pytest.fixture
def tiny(monkeypatch):
    """A stand-in for the generated world, which has tests of its own."""

    def build(settings):
        if settings["size"] < 1:
            raise ValueError("size: 0: must be positive")
        return SimpleNamespace(n=settings["size"])

    def render(built, dataset):
        row = {"question": "is it", "passage": "It is.", "answer": True, "text": "not needed"}
        return {"train": [row] * built.n, "validation": [row]}

    def text(built, n, seed):
        return [(f"memo {seed} {i} (", "a).") for i in range(n)]

    monkeypatch.setattr(world, "build_world", build)
    monkeypatch.setattr(world, "render", render)
    monkeypatch.setattr(world, "pretraining_rows", text)


@pytest.mark.usefixtures("tiny")
def test_world_rows_have_the_columns_of_the_official_ones():
    found = sources.from_world("boolq", SETTINGS)
    assert {split: len(rows) for split, rows in found.splits.items()} == {
        "train": 4,
        "validation": 1,
    }
    assert all(tuple(row) == sources.COLUMNS["boolq"] for row in found.splits["train"])
    assert found.identity == {"kind": "world", "settings": SETTINGS}


@pytest.mark.usefixtures("tiny")
def test_world_pretraining_text_depends_on_size_and_seed():
    found = sources.from_world("pretraining", SETTINGS, rows=12, seed=5)
    assert list(found.splits) == ["train"]
    assert len(found.splits["train"]) == 12
    assert found.splits["train"][1] == {"prompt": "memo 5 1 (", "response": "a)."}
    assert (found.identity["rows"], found.identity["seed"]) == (12, 5)
    with pytest.raises(UserError, match="set --max-train-rows"):
        sources.from_world("pretraining", SETTINGS)


@pytest.mark.usefixtures("tiny")
def test_world_settings_that_make_no_world():
    with pytest.raises(UserError, match="world settings: boolq: no 'size': add it"):
        sources.from_world("boolq", {"seed": 3})
    with pytest.raises(UserError, match="world settings: boolq: size: 0: must be positive"):
        sources.from_world("boolq", {"size": 0})
    with pytest.raises(UserError, match="world settings: boolq: "):
        sources.from_world("boolq", {"size": "four"})


@pytest.mark.usefixtures("tiny")
def test_world_with_a_column_missing(monkeypatch):
    monkeypatch.setattr(world, "render", lambda *_: {"train": [{"question": "x"}]})
    with pytest.raises(UserError, match="no column passage, answer: boolq: world, split train"):
        sources.from_world("boolq", SETTINGS)


def test_world_settings_are_one_json_object():
    assert sources.world_settings('{"seed": 1}') == {"seed": 1}
    for text in ("{", "[1]"):
        with pytest.raises(UserError, match="pass one JSON object"):
            sources.world_settings(text)


def test_rows_hash_ignores_the_order_of_columns_only():
    rows = [{"a": 1, "b": {"x": 2, "y": 3}}, {"a": 2, "b": None}]
    moved = [{"b": {"y": 3, "x": 2}, "a": 1}, {"b": None, "a": 2}]
    assert sources.rows_sha256(rows) == sources.rows_sha256(moved)
    assert sources.rows_sha256(rows) != sources.rows_sha256(rows[::-1])


def test_no_room_for_the_loaders_copy_is_no_fault_of_the_files(tmp_path):
    """A limit of a file's size refuses the copy as a full disk does."""
    make_mirror(tmp_path, CSQA)
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "from pathlib import Path; from scripts.first import sources\n"
        f"sources.from_mirror('csqa', Path({str(tmp_path)!r}), 'tau/commonsense_qa')"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    line = [sys.executable, "-c", code]
    process = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert f"OSError: [Errno 27] File too large: '{tempfile.gettempdir()}" in process.stderr
