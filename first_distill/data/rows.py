"""Read uniform tables (stage data) as rows; which positions of a corpus are scored."""

from __future__ import annotations

from pathlib import Path

from first_distill.errors import UserError
from first_distill.files import read_parquet
from first_distill.provenance.records import verified

COLUMNS = ["id", "prompt", "response", "candidates", "answer", "shorten_start", "shorten_end"]


def read_rows(path: str | Path) -> list[dict]:
    """All rows of a uniform table.

    UserError if the table differs from its report, lacks a column, is empty or repeats an id.
    """
    rows = read_parquet(verified(path), COLUMNS).to_pylist()
    if not rows:
        raise UserError(f"empty split: {path}: prepare the data again")
    if None in (ids := {row["id"] for row in rows}) or len(ids) < len(rows):
        raise UserError(f"missing or repeated id: {path}: prepare the data again")
    return rows


def scored_kind(rows: list[dict]) -> str:
    """`answer` for questions with candidates, `response` for instruction rows without."""
    return "answer" if rows[0]["candidates"] else "response"
