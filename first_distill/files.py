"""Reading and writing files: whole or not at all, checked on the way in.

Files are written under a temporary name beside their target and renamed when they are complete, so
that a killed job leaves no file that looks finished. The functions that read raise UserError where
a file is missing, damaged or unreadable.
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

from first_distill.errors import UserError, advice, writing

if TYPE_CHECKING:
    import pandas
    import pyarrow

REMAKE = "delete it and rerun the step that makes it"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path for `path`; rename it to `path` on success, remove it on failure.

    It gets the mode that the umask gives to new files. OSError that names `path` on a full disk.
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

    The next writer removes the leftovers of a killed one; only one may write at a time.
    """
    folder = target.with_name(f".{target.name}.part")
    folder.parent.mkdir(parents=True, exist_ok=True)
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

    Raises ValueError when a number is NaN or infinite.
    """
    write_text(path, _json(content))


def write_sealed(path: str | os.PathLike[str], content: dict) -> None:
    """Write `content` as JSON with a last key, seal: the sha256 of the text without it."""
    write_text(path, _sealed(content))


def read_sealed(path: str | os.PathLike[str]) -> dict | None:
    """Return the content of a sealed file, without the seal; None if a bit of it has changed."""
    text = read_text(path)
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        content = json.loads(text)
        del content["seal"]
        if _sealed(content) == text:
            return content
    return None


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the content of a JSON file."""
    with _reading(path, "JSON"):
        return json.loads(Path(path).read_bytes())


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a UTF-8 file."""
    with _reading(path, "text"):
        return Path(path).read_bytes().decode("utf-8")


def write_csv(path: str | os.PathLike[str], frame: pandas.DataFrame, floats: str) -> None:
    """Write a data frame as CSV (no index, line feeds), atomically; `floats` is their format."""
    # Not a constant here: digits count for the fingerprint of the stage that writes them.
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format=floats, lineterminator="\n")


def read_csv(path: str | os.PathLike[str], **options: Any) -> pandas.DataFrame:
    """Return a CSV file as a data frame; `options` go to pandas.read_csv."""
    import pandas

    with _reading(path, "CSV"):
        return pandas.read_csv(path, **options)


def write_parquet(path: str | os.PathLike[str], table: pyarrow.Table) -> None:
    """Write an Arrow table as Parquet with a checksum on every page, atomically."""
    import pyarrow.parquet

    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_parquet(path: str | os.PathLike[str], columns: list[str] | None = None) -> pyarrow.Table:
    """Return a Parquet file (or only `columns` of it) as an Arrow table, page checksums verified.

    The footer (schema) has no checksum: compare `sha256_file` with a recorded hash where that
    matters.
    """
    import pyarrow
    import pyarrow.parquet

    with _reading(path, "Parquet", pyarrow.ArrowException):
        # Not read_table: it would add columns from folder names like `key=value`.
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            if missing := sorted({*(columns or ())} - {*file.schema_arrow.names}):
                raise UserError(f"missing column(s) {', '.join(missing)}: {path}: {REMAKE}")
            return file.read(columns=columns)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with _reading(path, "binary"), open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe(path: Path) -> dict:
    """{bytes, sha256} of a file."""
    digest = sha256_file(path)  # UserError where it is missing
    return {"bytes": path.stat().st_size, "sha256": digest}


def describe_files(folder: Path, names: list[str]) -> dict[str, dict]:
    """{name: {bytes, sha256}} of the named files of a folder."""
    return {name: describe(folder / name) for name in names}


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str], kind: str, *damage: type[Exception]) -> Iterator[None]:
    """UserError where the file is missing, or reading it in the block fails."""
    if not Path(path).is_file():
        raise UserError(f"file not found: {path}: run the step that makes it first")
    try:
        yield
    except (OSError, ValueError, RecursionError, *damage) as error:
        if number := getattr(error, "errno", None):
            reason = os.strerror(number)
            raise UserError(f"cannot read: {path}: {reason}{advice(number)}") from None
        raise UserError(f"damaged {kind} file: {path}: {error}: {REMAKE}") from None


def _sealed(content: dict) -> str:
    return _json({**content, "seal": hashlib.sha256(_json(content).encode()).hexdigest()})


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
