"""Official rows to the uniform tables of stage data, with a report; nothing is read or written."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from first_distill.data import mapping, report, sources, splits
from first_distill.data.prompts import Prompt, Row
from first_distill.errors import UserError, listed

if TYPE_CHECKING:
    import pyarrow

Chosen = dict[str, np.ndarray]  # {split: row numbers in its official split}


def schema() -> pyarrow.Schema:
    """The schema of a uniform table."""
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    kinds = {"id": text, "prompt": text, "response": text, "candidates": pa.list_(text)}
    kinds |= {"answer": text, "shorten_start": number, "shorten_end": number}
    return pa.schema([pa.field(name, kinds[name], name == "answer") for name in kinds])


def build(
    dataset: str, entry: Mapping[str, Any], official: sources.Official, seed: int = 1234
) -> tuple[dict[str, pyarrow.Table], dict[str, Any]]:
    """Return ({split: uniform table}, report) of official rows.

    entry: of `datasets`, with `rows`, {split: how many are drawn}, `validation_share` and
    `test_share` where one official split is divided, and `train_share`, of the training rows left;
    a smaller one draws a subset. Raises UserError for missing splits, repeated official ids,
    unusable rows unless `unusable` is `drop`, and questions (prompts) that stand in two splits
    unless `duplicates` is `drop`.
    """
    import pyarrow as pa

    origins, limits = entry["splits"], {**entry.get("rows", {})}
    if empty := sorted({origin for origin in origins.values() if not official.splits.get(origin)}):
        found = [split if rows else f"{split} (empty)" for split, rows in official.splits.items()]
        raise UserError(
            f"no rows in split {listed(empty)}: {dataset}: found "
            f"{listed([*found, *official.unused]) or 'none'}: correct `splits`, or the source"
        )
    mapping.check_keys(entry, official.splits, partial(official.place, dataset))
    admitted = {
        origin: np.fromiter(mapping.admitted(entry, rows, f"{dataset}, split {origin}"), np.int64)
        for origin, rows in official.splits.items()
    }
    uniform, unusable, unique_ids = _uniform_rows(dataset, entry, official, admitted)
    usable = {origin: np.fromiter(part, np.int64) for origin, part in uniform.items()}
    parts, division = _divide(dataset, entry, usable, seed)
    texts = {
        split: {i: row.prompt for i, row in uniform[origins[split]].items()} for split in parts
    }
    dropped = {}
    if entry.get("duplicates") == "drop":
        twice = splits.shared(parts, texts, later=("test", "validation"))
        numbers: dict[str, set] = {split: set() for split in parts}
        for _, split, i, *_ in twice:
            numbers[split].add(i)
        parts = {split: part[~np.isin(part, [*numbers[split]])] for split, part in parts.items()}
        dropped = {split: len(found) for split, found in numbers.items()}
    if empty := [split for split, part in parts.items() if not len(part)]:
        raise UserError(
            f"no rows left in split {', '.join(empty)}: {dataset}: none has the values of `where`, "
            "or all are dropped as unusable or duplicates: correct the entry"
        )
    if "train_share" in entry and "train" in parts:
        whole = limits.get("train", len(parts["train"]))
        limits["train"] = max(1, math.floor(Fraction(str(entry["train_share"])) * whole))
    chosen = {
        split: splits.subset(
            parts[split], limits.get(split), seed, stream, what=f" of {dataset}, split {split}"
        )
        for stream, split in enumerate(splits.SPLITS, start=1)
        if split in parts
    }
    for text, split, i, other, j in splits.shared(chosen, texts, later=("test", "validation")):
        raise UserError(
            f"not disjoint: prompt {text[:200]!r} is in {split} ({origins[split]}/{i:06d}) and in "
            f"{other} ({origins[other]}/{j:06d}): {dataset}: correct the source, or set "
            "`duplicates: drop`"
        )
    rows = {split: [uniform[origins[split]][i] for i in part] for split, part in chosen.items()}
    numbers_of = {split: ",".join(map(str, part)).encode() for split, part in chosen.items()}
    content = {
        "dataset": dataset,
        "source": official.identity,
        "division": division,
        "splits": {
            split: {
                "official_split": origins[split],
                "row_numbers_sha256": hashlib.sha256(numbers_of[split]).hexdigest(),
                **report.describe(part),
            }
            for split, part in rows.items()
        },
        "left_out": report.left_out(
            official, {**entry, "rows": limits}, admitted, unusable, dropped, rows
        ),
        "official_splits": {
            split: {"rows": len(part), "rows_sha256": sources.rows_sha256(part)}
            for split, part in official.splits.items()
        },
        # Duplicates were refused above; some datasets have no ids.
        "official_ids": {"unique": unique_ids, "duplicate": 0} if unique_ids else None,
        **report.overlaps({o: [*part.values()] for o, part in uniform.items()}, rows),
    }
    tables = {}
    for split, part in rows.items():
        ids = [f"{origins[split]}/{i:06d}" for i in chosen[split]]
        named = [{"id": i, **asdict(row)} for i, row in zip(ids, part, strict=True)]
        tables[split] = pa.Table.from_pylist(named, schema=schema())
    return tables, content


def _uniform_rows(
    dataset: str, entry: Mapping[str, Any], official: sources.Official, admitted: Chosen
) -> tuple[dict[str, dict[int, Row]], dict[str, Counter], int]:
    """Return the usable rows, the unusable ones, and how many official ids the former have.

    They are {official split: {number: row}} and {official split: number of rows by reason}. Raises
    UserError for an id that stands twice, and for an unusable row unless these are dropped.
    """
    prompt, drop = Prompt(entry, dataset), entry.get("unusable") == "drop"
    uniform: dict[str, dict[int, Row]] = {}
    unusable: dict[str, Counter] = {}
    seen: dict[str, str] = {}
    for origin in dict.fromkeys(entry["splits"].values()):
        uniform[origin], unusable[origin] = {}, Counter()
        for i in admitted[origin].tolist():
            raw, place = official.splits[origin][i], official.place(dataset, origin, i)
            try:
                row = prompt.row(raw, place)
                if "id" in entry:
                    own = mapping.value(raw, entry["id"], place)
                    own = mapping.text(own, entry["id"], place)
                    if own in seen:
                        raise UserError(
                            f"not disjoint: id {own!r} is in {seen[own]} and in {place}: "
                            "correct the source, or leave out the key `id`"
                        )
                    seen[own] = place
            except mapping.Unusable as error:
                if not drop:
                    raise
                unusable[origin][error.reason] += 1
            else:
                uniform[origin][i] = row
    return uniform, unusable, len(seen)


def _divide(
    dataset: str, entry: Mapping[str, Any], admitted: Chosen, seed: int
) -> tuple[Chosen, dict[str, Any]]:
    """({split: its row numbers}, how an official split that several share was divided)."""
    origins, parts = entry["splits"], {}
    division: dict[str, Any] = {"rule": "official splits", "seed": seed}
    for origin in dict.fromkeys(origins.values()):
        sharing = [split for split in splits.SPLITS if origins.get(split) == origin]
        if len(sharing) == 1:
            parts[sharing[0]] = admitted[origin]
            continue
        if not len(admitted[origin]):
            raise UserError(
                f"no rows left in split {', '.join(sharing)}: {dataset}: none has the values of "
                "`where`, or all are unusable: correct the entry"
            )
        keys = [f"{split}_share" for split in sharing[1:]]
        given = {key: entry.get(key, 0.1) for key in keys}
        shares = dict(zip(sharing, [None, *given.values()], strict=True))
        found = splits.divide(
            len(admitted[origin]), shares, seed, what=f" of {dataset}, split {origin},"
        )
        parts |= {split: admitted[origin][part] for split, part in found.items()}
        left = f"1 - {' - '.join(keys)}"
        rule = f"floor(({left}) * n) rows of default_rng(seed).permutation(n) {sharing[0]}"
        division |= {"rule": rule, **given}
    return parts, division
