"""Records: every bit counts, they keep to their place, and they describe the files beside them."""

import shutil

import pytest

from first_distill.errors import UserError
from first_distill.files import sha256_file
from first_distill.provenance import records
from tests.sealed import reseal


@pytest.fixture
def folder(tmp_path):
    """A prepared dataset below results/."""
    folder = tmp_path / "results/tiny/data/csqa"
    folder.mkdir(parents=True)
    (folder / "test.parquet").write_bytes(b"rows")
    records.write(folder / "report.json", {"rows": 3}, ["test.parquet"])
    return folder


def test_a_record_describes_its_files(folder):
    content = records.read(folder / "report.json")
    assert content == {
        "rows": 3,
        "files": {"test.parquet": {"bytes": 4, "sha256": sha256_file(folder / "test.parquet")}},
        "made_from": {},
    }
    assert records.unsealed(folder / "report.json")["place"] == "tiny/data/csqa/report.json"
    assert records.verified(folder / "test.parquet") == folder / "test.parquet"


def test_every_bit_counts(folder):
    path = folder / "report.json"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 3):  # every byte, every bit of one
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        with pytest.raises(UserError, match=r"report\.json"):
            records.read(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 200_000, "[]", "3", "null", '"seal"', "\ufeff{}", '{"seal": 1}', '{"rows": 3}'],
)
def test_a_file_that_is_not_a_record(folder, text):
    (folder / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="altered or incomplete record|damaged text file"):
        records.read(folder / "report.json")


@pytest.mark.parametrize("changes", [{"files": ["a"]}, {"files": None}, {"provenance": []}])
def test_a_sealed_record_with_malformed_lists(folder, changes):
    """Somebody else's program may write what this one cannot use."""
    reseal(folder / "report.json", **changes)
    with pytest.raises(UserError, match=r"altered or incomplete record: .*report\.json"):
        records.read(folder / "report.json")


@pytest.mark.parametrize(
    "files", [{"test.parquet": said} for said in (None, 3, {}, {"bytes": "4"})] + [{}]
)
def test_a_sealed_record_that_does_not_describe_the_file(folder, files):
    reseal(folder / "report.json", files=files)
    with pytest.raises(UserError, match=r"(altered|unknown) file: .*test\.parquet"):
        records.verified(folder / "test.parquet")


def test_a_record_in_the_place_of_another(folder):
    other = shutil.copytree(folder, folder.parent / "obqa")
    for use, name in ((records.read, "report.json"), (records.verified, "test.parquet")):
        with pytest.raises(UserError, match="misplaced record: .*obqa.*belongs to tiny/data/csqa"):
            use(other / name)
    outside = shutil.copytree(folder, folder.parents[3] / "mine")  # nobody's place
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
    (folder / "train.parquet").write_bytes(b"added by hand")
    with pytest.raises(UserError, match=r"unknown file: .*train\.parquet"):
        records.verified(folder / "train.parquet")
    (folder / "report.json").unlink()
    with pytest.raises(UserError, match="no record beside .*parquet.*--config scale=tiny -R"):
        records.verified(folder / "test.parquet")
    (tmp_path / "mine.parquet").write_bytes(b"rows")
    assert records.verified(tmp_path / "mine.parquet")


def test_the_command_of_a_scale_from_a_users_file():
    assert records.command("tiny") == "snakemake -c2 --config scale=tiny -R"
    assert records.command("mine") == "snakemake -c2 --configfile YOURS.yaml --config scale=mine -R"


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
    ("name", "known"),
    [
        ("models/pairs/alder/csqa.json", True),
        ("tables/table1/cells/alder/distill/in_domain-csqa.json", True),
        ("evaluation/alder/csqa/distill/seed1/metrics.json", True),
        ("teacher/alder/csqa/validation.json", False),
        ("claims.json", False),
        ("claims.record.json", True),
    ],
)
def test_records_by_their_names(name, known):
    assert records.is_record(name) == known
