"""Reading and writing files: whole or not at all, checked on the way in.

JSON, CSV and Parquet files are written under a temporary name beside their target and renamed when
they are complete, so that a killed job leaves no file that looks finished. On reading, a missing,
truncated or damaged file becomes one line for the user.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.first.errors import FULL, UserError, writing

if TYPE_CHECKING:
    import pandas
    import pyarrow

REMAKE = "delete it and run the step that makes it again"
FLOAT_FORMAT = "%.6f"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path for `path`; rename it to `path` on success, remove it on failure.

    It has the name of `path`, in a `scratch_folder`, and gets the mode that the umask gives to new
    files. OSError that names `path` when the disk is full.
    """
    target = Path(path)
    with writing(target), scratch_folder(target) as folder:
        temporary = folder / target.name
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors writes with mode 0600
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())  # no finished name without its bytes after a crash
        temporary.replace(target)


@contextlib.contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder `.NAME.part` beside `target`, and remove it afterwards.

    The folder above is made when it is missing; UserError when it cannot be made. Every writer of a
    target uses the same name, so that the next one removes what a killed one has left, and two must
    not write at the same time.
    """
    folder = target.with_name(f".{target.name}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(
            f"cannot make the folder: {folder.parent}: {error.strerror}: choose another path"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 with line feeds, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as JSON (indent 2, keys in their given order, final newline), atomically.

    Raises ValueError when a number is NaN or infinite: JSON has no such number, and no result is.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the content of a JSON file; UserError when it is missing, truncated or not JSON."""
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not a complete JSON file: {path}: {error}: {REMAKE}") from None


def read_text(path: str | os.PathLike[str]) -> str:
    """Return a file's text; UserError when it is missing, unreadable or not UTF-8."""
    _require_file(path)
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"damaged text file: {path}: {error}: {REMAKE}") from None
    except OSError as error:
        raise UserError(f"cannot read: {path}: {error.strerror}: check its permissions") from None


def write_csv(path: str | os.PathLike[str], frame: pandas.DataFrame) -> None:
    """Write a data frame as CSV (no index, floats with six decimals, line feeds), atomically."""
    with atomic_path(path) as temporary:
        frame.to_csv(
            temporary, index=False, float_format=FLOAT_FORMAT, lineterminator="\n", encoding="utf-8"
        )


def read_csv(path: str | os.PathLike[str], **options: Any) -> pandas.DataFrame:
    """Return a CSV file as a data frame; `options` go to pandas.read_csv.

    Raises UserError when it is missing or cannot be parsed.
    """
    import pandas

    _require_file(path)
    try:
        return pandas.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"not a readable CSV file: {path}: {error}: {REMAKE}") from None


def write_parquet(path: str | os.PathLike[str], table: pyarrow.Table) -> None:
    """Write an Arrow table as Parquet with a checksum on every page, atomically."""
    import pyarrow.parquet

    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_parquet(path: str | os.PathLike[str], columns: list[str] | None = None) -> pyarrow.Table:
    """Return a Parquet file (or only `columns` of it) as an Arrow table, page checksums verified.

    Raises UserError when the file is missing, truncated, damaged or lacks one of `columns`. The
    footer (schema) has no checksum: compare `sha256_file` with a recorded hash where that matters.
    """
    import pyarrow
    import pyarrow.parquet

    _require_file(path)
    try:
        # Not read_table: it would add columns from folder names like `key=value`.
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            missing = [name for name in columns or [] if name not in file.schema_arrow.names]
            if not missing:
                return file.read(columns=columns)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"damaged Parquet file: {path}: {error}: {REMAKE}") from None
    raise UserError(f"missing column(s) {', '.join(missing)}: {path}: {REMAKE}")


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits; UserError when it cannot be read."""
    _require_file(path)
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read: {path}: {error.strerror}: check its permissions") from None


def describe_files(folder: Path, names: list[str]) -> dict[str, dict]:
    """{name: {bytes, sha256}} of the named files of a folder."""
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        for name in names
    }


def _require_file(path: str | os.PathLike[str]) -> None:
    if not Path(path).is_file():
        raise UserError(f"file not found: {path}: run the step that makes it first")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
