"""Sources: the rows, their identity, and mistakes as one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.first import world
from scripts.first.data import sources
from scripts.first.errors import UserError
from scripts.first.hub.mirror import CHECKSUMS, given_mirror, mirrored

COMMIT = "94630fe30dad47192a8546eb75f094926d47e155"
REPO = "tau/commonsense_qa"
CHOICES = {"label": list("ABCDE"), "text": list("vwxyz")}
ROWS = [{"id": f"q{i}", "question": f"why {i}?", "choices": CHOICES} for i in range(30)]
CSQA = {
    "train": [{**row, "question_concept": "x", "answerKey": "B"} for row in ROWS[:20]],
    "validation": [{**row, "question_concept": "x", "answerKey": "C"} for row in ROWS[20:25]],
    "test": [{**row, "question_concept": "x", "answerKey": ""} for row in ROWS[25:]],
}
SETTINGS = {"seed": 3, "size": 4}


def make_mirror(folder: Path, splits: dict = CSQA) -> Path:
    data = folder / REPO / "data"
    data.mkdir(parents=True)
    for split, rows in splits.items():
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, data / f"{split}-00000-of-00001.parquet")
    return folder


def read(mirror: Path, **options):
    return sources.from_repository("csqa", REPO, mirror=mirror, **options)


def test_mirror_option_wins_over_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRST_DATA_MIRROR", str(tmp_path))
    assert given_mirror("dataset") == tmp_path
    assert given_mirror("dataset", tmp_path / "b") == tmp_path / "b"
    with pytest.raises(UserError, match="dataset not in the mirror: .*/b/tau/commonsense_qa"):
        mirrored("dataset", tmp_path / "b", REPO)
    monkeypatch.setenv("FIRST_DATA_MIRROR", "")
    assert given_mirror("dataset") is None


def test_mirror_rows_and_identity_without_any_local_path(tmp_path):
    found = read(make_mirror(tmp_path), revision=COMMIT)
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
    assert [*found.identity["files"]] == [
        f"data/{split}-00000-of-00001.parquet" for split in ("test", "train", "validation")
    ]
    assert str(tmp_path) not in str(found.identity)


def test_a_changed_mirror_is_read_anew(tmp_path, monkeypatch):
    """No cached copy may replace the files: a local folder has no revision."""
    import datasets

    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    before = read(make_mirror(tmp_path))
    shutil.rmtree(tmp_path / "tau")
    changed = [{**row, "answerKey": "E"} for row in CSQA["train"]]
    after = read(make_mirror(tmp_path, {**CSQA, "train": changed}))
    assert not cache.exists()
    assert {row["answerKey"] for row in after.splits["train"]} == {"E"}
    assert before.identity["files"] != after.identity["files"]
    assert sources.rows_sha256(before.splits["train"]) != sources.rows_sha256(after.splits["train"])


def test_a_mirror_of_links_and_a_relative_name(tmp_path, monkeypatch):
    make_mirror(tmp_path / "blobs")
    links = tmp_path / "mirror" / REPO / "data"
    links.mkdir(parents=True)
    for path in (tmp_path / "blobs").rglob("*.parquet"):
        (links / path.name).symlink_to(path)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert "data/train-00000-of-00001.parquet" in read(Path("../mirror")).identity["files"]


def test_mirror_without_files(tmp_path):
    (tmp_path / REPO).mkdir(parents=True)
    with pytest.raises(UserError, match="cannot open the dataset: csqa: "):
        read(tmp_path)


def test_unknown_configuration(tmp_path):
    make_mirror(tmp_path)
    (tmp_path / REPO / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n"
        "    path: data/train-*\n---\n"
    )
    with pytest.raises(UserError, match=r"'other' not found. Available: \['main'\]") as caught:
        read(tmp_path, name="other")
    assert "\n" not in str(caught.value)


def test_mirror_checksums_are_compared(tmp_path):
    make_mirror(tmp_path)
    name = f"{REPO}/data/train-00000-of-00001.parquet"
    digest = sources.sha256_file(tmp_path / name)
    sums = tmp_path / CHECKSUMS
    sums.write_text(f"{digest}  ./{name}\n\n")
    read(tmp_path)
    sums.write_text(f"{digest[::-1]}  ./{name}\n")
    with pytest.raises(UserError, match=f"checksum differs from .*{CHECKSUMS}: {name}"):
        read(tmp_path)


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
@pytest.mark.parametrize(
    ("settings", "message"),
    [({"seed": 3}, "no 'size': add it"), ({"size": 0}, "size: 0: must"), ({"size": "four"}, "")],
)
def test_world_settings_that_make_no_world(settings, message):
    with pytest.raises(UserError, match=f"world settings: boolq: {message}"):
        sources.from_world("boolq", settings)


def test_rows_hash_ignores_the_order_of_columns_only():
    rows = [{"a": 1, "b": {"x": 2, "y": 3}}, {"a": 2, "b": None}]
    moved = [{"b": {"y": 3, "x": 2}, "a": 1}, {"b": None, "a": 2}]
    assert sources.rows_sha256(rows) == sources.rows_sha256(moved)
    assert sources.rows_sha256(rows) != sources.rows_sha256(rows[::-1])
