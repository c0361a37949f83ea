"""Official rows to the uniform tables of stage data, with a report; nothing is read or written."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.first.data import report, sources, splits
from scripts.first.data.prompts import Row, text, uniform_row
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


def build(
    dataset: str,
    official: sources.Official,
    *,
    seed: int = 1234,
    validation_share: float = 0.1,
    limits: dict[str, int | None] | None = None,
) -> tuple[dict[str, pyarrow.Table], dict[str, Any]]:
    """Return ({split: uniform table}, report) of official rows.

    limits: {split: at most this many rows, or None for all}. Raises UserError for unusable rows,
    missing splits, missing or repeated official ids, and train, validation and test sets that
    share ids; test questions (prompts) must not occur in the other two either.
    """
    import pyarrow as pa

    limits, origins = limits or {}, splits.ORIGINS[dataset]
    if empty := sorted({origin for origin in origins.values() if not official.splits.get(origin)}):
        raise UserError(
            f"no rows in split {', '.join(empty)}: {dataset}: found "
            f"{', '.join(official.splits) or 'none'}: check the repository and its configuration"
        )
    unique_ids = _count_unique_ids(dataset, official.splits)
    uniform = {
        origin: [
            uniform_row(dataset, raw, what=f"{dataset}, split {origin}, row {i}")
            for i, raw in enumerate(official.splits[origin])
        ]
        for origin in dict.fromkeys(origins.values())
    }
    division = {"rule": "official splits", "seed": seed}
    is_divided = origins.get("validation") == origins["train"]
    if is_divided:
        rule = "floor((1 - validation_share) * n) rows of default_rng(seed).permutation(n) train"
        division |= {"rule": rule, "validation_share": validation_share}
    chosen, rows, ids = {}, {}, {}
    for stream, (split, origin) in enumerate(origins.items(), start=1):
        part = np.arange(len(uniform[origin]))
        if is_divided and split != "test":
            part = splits.divide(len(part), validation_share, seed)[split == "validation"]
        chosen[split] = splits.subset(part, limits.get(split), seed, stream).tolist()
        rows[split] = [uniform[origin][i] for i in chosen[split]]
        ids[split] = [f"{origin}/{i:06d}" for i in chosen[split]]
    _assert_no_leak(ids, rows)
    numbers = {split: ",".join(map(str, part)).encode() for split, part in chosen.items()}
    content = {
        "dataset": dataset,
        "source": official.identity,
        "division": division,
        "splits": {
            split: {
                "official_split": origins[split],
                "row_numbers_sha256": hashlib.sha256(numbers[split]).hexdigest(),
                **report.describe(part),
            }
            for split, part in rows.items()
        },
        "left_out": report.left_out(official.splits, origins, rows, limits),
        "official_splits": {
            split: {"rows": len(part), "rows_sha256": sources.rows_sha256(part)}
            for split, part in official.splits.items()
        },
        # Duplicates were refused above; BoolQ and Alpaca have no ids.
        "official_ids": {"unique": unique_ids, "duplicate": 0} if unique_ids else None,
        **report.overlaps(uniform, rows),
    }
    tables = {}
    for split, part in rows.items():
        named = [{"id": i, **asdict(row)} for i, row in zip(ids[split], part, strict=True)]
        tables[split] = pa.Table.from_pylist(named, schema=schema())
    return tables, content


def _assert_no_leak(ids: dict[str, list[str]], rows: dict[str, list[Row]]) -> None:
    splits.assert_disjoint(ids, what="row")
    if "test" in rows:
        # The same question under two ids is a leak too. (Repeated prompts are legal within a set.)
        seen = {row.prompt: None for row in rows["train"] + rows["validation"]}
        asked = {row.prompt: None for row in rows["test"]}
        splits.assert_disjoint({"train or validation": seen, "test": asked}, what="prompt")


def _count_unique_ids(dataset: str, official: dict[str, sources.Rows]) -> int:
    """Number of official ids, 0 for datasets without; UserError if one is missing or repeated."""
    if "id" not in sources.COLUMNS[dataset]:
        return 0
    seen: dict[str, tuple[str, int]] = {}
    for split, rows in official.items():
        for i, row in enumerate(rows):
            own = text(row, "id", what=f"{dataset}, split {split}, row {i}")
            if own in seen:
                other, j = seen[own]
                raise UserError(
                    f"not disjoint: id {own!r} is in {dataset}, split {other}, row {j} and in "
                    f"{dataset}, split {split}, row {i}: correct the source"
                )
            seen[own] = split, i
    return len(seen)
