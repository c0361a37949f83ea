"""How many tokens each corpus has: counted on prepared data, else from config/token_counts.json.

A plan needs sums and extremes of a split's encoded rows, not the rows. `python -m
benchmarks.token_counts` counts them with a real tokenizer and writes the file, which says how.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scripts.first.errors import UserError
from scripts.first.files import read_json
from scripts.first.plan.architecture import ROOT, fetched_files
from scripts.first.provenance.records import record_beside

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
    crowded: tuple[int, ...]
    density: float
    source: str = ""

    def scaled(self, rows: int | None) -> Counts:
        """The counts of a random subset of so many rows (extremes are kept); None keeps all."""
        if rows is None or rows >= self.rows:
            return self
        share = rows / self.rows
        sums = {n: round(getattr(self, n) * share) for n in ("tokens", "squares", "positions")}
        return replace(self, rows=rows, **sums)

    def positions_of(self, rows: int) -> int:
        """At most so many supervised positions in any batch of `rows` rows."""
        rows = min(rows, self.rows)
        for size, positions in zip(GROUPS, self.crowded, strict=True):
            if size >= rows:
                return min(positions, rows * self.crowded[0])
        return round(self.crowded[-1] * rows / GROUPS[-1])


def count(encoded: list, source: str = "") -> Counts:
    """Counts of encoded rows (EncodedRow)."""
    from scripts.first.models.batching import inference_batches

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
        crowded=tuple(int(most[min(n, len(most)) - 1]) for n in GROUPS),
        density=round(float(density), 4),
        source=source,
    )


def encoded_split(rows: list[dict], split: str, tokenizer, encoding: dict) -> list:
    """Rows as the stages read them: prompts alone of a test split, else joint, cut to the block."""
    from scripts.first.models.encoding import encode_prompts, encode_rows

    if split == "test":
        return encode_prompts(rows, tokenizer)
    return encode_rows(rows, tokenizer, encoding["block_length"], encoding["append_eos"])[0]


def counts_of(scale: str, family: str, corpus: str, split: str, settings: dict, results: Path):
    """Counts of one split for one family; UserError where nothing is known of it.

    From the prepared table with the family's own tokenizer where both are there, else from
    config/token_counts.json, whose tokenizer may be another: `source` says which it was.
    """
    prepared = results / scale / "data" / corpus / f"{split}.parquet"
    student = settings["families"][family]["student"]
    tokenizer = fetched_files(results / scale / "models" / student)
    if record_beside(prepared) and prepared.is_file() and tokenizer is not None:
        source = f"{prepared.parent} with the tokenizer of {student}"
        return _prepared(prepared, tokenizer, tuple(settings["encoding"].items()), source)
    table = read_json(SHIPPED)
    known = {name: entry for name, entry in table.items() if _fits(entry, student, settings)}
    if not known:
        raise UserError(
            f"no token counts for {settings['encoding']}: scale {scale}: prepare the data first "
            f"(snakemake -c2 results/{scale}/tables/data_report.csv) or run "
            "python -m benchmarks.token_counts"
        )
    # The family's own tokenizer where it was measured, else the first one of real rows.
    name = next((n for n, e in known.items() if student in e["models"]), next(iter(known)))
    entry = table[name]
    if corpus not in entry["corpora"] or split not in entry["corpora"][corpus]:
        raise UserError(f"no token counts of {corpus}/{split}: {SHIPPED.name}, {name}: measure it")
    own = "" if student in entry["models"] else f", not the tokenizer of {student}"
    values = entry["corpora"][corpus][split]
    counts = Counts(**{**values, "crowded": tuple(values["crowded"])}, source=f"{name}{own}")
    return counts.scaled(settings["data"]["datasets"][corpus].get(f"max_{split}_rows"))


def _fits(entry: dict, student: str, settings: dict) -> bool:
    """Whether counts were made with this encoding, and on rows of this kind (real or generated)."""
    real = settings["data"]["source"] != "world"
    return entry["encoding"] == settings["encoding"] and entry["real_rows"] == real


_cache: dict = {}


def _prepared(path: Path, folder: Path, encoding: tuple, source: str) -> Counts:
    """Counts of a prepared table; each is counted once a process."""
    from scripts.first.data.rows import read_rows
    from scripts.first.models.tokenizer import load_tokenizer

    key = (path, folder, encoding)
    if key not in _cache:
        rows = encoded_split(read_rows(path), path.stem, load_tokenizer(folder), dict(encoding))
        _cache[key] = count(rows, source)
    return _cache[key]
