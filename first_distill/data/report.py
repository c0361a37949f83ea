"""The report on a prepared dataset: counts, answers, duplicates, overlaps, unusual texts."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

from first_distill.data.prompts import Row
from first_distill.data.sources import Official

# Texts that trip tokenizers and readers. They are kept byte for byte, and counted.
UNUSUAL = {
    "over_20000_characters": re.compile(r"\A.{20001}", re.DOTALL),  # official rows have up to 5,200
    "control_characters": re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"),
    "special_token_text": re.compile(r"</?s>|<unk>|<pad>|<\|[a-z_]+\|>"),
    "right_to_left": re.compile(
        r"[\u0590-\u08ff\u200f\u202b\u202e\u2067\ufb1d-\ufdff\ufe70-\ufefc]"
    ),
    "combining_characters": re.compile(r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"),
}


def describe(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts of one split; `unusual_texts` is absent if there are none."""
    prompts = [row.prompt for row in rows]
    unusual = Counter(
        kind for row in rows for kind in UNUSUAL if UNUSUAL[kind].search(row.prompt + row.response)
    )
    return {
        "rows": len(rows),
        "duplicate_prompts": len(prompts) - len(set(prompts)),
        "empty_responses": sum(not row.response for row in rows),
        "longest_prompt_characters": max(map(len, prompts), default=0),
        "answers": answers(rows),
        **({"unusual_texts": dict(sorted(unusual.items()))} if unusual else {}),
    }


def answers(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Distribution of the answers; None if rows have no answer.

    counts has each candidate of the rows, in order of first appearance. majority_share is the
    accuracy of always giving the most frequent answer, chance_share that of a random candidate of
    each row, both as fractions. On a tie the earlier candidate is the majority.
    """
    if not rows or rows[0].answer is None:
        return None
    found = Counter(row.answer for row in rows)
    counts = {candidate: found[candidate] for row in rows for candidate in row.candidates}
    majority = max(counts, key=counts.__getitem__)
    return {
        "counts": counts,
        "majority": majority,
        "majority_share": counts[majority] / len(rows),
        "chance_share": float(statistics.mean(Fraction(1, len(row.candidates)) for row in rows)),
    }


def overlaps(official: Mapping[str, Sequence[Row]], rows: Mapping[str, Sequence[Row]]) -> dict:
    """Distinct prompts and passages that two of our or two of the official splits share.

    Passages are the parts of prompts that may be shortened; None for datasets without.
    """

    def passage(row: Row) -> str:
        return row.prompt[row.shorten_start : row.shorten_end]

    has_passages = any(row.shorten_end > 0 for part in rows.values() for row in part)
    return {
        "shared_prompts": _shared(rows, lambda row: row.prompt),
        "shared_passages": _shared(rows, passage) if has_passages else None,
        "official_shared_passages": _shared(official, passage) if has_passages else None,
    }


def _shared(parts: Mapping[str, Sequence[Row]], text: Callable[[Row], str]) -> dict[str, int]:
    """{"train and test": number of distinct texts in both, ...}."""
    texts = {split: {text(row) for row in part} for split, part in parts.items()}
    return {f"{a} and {b}": len(texts[a] & texts[b]) for a, b in combinations(texts, 2)}


def left_out(
    official: Official,
    entry: Mapping[str, Any],
    admitted: Mapping[str, Sequence[int]],
    unusable: Mapping[str, Mapping[str, int]],
    dropped: Mapping[str, int],
    used: Mapping[str, Sequence[Row]],
) -> list[dict[str, Any]]:
    """Official rows that are in no split of ours: how many, from where, and why.

    admitted: {official split: rows that `where` admits}; unusable: {official split: {reason: rows
    of these}}. dropped: {split: questions of it that another split has}. used: {split: its rows}.
    `rows` is None where a split cannot be read.
    """
    out, origins, limits = [], entry["splits"], entry.get("rows", {})
    for origin, rows in official.splits.items():
        splits = [split for split in used if origins[split] == origin]
        twice = sum(dropped.get(split, 0) for split in splits)
        asked = [f"{split} {limits[split]}" for split in splits if limits.get(split)]
        left = len(admitted[origin]) - sum(unusable[origin].values()) - twice
        drawn = left - sum(len(used[split]) for split in splits)
        reasons = {
            "not among the values of where": len(rows) - len(admitted[origin]),
            **{f"unusable: {reason}": n for reason, n in sorted(unusable[origin].items())},
            "question stands in another split": twice,
            f"random subset asked for: {', '.join(asked)}": drawn,
        }
        for reason, count in reasons.items():
            if count:
                out.append({"official_split": origin, "rows": count, "reason": reason})
    for origin, found in official.unused.items():
        rows, labelled = found or (None, 1)
        reason = f"official split {origin} is not used{'' if labelled else ': unlabelled'}"
        if rows != 0:
            out.append({"official_split": origin, "rows": rows, "reason": reason})
    return out
