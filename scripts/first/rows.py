"""Reading uniform tables (stage data) as rows, and which positions of a corpus are scored."""

from __future__ import annotations

from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import read_parquet

COLUMNS = ["id", "prompt", "response", "candidates", "answer", "shorten_start", "shorten_end"]


def read_rows(path: str | Path) -> list[dict]:
    """All rows of a uniform table. UserError for a missing column or an empty split."""
    rows = read_parquet(path, COLUMNS).to_pylist()
    if not rows:
        raise UserError(f"empty split: {path}: it has no rows: prepare the data again")
    return rows


def scored_kind(rows: list[dict]) -> str:
    """`answer` for questions with candidates, `response` for instruction rows without."""
    return "answer" if rows[0]["candidates"] else "response"
