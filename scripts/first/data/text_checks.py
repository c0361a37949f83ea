"""Texts that tokenizers and readers have stumbled over: they go in byte for byte, and are counted.

Pure functions on uniform rows: nothing is read or written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from scripts.first.data.prompts import Row

LONG = 20_000  # characters of a prompt; the longest official one has 5,200
KINDS = {
    "control_characters": re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"),
    "special_token_text": re.compile(r"</?s>|<unk>|<pad>|<\|[a-z_]+\|>"),
    "right_to_left": re.compile(
        r"[\u0590-\u08ff\u200f\u202b\u202e\u2067\ufb1d-\ufdff\ufe70-\ufefc]"
    ),
    "combining_characters": re.compile(r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"),
}


def found(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """{"unusual_texts": {kind: rows that have it}}, or {} where no row has any."""
    counts: Counter[str] = Counter()
    for row in rows:
        text = row.prompt + row.response
        counts.update(kind for kind, pattern in KINDS.items() if pattern.search(text))
        counts.update(["over_20000_characters"] * (len(row.prompt) > LONG))
    return {"unusual_texts": dict(sorted(counts.items()))} if counts else {}
