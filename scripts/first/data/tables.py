"""From official rows to the uniform tables of stage data, with the report on them.

Pure functions: official rows in, Arrow tables and a report out; nothing is read or written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.first.data import report as data_report
from scripts.first.data import sources, splits
from scripts.first.data import text_checks as unusual
from scripts.first.data.prompts import Row, uniform_row
from scripts.first.errors import UserError

if TYPE_CHECKING:
    import pyarrow


def schema() -> pyarrow.Schema:
    """Return the schema of a uniform table."""
    import pyarrow as pa

    text = pa.field("id", pa.string(), nullable=False)
    return pa.schema(
        [
            text,
            text.with_name("prompt"),
            text.with_name("response"),
            pa.field("candidates", pa.list_(pa.string()), nullable=False),
            pa.field("answer", pa.string()),
            pa.field("shorten_start", pa.int32(), nullable=False),
            pa.field("shorten_end", pa.int32(), nullable=False),
        ]
    )


def choose_rows(
    dataset: str,
    sizes: dict[str, int],
    seed: int,
    validation_share: float,
    limits: dict[str, int | None],
) -> dict[str, np.ndarray]:
    """Return {split: sorted row numbers of its official split}.

    sizes: {official split: rows}. limits: {split: at most this many rows, or None for all}.
    """
    chosen = {}
    for stream, (split, origin) in enumerate(splits.ORIGINS[dataset].items(), start=1):
        rows = np.arange(sizes[origin])
        if splits.is_divided(dataset) and split in ("train", "validation"):
            rows = splits.divide(len(rows), validation_share, seed)[split == "validation"]
        chosen[split] = splits.subset(rows, limits.get(split), seed, stream)
    return chosen


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

    Raises UserError for rows that are not usable, splits that are missing, official ids that are
    missing or repeated, and train, validation and test sets that are not disjoint in ids; test
    questions (prompts) must not occur among the others either.
    """
    limits = limits or {}
    origins = splits.ORIGINS[dataset]
    _require_splits(dataset, official.splits, origins)
    unique_ids = _count_unique_ids(dataset, official.splits)
    uniform = {
        origin: [
            uniform_row(dataset, raw, f"{dataset}, split {origin}, row {i}", obqa_letters)
            for i, raw in enumerate(official.splits[origin])
        ]
        for origin in dict.fromkeys(origins.values())
    }
    sizes = {origin: len(rows) for origin, rows in uniform.items()}
    chosen = choose_rows(dataset, sizes, seed, validation_share, limits)
    rows = {split: [uniform[origins[split]][i] for i in part] for split, part in chosen.items()}
    ids = {split: [f"{origins[split]}/{i:06d}" for i in part] for split, part in chosen.items()}
    _assert_no_leak(ids, rows)
    report = {
        "dataset": dataset,
        "source": official.identity,
        "division": _division(dataset, seed, validation_share),
        **({"letters": obqa_letters} if dataset == "obqa" else {}),
        "splits": {
            split: {
                "official_split": origins[split],
                "row_numbers_sha256": _numbers_sha256(chosen[split]),
                **data_report.describe(part),
                **unusual.found(part),
            }
            for split, part in rows.items()
        },
        "left_out": _left_out(dataset, official.splits, chosen, limits),
        "official_splits": {
            split: {"rows": len(part), "rows_sha256": sources.rows_sha256(part)}
            for split, part in official.splits.items()
        },
        # Duplicates were refused above; BoolQ and Alpaca have no ids.
        "official_ids": {"unique": unique_ids, "duplicate": 0} if unique_ids else None,
        **_overlaps(dataset, uniform, rows),
    }
    return {split: table(ids[split], part) for split, part in rows.items()}, report


def table(ids: Sequence[str], rows: Sequence[Row]) -> pyarrow.Table:
    """Return rows as a uniform table."""
    import pyarrow as pa

    records = [{"id": name, **asdict(row)} for name, row in zip(ids, rows, strict=True)]
    return pa.Table.from_pylist(records, schema=schema())


def _assert_no_leak(ids: dict[str, list[str]], rows: dict[str, list[Row]]) -> None:
    splits.assert_disjoint(ids, "row")
    if "test" in rows:
        # The same question under two ids is a leak too. (Repeated prompts are legal within a set.)
        seen = dict.fromkeys(row.prompt for row in rows["train"] + rows["validation"])
        asked = dict.fromkeys(row.prompt for row in rows["test"])
        splits.assert_disjoint({"train or validation": seen, "test": asked}, "prompt")


def _overlaps(
    dataset: str, official: dict[str, list[Row]], rows: dict[str, list[Row]]
) -> dict[str, Any]:
    """Distinct prompts, and BoolQ's passages, that two of our or of the official splits share."""

    def passages(parts: dict[str, list[Row]]) -> dict[str, int] | None:
        if dataset != "boolq":
            return None
        return data_report.shared({k: data_report.passages(part) for k, part in parts.items()})

    prompts = {split: [row.prompt for row in part] for split, part in rows.items()}
    return {
        "shared_prompts": data_report.shared(prompts),
        "shared_passages": passages(rows),
        "official_shared_passages": passages(official),
    }


def _numbers_sha256(numbers: np.ndarray) -> str:
    return hashlib.sha256(",".join(map(str, numbers.tolist())).encode()).hexdigest()


def _require_splits(dataset: str, found: dict[str, Any], origins: dict[str, str]) -> None:
    missing = sorted(set(origins.values()) - set(found))
    empty = [split for split in origins.values() if split in found and not found[split]]
    if missing or empty:
        raise UserError(
            f"no rows in split {', '.join([*missing, *empty])}: {dataset}: "
            f"found {', '.join(found) or 'none'}: check the repository and its configuration"
        )


def _count_unique_ids(dataset: str, official: dict[str, sources.Rows]) -> int:
    seen: dict[str, str] = {}
    for split, rows in official.items():
        for i, row in enumerate(rows):
            if "id" not in sources.COLUMNS[dataset]:
                continue
            name = row.get("id")
            if not isinstance(name, str) or not name.strip():
                raise UserError(f"no id: {dataset}, split {split}, row {i}: correct the source")
            if name in seen:
                raise UserError(
                    f"duplicate id {name!r}: {dataset}, {seen[name]} and split {split}, row {i}: "
                    "correct the source"
                )
            seen[name] = f"split {split}, row {i}"
    return len(seen)


def _division(dataset: str, seed: int, validation_share: float) -> dict[str, Any]:
    if not splits.is_divided(dataset):
        return {"rule": "official splits", "seed": seed}
    rule = "floor((1 - validation_share) * n) rows of default_rng(seed).permutation(n) train"
    return {"rule": rule, "seed": seed, "validation_share": validation_share}


def _left_out(
    dataset: str,
    official: dict[str, sources.Rows],
    chosen: dict[str, np.ndarray],
    limits: dict[str, int | None],
) -> list[dict[str, Any]]:
    """List every official row that is in no split of ours: how many, from where, and why."""
    out = []
    origins = splits.ORIGINS[dataset]
    for split, rows in official.items():
        unlabelled = sum(row.get("answerKey") == "" for row in rows)
        if split not in origins.values():
            labels = "unlabelled" if unlabelled == len(rows) else f"{unlabelled} unlabelled"
            reason = f"official split {split} is not used: {labels}"
            out.append({"official_split": split, "rows": len(rows), "reason": reason})
            continue
        used = sum(len(part) for name, part in chosen.items() if origins[name] == split)
        if used < len(rows):
            asked = [
                f"{name} {limits[name]}"
                for name in chosen
                if limits.get(name) and origins[name] == split
            ]
            reason = f"random subset asked for: {', '.join(asked)}"
            out.append({"official_split": split, "rows": len(rows) - used, "reason": reason})
    return out
