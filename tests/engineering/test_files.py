"""Files are whole or absent, and damage is noticed on the way in."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from first_distill import files
from first_distill.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_path_makes_the_folder_and_keeps_the_suffix(tmp_path):
    target = tmp_path / "a" / "b" / "figure.pdf"
    with files.atomic_path(target) as temporary:
        assert temporary.relative_to(target.parent).parts == (".figure.pdf.part", "figure.pdf")
        temporary.write_text("x")
        assert not target.exists()
    assert names(target.parent) == ["figure.pdf"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    target = tmp_path / "x.json"
    files.write_json(target, {"a": 1})
    with pytest.raises(failure), files.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise failure
    assert files.read_json(target) == {"a": 1}
    assert names(tmp_path) == ["x.json"]


def test_what_a_killed_writer_leaves_is_removed_by_the_next(tmp_path):
    """And until then nothing looks finished; safetensors has temporary files of its own."""
    code = (
        "import sys, time\n"
        "from first_distill.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.with_name('.tmp123').write_text('of a library')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "train.parquet")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [".train.parquet.part"]
    files.write_text(tmp_path / "train.parquet", "whole")
    assert names(tmp_path) == ["train.parquet"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_mode_of_the_umask(tmp_path, umask, table):
    """Whatever writes them: safetensors makes files that only their owner reads."""
    from safetensors.numpy import save_file

    old = os.umask(umask)
    try:
        files.write_json(tmp_path / "x.json", {})
        files.write_csv(tmp_path / "x.csv", pd.DataFrame({"n": [1]}), "%.6f")
        files.write_parquet(tmp_path / "x.parquet", table)
        with files.atomic_path(tmp_path / "x.safetensors") as temporary:
            save_file({"a": np.zeros(3)}, str(temporary))
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}


def test_json_keeps_order_and_floats_and_ends_in_a_newline(tmp_path):
    path = tmp_path / "x.json"
    content = {"b": 0.1 + 0.2, "a": ["ü", None]}
    files.write_json(path, content)
    assert path.read_bytes() == (
        b'{\n  "b": 0.30000000000000004,\n  "a": [\n    "\xc3\xbc",\n    null\n  ]\n}\n'
    )
    assert files.read_json(path) == content


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_nan_and_infinity(tmp_path, number):
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(tmp_path / "x.json", {"ece": number})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", b"[" * 200_000])
def test_broken_json_is_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=r"\A[^\n]*x\.json[^\n]*\Z"):
        files.read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    "read", [files.read_json, files.read_parquet, files.read_csv, files.sha256_file]
)
def test_missing_files_are_one_line(tmp_path, read):
    with pytest.raises(UserError, match="file not found: .*absent"):
        read(tmp_path / "absent")


def test_csv_is_written_with_the_decimals_asked_for(tmp_path):
    path = tmp_path / "x.csv"
    files.write_csv(path, pd.DataFrame({"c": [0.1, 1 / 3], "n": [1, 2]}), "%.6f")
    assert path.read_bytes() == b"c,n\n0.100000,1\n0.333333,2\n"
    assert files.read_csv(path)["n"].tolist() == [1, 2]
    described = {"bytes": 26, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert files.describe_files(tmp_path, ["x.csv"]) == {"x.csv": described}
    path.write_text("")
    with pytest.raises(UserError, match="damaged CSV file"):
        files.read_csv(path)


@pytest.fixture
def table():
    texts = [f"question {i * i}" for i in range(500)]
    return pa.table({"id": [f"train/{i:06d}" for i in range(500)], "prompt": texts})


def test_parquet_round_trip_is_exact_and_reproducible(tmp_path, table):
    first, second = tmp_path / "a=1" / "x.parquet", tmp_path / "y.parquet"
    for path in (first, second):
        files.write_parquet(path, table)
    assert files.read_parquet(first).equals(table)
    assert first.read_bytes() == second.read_bytes()
    assert files.read_parquet(second, ["prompt"]).column_names == ["prompt"]
    with pytest.raises(UserError, match=r"missing column\(s\) answer: .*y\.parquet"):
        files.read_parquet(second, ["id", "answer"])


def test_damaged_parquet_never_changes_a_value(tmp_path, table):
    """Cut short, or with a flipped bit in the pages: noticed, or read as it was."""
    path = tmp_path / "x.parquet"
    files.write_parquet(path, table)
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="damaged Parquet file"):
            files.read_parquet(path)
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # the footer follows
    noticed = 0
    positions = range(4, pages, max(1, pages // 200))
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            assert files.read_parquet(path).equals(table)
        except UserError:
            noticed += 1
    assert noticed > 0.8 * len(positions)
