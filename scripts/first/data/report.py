"""What a prepared dataset holds: counts, duplicates, overlaps and the share a guess would reach.

Pure functions on uniform rows: nothing is read or written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

from scripts.first.data.prompts import Row


def describe(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the counts of one split."""
    prompts = [row.prompt for row in rows]
    return {
        "rows": len(rows),
        "duplicate_prompts": len(prompts) - len(set(prompts)),
        "empty_responses": sum(not row.response for row in rows),
        "longest_prompt_characters": max(map(len, prompts), default=0),
        "answers": answers(rows),
    }


def answers(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return the answer distribution; None where rows have no answer.

    majority_share is the accuracy of always giving the most frequent answer, chance_share that of
    drawing a candidate at random, both as fractions. On a tie the earlier candidate is named.
    """
    labelled = [row for row in rows if row.answer is not None]
    if not labelled:
        return None
    found = Counter(row.answer for row in labelled)
    counts = {candidate: found[candidate] for candidate in labelled[0].candidates}
    chances = Counter(len(row.candidates) for row in labelled)
    majority = max(counts, key=counts.__getitem__)
    return {
        "counts": counts,
        "majority": majority,
        "majority_share": counts[majority] / len(labelled),
        "chance_share": float(sum(Fraction(n, k) for k, n in chances.items()) / len(labelled)),
    }


def passages(rows: Sequence[Row]) -> list[str]:
    """Return the passages of the rows that have one (the part of the prompt to be shortened)."""
    return [row.prompt[row.shorten_start : row.shorten_end] for row in rows if row.shorten_end > 0]


def shared(texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return how many distinct texts each two splits have in common: {"train and test": n}."""
    sets = {split: set(values) for split, values in texts.items()}
    return {f"{a} and {b}": len(sets[a] & sets[b]) for a, b in combinations(sets, 2)}
