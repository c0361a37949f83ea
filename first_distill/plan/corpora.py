"""How many tokens each corpus has: counted on prepared data, else from config/token_counts.json.

A plan needs sums and extremes of a split's encoded rows, not the rows. `python -m
benchmarks.token_counts` counts them with a real tokenizer and writes the file, which says how.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from first_distill import ROOT
from first_distill.config.datasets import used
from first_distill.data.rows import read_rows
from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.models.batching import inference_batches
from first_distill.models.encoding import encode_prompts, encode_rows
from first_distill.models.tokenizer import load_tokenizer
from first_distill.plan.architecture import fetched_files
from first_distill.plan.scale import Scale

SHIPPED = ROOT / "config" / "token_counts.json"
GROUPS = tuple(2**i for i in range(10))  # 1 .. 512 rows
WINDOW = 8192  # padded tokens of the inference batches whose density is measured


@dataclass(frozen=True)
class Counts:
    """Tokens of one encoded split.

    tokens: ids of all rows; squares: sum of squared row lengths; longest: ids of the longest row;
    positions: supervised positions of all rows; crowded: positions of the 1, 2, 4, .. 512 rows that
    have most, so no batch of so many rows has more; density: supervised positions a padded token in
    the densest inference batch of 8,192 padded tokens.
    """

    rows: int
    tokens: int
    squares: int
    longest: int
    positions: int
    crowded: list[int]
    density: float

    def positions_of(self, rows: int) -> int:
        """At most so many supervised positions in any batch of `rows` rows."""
        rows = min(rows, self.rows)
        for size, positions in zip(GROUPS, self.crowded, strict=True):
            if size >= rows:
                return min(positions, rows * self.crowded[0])
        return round(self.crowded[-1] * rows / GROUPS[-1])


def count(encoded: list) -> Counts:
    """Counts of encoded rows (EncodedRow)."""
    lengths = np.asarray([len(row.input_ids) for row in encoded], dtype=np.int64)
    positions = np.asarray([len(row.labels) for row in encoded], dtype=np.int64)
    most = np.cumsum(np.sort(positions)[::-1])
    batches = inference_batches(lengths, WINDOW)
    density = max(positions[b].sum() / (len(b) * lengths[b].max()) for b in batches)
    return Counts(
        rows=len(encoded),
        tokens=int(lengths.sum()),
        squares=int((lengths**2).sum()),
        longest=int(lengths.max()),
        positions=int(positions.sum()),
        crowded=[int(most[min(n, len(most)) - 1]) for n in GROUPS],
        density=round(float(density), 4),
    )


def encoded_split(rows: list[dict], split: str, tokenizer, encoding: dict) -> list:
    """Rows as the stages read them: prompts alone of a test split, else joint, cut to the block."""
    if split == "test":
        return encode_prompts(rows, tokenizer)
    return encode_rows(rows, tokenizer, encoding["block_length"], encoding["append_eos"])[0]


@cache
def counts_of(scale: Scale, family: str, corpus: str, split: str) -> Counts:
    """Counts of one split for one family; UserError where there are none.

    From the prepared table with the family's own tokenizer where both are there, else from
    config/token_counts.json, whose tokenizer may differ: `scale.sources` records which.
    """
    settings, encoding = scale.settings, scale.settings["encoding"]
    student, source = settings["families"][family]["student"], f"tokens of {family}/{corpus}"
    prepared = scale.folder("data", corpus, f"{split}.parquet")
    tokenizer = fetched_files(scale.folder("models", student))
    if tokenizer is not None and prepared.with_name("report.json").is_file():
        scale.sources[source] = f"{prepared.parent} with the tokenizer of {student}"
        found = load_tokenizer(tokenizer, settings["families"][family].get("bos", "auto"))
        return count(encoded_split(read_rows(prepared), split, found, encoding))
    real = "world" not in settings["data"]
    known = {
        name: entry
        for name, entry in read_json(SHIPPED).items()
        if (entry["encoding"], entry["real_rows"]) == (encoding, real)
        and split in entry["corpora"].get(corpus, {})
    }
    if not known:
        files = [scale.folder("models", student, "record.json")]
        files += [scale.folder("data", name, "report.json") for name in used(settings)]
        raise UserError(f"no token counts of {corpus}/{split}, {encoding}: {scale.build(*files)}")
    # The family's own tokenizer where it was measured, else the first one.
    name = next((n for n, entry in known.items() if student in entry["models"]), next(iter(known)))
    own = student in known[name]["models"]
    scale.sources[source] = name if own else f"{name}, not the tokenizer of {student}"
    counts = Counts(**known[name]["corpora"][corpus][split])
    # A random subset: of extremes those of all.
    asked = scale.datasets.get(corpus, {}).get("rows", {})
    rows = min(counts.rows, asked.get(split, counts.rows))
    sums = ("tokens", "squares", "positions")
    scaled = {name: round(getattr(counts, name) * rows / counts.rows) for name in sums}
    return replace(counts, rows=rows, **scaled)
