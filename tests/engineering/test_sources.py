"""Sources: the rows, their identity, and mistakes as one line."""

import shutil
from pathlib import Path

import pytest
import yaml

from first_distill.data import sources
from first_distill.errors import UserError
from first_distill.hub.mirror import CHECKSUMS
from tests.questions import REPO, entry, make_mirror, question
from tests.system.workflow.copies import REDUCED

COMMIT = "94630fe30dad47192a8546eb75f094926d47e155"
WORLD = yaml.safe_load((REDUCED / "tiny.yaml").read_text())["scales"]["tiny"]["data"]["world"]


def read(mirror: Path, **changes):
    return sources.from_repository("csqa", entry("csqa", **changes), mirror)


def test_mirror_rows_and_identity_without_any_local_path(tmp_path):
    make_mirror(tmp_path)
    found = read(tmp_path, revision=COMMIT)
    sizes = {split: len(rows) for split, rows in found.splits.items()}
    assert sizes == {"train": 40, "validation": 10} and found.unused == {"test": (5, 0)}
    row = question(3)
    del row["question_concept"]
    assert found.splits["train"][3] == row
    assert found.identity["kind"] == "mirror"
    assert found.identity["mirrored_revision"] == COMMIT
    assert [*found.identity["files"]] == [
        f"data/{split}-00000-of-00001.parquet" for split in ("train", "validation")
    ]
    assert str(tmp_path) not in str(found.identity)


def test_a_changed_mirror_is_read_anew(tmp_path, monkeypatch):
    """No cached copy may replace the files: a local folder has no revision."""
    import datasets

    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    make_mirror(tmp_path)
    before = read(tmp_path)
    shutil.rmtree(tmp_path / "tau")
    make_mirror(tmp_path, {"train": [question(i, "E") for i in range(40)]})
    after = read(tmp_path)
    assert not cache.exists()
    assert {row["answerKey"] for row in after.splits["train"]} == {"E"}
    assert before.identity["files"] != after.identity["files"]
    assert sources.rows_sha256(before.splits["train"]) != sources.rows_sha256(after.splits["train"])


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


def test_world_rows_have_the_columns_of_the_official_ones():
    found = sources.from_world("boolq", entry("boolq"), WORLD)
    sizes = {split: len(rows) for split, rows in found.splits.items()}
    assert sizes == WORLD["sizes"]["boolq"]
    assert all({*row} == {"question", "passage", "answer"} for row in found.splits["train"])
    assert found.identity == {"kind": "world", "settings": WORLD}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3, "entities": None}, ""),
        ({"train_pairs": 0}, "train_pairs, test_pairs: 0, 100: must"),
    ],
)
def test_world_settings_that_make_no_world(change, message):
    with pytest.raises(UserError, match=f"world settings: boolq: {message}"):
        sources.from_world("boolq", entry("boolq"), {**WORLD, **change})


def test_a_dataset_that_no_world_generates():
    message = "the scale generates its data: movie: data.world has .*boolq.*: use a scale without"
    with pytest.raises(UserError, match=message):
        sources.from_world("movie", entry("movie"), WORLD)
