"""Records: sealed, in their place, and in charge of the files beside them."""

import json
import shutil
from pathlib import Path

import pytest

from scripts.first.errors import UserError
from scripts.first.files import sha256_file
from scripts.first.provenance import records
from tests.sealed import reseal


@pytest.fixture
def folder(tmp_path):
    """A prepared dataset below results/."""
    folder = tmp_path / "results/tiny/data/csqa"
    folder.mkdir(parents=True)
    (folder / "test.parquet").write_bytes(b"rows")
    records.write(folder / "report.json", {"rows": 3}, ["test.parquet"])
    return folder


def test_a_record_says_what_and_where(folder):
    content = records.read(folder / "report.json")
    assert content == {
        "rows": 3,
        "files": {"test.parquet": {"bytes": 4, "sha256": sha256_file(folder / "test.parquet")}},
        "made_from": {},
    }
    assert records.unsealed(folder / "report.json")["place"] == "tiny/data/csqa/report.json"
    assert records.verified(folder / "test.parquet") == folder / "test.parquet"


def test_every_bit_counts(folder):
    """No single bit of a record can change unseen: the seal is over its very text."""
    path = folder / "report.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            altered = bytearray(whole)
            altered[place] ^= 1 << bit
            path.write_bytes(altered)
            with pytest.raises(UserError, match="report.json"):
                records.read(path)
    path.write_bytes(whole)
    assert records.read(path)["rows"] == 3


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 200_000, "[]", "3", "null", '"seal"', "\ufeff{}", '{"seal": 1}']
)
def test_what_is_no_record_is_told(folder, text):
    (folder / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="altered or incomplete record|damaged text file"):
        records.read(folder / "report.json")


@pytest.mark.parametrize(
    "content",
    [
        {"files": ["a"]},
        {"files": {"../a": {"bytes": 1, "sha256": ""}}},
        {"files": {"..": {}}},
        {"made_from": ["a"]},
        {"made_from": {"a": 3}},
        {"made_from": {"a\0b": "0"}},
        {"place": 7},
    ],
)
def test_sealed_nonsense_is_told(folder, content):
    """Somebody else's program may seal what this one cannot use."""
    reseal(folder / "report.json", content)
    with pytest.raises(UserError, match="not a record: .*report.json"):
        records.read(folder / "report.json")


@pytest.mark.parametrize("described", [None, 3, {}, {"bytes": "4"}, {"sha256": ["x"]}])
def test_files_that_are_described_by_nonsense(folder, described):
    reseal(folder / "report.json", {"files": {"test.parquet": described}})
    with pytest.raises(UserError, match="(altered|unknown) file: .*test.parquet"):
        records.verified(folder / "test.parquet")


def test_a_record_of_an_earlier_version_is_told(folder):
    (folder / "report.json").write_text('{"rows": 3}')
    with pytest.raises(UserError, match="without a seal, of another version: .*report.json"):
        records.read(folder / "report.json")


def test_a_record_in_anothers_place_is_told(folder):
    other = shutil.copytree(folder, folder.parent / "obqa")
    with pytest.raises(UserError, match="misplaced record: .*obqa.*that of tiny/data/csqa"):
        records.read(other / "report.json")
    with pytest.raises(UserError, match="misplaced record"):
        records.verified(other / "test.parquet")
    outside = shutil.copytree(folder, folder.parents[3] / "mine")  # no place of anybody's
    assert records.read(outside / "report.json")["rows"] == 3


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("results/tiny/data/csqa/report.json", "tiny/data/csqa/report.json"),
        ("/a/results/b/results/tiny/claims.record.json", "tiny/claims.record.json"),
        ("/home/results/mine/table.parquet", None),
        ("/data/csqa/report.json", None),
        ("results", None),
        ("results/tiny", None),
    ],
)
def test_places(path, place):
    assert records.place(path) == place


def test_files_without_a_record(folder, tmp_path):
    """Below results/ each has one; elsewhere it may be the user's own."""
    (folder / "report.json").unlink()
    with pytest.raises(UserError, match="no record beside .*parquet.*--config scale=tiny -R"):
        records.verified(folder / "test.parquet")
    (tmp_path / "mine.parquet").write_bytes(b"rows")
    assert records.verified(tmp_path / "mine.parquet")
    with pytest.raises(UserError, match="not found: .*gone"):
        records.verified(tmp_path / "gone.parquet")


def test_a_file_that_its_record_does_not_name(folder):
    (folder / "train.parquet").write_bytes(b"added by hand")
    with pytest.raises(UserError, match="unknown file: .*train.parquet"):
        records.verified(folder / "train.parquet")


def test_sources_have_names_and_no_machine_paths(folder, tmp_path):
    """By place, by path in the repository, by as much of the name as tells them apart."""
    one, two, claims = (tmp_path / n for n in ("a/m.json", "b/m.json", "results/tiny/claims.json"))
    for path in (one, two, claims):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))
    sources = [one, two, claims, records.ROOT / "config/config.yaml", one]
    records.write(folder / "report.json", {}, made_from=sources)
    made = records.read(folder / "report.json")["made_from"]
    assert list(made) == ["m.json", "b/m.json", "tiny/claims.json", "config/config.yaml"]
    assert made["b/m.json"] == sha256_file(two)
    assert str(tmp_path) not in (folder / "report.json").read_text()


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("results/tiny/models/pairs/alder.json", True),
        ("results/tiny/tables/table1/cells/alder/distill/in_domain-csqa.json", True),
        ("/home/pairs/cells/results/tiny/claims.json", False),
        ("/cells/results/tiny/claims.json", False),
        ("/pairs/first/results/tiny/teacher/alder/csqa/validation.json", False),
        ("results/tiny/claims.record.json", True),
    ],
)
def test_records_by_their_names(path, known):
    """Folders above the results have whatever names their owner likes."""
    assert records.is_record(Path(path)) == known


def test_a_record_that_lists_no_files(folder):
    reseal(folder / "report.json", {})
    with pytest.raises(UserError, match="unknown file: .*test.parquet"):
        records.verified(folder / "test.parquet")


def test_a_record_is_plain_json(folder):
    text = (folder / "report.json").read_text()
    assert list(json.loads(text))[-1] == "seal" and text.endswith("}\n")


def test_made_from_what_is_another_now(folder):
    """A copy from another clone: sealed, in its place, and of sources that are not these."""
    metrics = folder.parents[1] / "evaluation/metrics.json"
    metrics.parent.mkdir()
    records.write(metrics, {"n": 1}, made_from=[folder / "report.json"])
    assert records.read(metrics)["n"] == 1
    records.write(folder / "report.json", {"rows": 4}, ["test.parquet"])
    with pytest.raises(UserError, match="stale record: .*metrics.*version of .*report"):
        records.read(metrics)
    (folder / "report.json").unlink()  # what is gone, its own readers tell
    assert records.read(metrics)["n"] == 1
