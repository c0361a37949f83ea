"""Tables of official rows: Parquet, CSV and JSON lines, each file on its own.

Files are not cast to one schema: a column may be text in one and a category in another.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from first_distill.data.mapping import column
from first_distill.errors import UserError, listed

Rows = list[dict[str, Any]]
# Overflow: a date that Python has not; lookup: a time zone that there is not.
DAMAGE = (OSError, ValueError, AttributeError, RecursionError, OverflowError, LookupError)


class MissingColumn(UserError):
    """A table that lacks a column."""


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table; dataset_infos.json is a description."""
    suffixes = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
    return path.suffix.lower() in suffixes and path.name != "dataset_infos.json"


def files_below(folder: Path) -> list[Path]:
    """All files of a folder and its subfolders, links to folders followed, each folder once."""
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:  # a link to where we come from
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        folders.sort()
        found += [Path(place, name) for name in names if os.path.isfile(Path(place, name))]
    return sorted(found)


def describes(path: Path) -> bool:
    """Whether a file tells the Hub's loader which tables are which splits."""
    return path.name in ("README.md", ".huggingface.yaml", "dataset_infos.json")


def read_table(path: Path, wanted: Sequence[str], what: str, separator: str = ",") -> Rows:
    """The rows of a file, with the columns of the paths `wanted` alone.

    Values of CSV files are text, null where a cell is empty; semicolons separate them where commas
    would give one column, or lack one. Files without rows are read as such. Raises
    UserError, with `what`, if it is not readable or lacks a column.
    """
    import pyarrow

    readers = {".parquet": _parquet, ".csv": _csv, ".tsv": _csv, ".jsonl": _json, ".json": _json}
    suffix = path.suffix.lower()
    if suffix not in readers:
        known = ", ".join(readers)
        raise UserError(f"not a table: {what}: {path.suffix or 'no suffix'}: use {known}")
    separator = "\t" if suffix == ".tsv" else separator
    try:
        names, rows = readers[suffix](path, wanted, separator)
    except (pyarrow.ArrowException, *DAMAGE) as error:
        kind = {".parquet": "Parquet", ".csv": "CSV", ".tsv": "TSV"}.get(suffix, "JSON")
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        encoding = isinstance(error, UnicodeDecodeError) and suffix != ".parquet"
        advice = "save it as UTF-8" if encoding else "correct it"
        raise UserError(f"not a readable {kind} file: {what}: {reason}: {advice}") from None
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise UserError(f"column {listed(twice[:1])} stands twice: {what}: rename one")
    if names or rows:
        for path_ in wanted:
            if column(path_, names) not in names:
                raise MissingColumn(
                    f"no column {column(path_, names)}: {what}: it has {listed(names)}: "
                    "correct the entry"
                )
    return rows


def _parquet(path: Path, wanted: Sequence[str], _: str) -> tuple[list[str], Rows]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as table:
        names = table.schema_arrow.names
        return names, table.read(_read(wanted, names)).to_pylist()


def _csv(path: Path, wanted: Sequence[str], separator: str) -> tuple[list[str], Rows]:
    csv.field_size_limit(2**27)
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, read = file.readline(), 0
        file.seek(0)
        try:
            if separator == "," and _needs_semicolons(head, wanted):
                separator = ";"
            table = csv.DictReader(file, delimiter=separator, strict=True)
            names = list(table.fieldnames or [])
            _check_header(names, separator)
            keep, rows, read = _read(wanted, names), [], table.line_num
            for row in table:
                if None in row or None in row.values():
                    cells = len(names) + len(row.get(None, ())) - list(row.values()).count(None)
                    quotes = f", texts with {separator!r} need quotes" if None in row else ""
                    where = f"line {table.line_num}: {cells} cells for {len(names)} columns"
                    raise ValueError(where + quotes)
                rows.append({name: row[name] or None for name in keep})
                read = table.line_num
        except csv.Error as error:
            raise ValueError(f"line {read + 1}: {error}") from None
    return names, rows


def _needs_semicolons(head: str, wanted: Sequence[str]) -> bool:
    """Whether a first line is one column between commas, or only semicolons give all wanted."""
    commas, semicolons = (next(csv.reader([head], delimiter=mark), []) for mark in ",;")
    lacking = [any(column(p, names) not in names for p in wanted) for names in (commas, semicolons)]
    return (len(commas) == 1 and ";" in commas[0]) or lacking == [True, False]


def _check_header(names: list[str], separator: str) -> None:
    if len({*names}) < len(names):
        raise ValueError(f"a column stands twice in {listed(names)}")
    for other in ",;\t|":
        if len(names) == 1 and other != separator and other in names[0]:
            raise ValueError(f"its columns are separated by {other!r}, not by {separator!r}")


def _json(path: Path, wanted: Sequence[str], _: str) -> tuple[list[str], Rows]:
    content = path.read_text(encoding="utf-8-sig")
    if content.lstrip().startswith("["):
        found = json.loads(content)
    else:
        found = []
        for number, line in enumerate(content.split("\n"), start=1):
            if line.strip():
                try:
                    found.append(json.loads(line))
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None
    if any(not isinstance(row, dict) for row in found):
        raise ValueError("a row is no object of names and values")
    names = list(dict.fromkeys(name for row in found for name in row))
    keep = _read(wanted, names)
    return names, [{name: row.get(name) for name in keep} for row in found]


def _read(wanted: Sequence[str], names: list[str]) -> list[str]:
    """The columns of a file that the paths need, once each."""
    return list(dict.fromkeys(c for path in wanted if (c := column(path, names)) in names))
