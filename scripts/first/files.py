"""Every file of the project is read and written here: whole or not at all, checked on the way in.

Writes any JSON, CSV or Parquet file under a temporary name beside its target and renames it when
it is complete, so that a killed job leaves no file that looks finished. Reads them back and turns
a missing, truncated or damaged file into one line for the user.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.first.errors import FULL, UserError, writing

if TYPE_CHECKING:
    import pandas
    import pyarrow

REMAKE = "delete it and run the step that makes it again"
FLOAT_FORMAT = "%.6f"
READ_BLOCK = 1 << 20


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The folder is made when it is missing. The temporary name is hidden, holds machine and process
    and `.part`, and keeps the suffix of `path`, by which some writers choose their format.
    Raises UserError when the folder cannot be made, and OSError that names `path` on a full disk.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(
            f"cannot make the folder: {target.parent}: {error.strerror}: choose another path"
        ) from None
    # A random part: two threads that write the same target must not share a temporary file.
    writer = f"{_here()}-{os.getpid()}.{secrets.token_hex(4)}"
    temporary = target.with_name(f".{target.stem}.{writer}.part{target.suffix}")
    try:
        with writing(target):
            yield temporary
            _flush(temporary)
            temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_begun(path: Path) -> bool:
    """Whether a file has the name that `atomic_path` gives to one being written."""
    return path.name.startswith(".") and ".part" in path.name


def writer_is_gone(path: Path) -> bool:
    """Whether a begun file is of a process of this machine that has ended; False if unknown."""
    found = re.fullmatch(r"\..*\.([\w-]+)-(\d+)\.[0-9a-f]{8}\.part.*", path.name)
    if found is None or found[1] != _here():
        return False
    try:
        os.kill(int(found[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # another user's
        pass
    return False


def _here() -> str:
    """This machine's name as it may stand in a file's."""
    return re.sub(r"[^\w-]", "_", os.uname().nodename)[:64]


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 with line feeds, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as JSON (indent 2, keys in their given order, final newline), atomically.

    Raises ValueError when a number is NaN or infinite: JSON has no such number, and what is not a
    number must not be recorded as a result.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the content of a JSON file; UserError when it is missing, truncated or no JSON."""
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not a complete JSON file: {path}: {error}: {REMAKE}") from None


def read_text(path: str | os.PathLike[str]) -> str:
    """Return a file's text; UserError when it is missing, unreadable or no UTF-8."""
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
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(READ_BLOCK):
                digest.update(block)
    except OSError as error:
        raise UserError(f"cannot read: {path}: {error.strerror}: check its permissions") from None
    return digest.hexdigest()


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


def _flush(path: Path) -> None:
    """Force the content to disk, so that after a crash no finished name holds unwritten bytes."""
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())
