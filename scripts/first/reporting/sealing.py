"""The record of an artifact of several files with one prefix, such as table1.csv, .md, .tex."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from scripts.first.provenance import records
from scripts.first.provenance.made_by import provenance

TABLE = ("csv", "md", "tex")
FIGURE = ("csv", "pdf", "png")


def seal(prefix: str, stage: str, kinds: Sequence[str], made_from: Iterable[str | Path]) -> None:
    """Write prefix.record.json, the record of prefix.csv and the other `kinds`."""
    files = [f"{Path(prefix).name}.{kind}" for kind in kinds]
    records.write(prefix + records.SUFFIX, {"provenance": provenance(stage)}, files, made_from)
