"""Extraction in N parts: the bytes of one job, or one line that names the part that is wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from first_distill.errors import UserError
from first_distill.files import sha256_file
from first_distill.knowledge.extraction import batches_of, parse_part
from first_distill.knowledge.store import FILE, MANIFEST
from scripts import knowledge
from tests import tiny_models as tiny
from tests.sealed import reseal

ROWS = tiny.choice_rows(17)
ENCODED = tiny.encode(ROWS)
MAX_TOKENS = 200
BATCHES = len(batches_of(ENCODED, MAX_TOKENS))  # more than 3, fewer than 11


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The table, the store of one job, and a function that makes parts."""
    folder = tmp_path_factory.mktemp("parts")
    tiny.write_table(folder / "train.parquet", ROWS)
    run(folder, folder / "whole")
    return folder


def run(root: Path, output: Path, *extra) -> Path:
    knowledge.main(
        ["--model", str(tiny.checkpoint("teacher", 7)), "--k", "8"]
        + ["--data", str(root / "train.parquet"), "--block-length", "400"]
        + ["--max-tokens", str(MAX_TOKENS), "--output-dir", str(output), *map(str, extra)]
    )
    return output


def make_parts(root: Path, n: int) -> list[Path]:
    """Folders of all n parts, made once for all tests that ask for the same."""
    folder = root / f"parts-{n}"
    names = [f"{i}-of-{n}" for i in range(1, n + 1)]
    if not folder.exists():
        for name in names:
            run(root, folder / name, "--part", name)
    return [folder / name for name in names]


@pytest.fixture
def parts(root, tmp_path):
    """A copy of three parts, to be spoilt."""
    return [shutil.copytree(part, tmp_path / part.name) for part in make_parts(root, 3)]


def refused(root, tmp_path, folders) -> str:
    with pytest.raises(UserError) as caught:
        run(root, tmp_path / "merged", "--merge", *folders)
    assert not (tmp_path / "merged").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("n", [1, 3, 11])
def test_merged_parts_are_the_bytes_of_one_job(root, tmp_path, n):
    parts = make_parts(root, n)
    merged = run(root, tmp_path / "merged", "--merge", *reversed(parts))  # in any order
    for name in (FILE, MANIFEST):
        assert (merged / name).read_bytes() == (root / "whole" / name).read_bytes()
    sizes = [len(load_file(part / FILE)["row_hashes"]) for part in parts]
    assert sum(sizes) == len(ROWS)
    assert (min(sizes) == 0) == (n > BATCHES)


def test_shares_are_balanced_by_padded_tokens():
    """No two parts differ by more than one batch, also where batches differ in size."""
    rows = tiny.yes_no_rows(60, words=90)
    encoded = tiny.encode(rows)

    def tokens(batch) -> int:
        return len(batch) * max(len(encoded[row].input_ids) for row in batch)

    largest = max(map(tokens, batches_of(encoded, 300)))
    loads = [sum(map(tokens, batches_of(encoded, 300, (i, 4)))) for i in range(1, 5)]
    assert max(loads) - min(loads) <= largest < 0.2 * min(loads)


@pytest.mark.parametrize("text", ["0-of-3", "4-of-3", "1/3", ""])
def test_bad_part_names(text):
    with pytest.raises(UserError, match="--part"):
        parse_part(text)
    assert parse_part("2-of-3") == (2, 3)


@pytest.mark.parametrize("chosen", [(0, 1, 1), (0, 1), (0, 1, 2, 2)])
def test_parts_that_overlap_or_leave_out(root, tmp_path, parts, chosen):
    line = refused(root, tmp_path, [parts[i] for i in chosen])
    assert "wrong or repeated part" in line
    assert str(parts[chosen[-1]] if len(chosen) == 3 else parts[0]) in line


def test_a_whole_store_is_no_part(root, tmp_path, parts):
    assert "it is a whole store" in refused(root, tmp_path, [root / "whole", *parts[1:]])


@pytest.mark.parametrize(
    "key, value, named",
    [
        ("k", 9, "k"),
        ("device", "another GPU", "device"),
        ("corpus", "0" * 64, "corpus"),
        ("provenance", {"code": "0" * 16}, "provenance.code"),
    ],
)
def test_a_part_of_other_facts(root, tmp_path, parts, key, value, named):
    path = parts[1] / MANIFEST
    reseal(path, **{key: value})
    line = refused(root, tmp_path, parts)
    assert f"{parts[1]}: it differs in {named}" in line and "delete it" in line


def test_a_part_that_holds_other_rows_than_it_says(root, tmp_path, parts):
    """Hash and facts agree, the rows do not."""
    arrays = load_file(parts[0] / FILE)
    arrays["row_hashes"] = np.roll(arrays["row_hashes"], 1, axis=0)
    save_file(arrays, parts[0] / FILE)
    manifest = json.loads((parts[0] / MANIFEST).read_text())
    manifest["files"][FILE]["sha256"] = sha256_file(parts[0] / FILE)
    reseal(parts[0] / MANIFEST, manifest)
    assert f"{parts[0]}: it differs in rows" in refused(root, tmp_path, parts)
