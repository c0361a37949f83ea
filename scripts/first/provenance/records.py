"""Records: what a job made, from what, by which code. Sealed, and verified before use.

A record is a JSON file, written last, beside the files that it describes:
  files      {name: {bytes, sha256}} of the files beside it
  made_from  {path below results/: sha256} of what they were made from, records for checkpoints,
             stores and evaluations
  provenance code fingerprint and package versions (see provenance.py)
  place      its own path below results/: a record that stands in another's place is refused
  seal       sha256 of the record's text without the seal: a flipped bit is seen
It guards against accidents: whoever wants to can seal anything anew. `python -m scripts.verify`
walks the records from the tables down to the data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from scripts.first import ROOT
from scripts.first.errors import UserError
from scripts.first.files import describe_files, read_text, sha256_file, write_text

CHARGES = {  # files by the record in whose charge they are; record.json has those of a checkpoint
    "report.json": ("train.parquet", "validation.parquet", "test.parquet"),
    "manifest.json": ("knowledge.safetensors",),
    "selected.json": ("coarse.csv", "refined.csv"),
    "metrics.json": ("predictions.parquet", "ranks.parquet"),
}
NAMES = ("record.json", *CHARGES)
SUFFIX = ".record.json"  # table1.record.json describes table1.csv and its like
RESULTS = "results"
BELOW = "data models teacher knowledge temperature student evaluation tables figures claims"


def place(path: str | Path) -> str | None:
    """A file's path below results/, as in `tiny/data/csqa/report.json`; None elsewhere."""
    parts = Path(path).absolute().parts
    if RESULTS not in parts:
        return None
    below = parts[len(parts) - parts[::-1].index(RESULTS) :]
    known = len(below) > 1 and below[1].split(".")[0] in BELOW.split()
    return "/".join(below) if known else None


def _named(sources: Iterable[str | Path]) -> dict[str, Path]:
    """Files by their place, else by their path in this repository, else by their name alone.

    No path of the machine gets into a record. Two names are told apart by as much as differs.
    """
    found: dict[str, Path] = {}
    for whole in (Path(source).absolute() for source in sources):
        name = place(whole)
        if name is None:
            inside = whole.is_relative_to(ROOT)
            name = whole.relative_to(ROOT).as_posix() if inside else whole.name
            for above in whole.parents:
                if found.get(name, whole) == whole:
                    break
                name = f"{above.name}/{name}"
        found[name] = whole
    return found


def write(
    path: str | Path,
    content: dict,
    files: Iterable[str] = (),
    made_from: Iterable[str | Path] = (),
) -> None:
    """Write a record of the named files beside it; `content` has its provenance and what else.

    A record of files that lie elsewhere (on the hub) has `files` in its content.
    """
    path = Path(path)
    record = {
        **content,
        "files": content.get("files") or describe_files(path.parent, sorted(set(files))),
        "made_from": {name: sha256_file(source) for name, source in _named(made_from).items()},
        "place": place(path),
    }
    write_text(path, _text({**record, "seal": _seal(record)}))


def read(path: str | Path) -> dict:
    """The content of a record, less its seal and place; UserError for a broken or misplaced one."""
    record = unsealed(path)
    own, here = record.pop("place", None), place(path)
    if own and here and own != here:
        raise UserError(f"misplaced record: {path}: it is that of {own}: {_again(Path(path))}")
    if here:
        _check_sources(Path(path), here, record)
    return record


def _check_sources(path: Path, here: str, record: dict) -> None:
    """UserError where a record that this one was made from is another now, as copies leave it.

    Only of its own scale, and only records: they vouch for what is large.
    """
    results = path.absolute().parents[here.count("/")]
    for name, digest in record.get("made_from", {}).items():
        source = results / name
        if name.split("/")[0] == here.split("/")[0] and is_record(source) and source.is_file():
            if sha256_file(source) != digest:
                raise UserError(
                    f"stale record: {path}: it was made from another version of {source}: "
                    f"{_again(path)}"
                )


def unsealed(path: str | Path) -> dict:
    """The content of a record, less its seal, in whatever place; UserError for a broken one."""
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"no record: {path}: what it describes was never finished, or the record was deleted: "
            f"{_again(path)}"
        )
    text = read_text(path)
    try:
        record = json.loads(text)
        if isinstance(record, dict) and "seal" not in record:
            raise UserError(f"record without a seal, of another version: {path}: {_again(path)}")
        seal = record.pop("seal")
        whole = _text({**record, "seal": seal}) == text and _seal(record) == seal
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"altered or incomplete record: {path}: its seal is broken: {_again(path)}")
    if not _sensible(record):
        raise UserError(
            f"not a record: {path}: its files or made_from are no such lists: {_again(path)}"
        )
    return record


def _sensible(record: dict) -> bool:
    """Whether files and made_from are what `write` makes: sealed is not yet ours."""
    files, sources = record.get("files", {}), record.get("made_from", {})
    return (
        isinstance(record.get("place"), str | None)
        and isinstance(files, dict)
        and not any(name in ("", ".", "..") or {"/", "\\"} & {*name} for name in files)
        and isinstance(sources, dict)
        and not any("\0" in name for name in sources)
        and all(isinstance(digest, str) for digest in sources.values())
    )


def verified(path: str | Path) -> Path:
    """The path of a file that is what the record beside it says; UserError for any other.

    A file outside of results/ that no record names is the user's own, and taken as it is.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"file not found: {path}: run the step that makes it first")
    beside = record_beside(path)
    if beside is None:
        if place(path):
            raise UserError(
                f"no record beside {path}: it was never finished, or its record was deleted: "
                f"{_again(path)}"
            )
        return path
    check(path, read(beside).get("files", {}).get(path.name), beside)
    return path


def record_beside(path: str | Path) -> Path | None:
    """The record in whose charge a file is, or None."""
    path = Path(path)
    names = [record for record, files in CHARGES.items() if path.name in files]
    names = names or [path.name.split(".")[0] + SUFFIX, "record.json"]
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def check(path: Path, expected: dict | None, record: Path) -> None:
    """UserError unless a file has the bytes and the sha256 that its record says."""
    if reason := difference(path, expected):
        raise UserError(f"{reason}: {path}: it is not what {record} says: {_again(record)}")


def difference(path: Path, expected: dict | None) -> str | None:
    """Why a file is not what a record expects; None where it is."""
    if expected is None:
        return "unknown file"
    if not path.is_file():
        return "missing file"
    size = path.stat().st_size
    cheap = isinstance(expected, dict) and size == expected.get("bytes")
    return None if cheap and not mismatch(size, sha256_file(path), expected) else "altered file"


def mismatch(size: int, digest: str, expected: object) -> bool:
    """Whether a file of this size and sha256 is not what a record expects."""
    known = isinstance(expected, dict)
    return not known or (size, digest) != (expected.get("bytes"), expected.get("sha256"))


def is_record(path: Path) -> bool:
    """Whether a path is that of a record, by its name alone: its content may be damaged."""
    # Cells and pairs describe no other file. Counted from the end: folders above have any name.
    cell, pair = path.parts[-6:-3] == ("tables", "table1", "cells"), path.parts[-3:-1]
    single = cell or pair == ("models", "pairs")
    return path.suffix == ".json" and (path.name in NAMES or path.name.endswith(SUFFIX) or single)


def _again(path: Path) -> str:
    """What to do: Snakemake has to be told, for to it a file that is there is as it should be."""
    if here := place(path):
        return f"make it again: {command(here.split('/')[0])} {path}"
    what = path.parent if path.name in NAMES else path
    return f"delete {what} and run the step that makes it again"


def command(scale: str) -> str:
    """The words that make files of a scale, named behind them, and what rests on them again."""
    return f"snakemake -c2 --config scale={scale} -R"


def _text(record: dict) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _seal(record: dict) -> str:
    return hashlib.sha256(_text(record).encode()).hexdigest()
