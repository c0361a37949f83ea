"""Official rows to the uniform tables of stage data, with a report.

Pure functions: official rows in, Arrow tables and a report out; nothing is read or written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.first.data import report, sources, splits
from scripts.first.data.prompts import Row, uniform_row
from scripts.first.errors import UserError

if TYPE_CHECKING:
    import pyarrow


def schema() -> pyarrow.Schema:
    """The schema of a uniform table."""
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    kinds = {"id": text, "prompt": text, "response": text, "candidates": pa.list_(text)}
    kinds |= {"answer": text, "shorten_start": number, "shorten_end": number}
    return pa.schema([pa.field(name, kinds[name], name == "answer") for name in kinds])


def table(ids: Sequence[str], rows: Sequence[Row]) -> pyarrow.Table:
    """Rows as a uniform table."""
    import pyarrow as pa

    records = [{"id": name, **asdict(row)} for name, row in zip(ids, rows, strict=True)]
    return pa.Table.from_pylist(records, schema=schema())


def build(
    dataset: str,
    official: sources.Official,
    *,
    seed: int = 1234,
    validation_share: float = 0.1,
    limits: dict[str, int | None] | None = None,
    obqa_letters: str = "upper",
) -> tuple[dict[str, pyarrow.Table], dict[str, Any]]:
    """Return ({split: uniform table}, report) of official rows.

    limits: {split: at most this many rows, or None for all}. Raises UserError for unusable rows,
    missing splits, missing or repeated official ids, and train, validation and test sets that
    share ids; test questions (prompts) must not occur in the other two either.
    """
    limits, origins = limits or {}, splits.ORIGINS[dataset]
    _require_rows(dataset, official.splits, origins)
    unique_ids = _count_unique_ids(dataset, official.splits)
    uniform = {
        origin: [
            uniform_row(dataset, raw, f"{dataset}, split {origin}, row {i}", obqa_letters)
            for i, raw in enumerate(official.splits[origin])
        ]
        for origin in dict.fromkeys(origins.values())
    }
    sizes = {origin: len(part) for origin, part in uniform.items()}
    chosen = _choose_rows(dataset, sizes, seed, validation_share, limits)
    rows = {split: [uniform[origins[split]][i] for i in part] for split, part in chosen.items()}
    ids = {split: [f"{origins[split]}/{i:06d}" for i in part] for split, part in chosen.items()}
    _assert_no_leak(ids, rows)
    division = {"rule": "official splits", "seed": seed}
    if splits.is_divided(dataset):
        rule = "floor((1 - validation_share) * n) rows of default_rng(seed).permutation(n) train"
        division |= {"rule": rule, "validation_share": validation_share}
    used = {split: len(part) for split, part in chosen.items()}
    numbers = {split: ",".join(map(str, part.tolist())) for split, part in chosen.items()}
    content = {
        "dataset": dataset,
        "source": official.identity,
        "division": division,
        **({"letters": obqa_letters} if dataset == "obqa" else {}),
        "splits": {
            split: {
                "official_split": origins[split],
                "row_numbers_sha256": hashlib.sha256(numbers[split].encode()).hexdigest(),
                **report.describe(part),
            }
            for split, part in rows.items()
        },
        "left_out": report.left_out(official.splits, origins, used, limits),
        "official_splits": {
            split: {"rows": len(part), "rows_sha256": sources.rows_sha256(part)}
            for split, part in official.splits.items()
        },
        # Duplicates were refused above; BoolQ and Alpaca have no ids.
        "official_ids": {"unique": unique_ids, "duplicate": 0} if unique_ids else None,
        **report.overlaps(uniform, rows),
    }
    return {split: table(ids[split], part) for split, part in rows.items()}, content


def _choose_rows(
    dataset: str,
    sizes: dict[str, int],
    seed: int,
    validation_share: float,
    limits: dict[str, int | None],
) -> dict[str, np.ndarray]:
    """{split: sorted row numbers of its official split}; sizes: {official split: rows}."""
    chosen = {}
    for stream, (split, origin) in enumerate(splits.ORIGINS[dataset].items(), start=1):
        rows = np.arange(sizes[origin])
        if splits.is_divided(dataset) and split in ("train", "validation"):
            rows = splits.divide(len(rows), validation_share, seed)[split == "validation"]
        chosen[split] = splits.subset(rows, limits.get(split), seed, stream)
    return chosen


def _assert_no_leak(ids: dict[str, list[str]], rows: dict[str, list[Row]]) -> None:
    splits.assert_disjoint(ids, "row")
    if "test" in rows:
        # The same question under two ids is a leak too. (Repeated prompts are legal within a set.)
        seen = {row.prompt: None for row in rows["train"] + rows["validation"]}
        asked = {row.prompt: None for row in rows["test"]}
        splits.assert_disjoint({"train or validation": seen, "test": asked}, "prompt")


def _require_rows(dataset: str, found: dict[str, Any], origins: dict[str, str]) -> None:
    if empty := sorted({origin for origin in origins.values() if not found.get(origin)}):
        raise UserError(
            f"no rows in split {', '.join(empty)}: {dataset}: found {', '.join(found) or 'none'}: "
            "check the repository and its configuration"
        )


def _count_unique_ids(dataset: str, official: dict[str, sources.Rows]) -> int:
    """Number of official ids, 0 for datasets without; UserError if one is missing or repeated."""
    if "id" not in sources.COLUMNS[dataset]:
        return 0
    seen: dict[str, str] = {}
    for split, rows in official.items():
        for i, row in enumerate(rows):
            name, where = row.get("id"), f"split {split}, row {i}"
            if not isinstance(name, str) or not name.strip():
                raise UserError(f"no id: {dataset}, {where}: correct the source")
            if name in seen:
                message = f"duplicate id {name!r}: {dataset}, {seen[name]} and {where}"
                raise UserError(f"{message}: correct the source")
            seen[name] = where
    return len(seen)
