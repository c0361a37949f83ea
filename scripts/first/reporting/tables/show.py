"""Table 1 in the terminal, from table1.csv, and the list of finished files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from scripts.first.files import read_csv
from scripts.first.provenance import records
from scripts.first.provenance.lineage import ARTIFACTS
from scripts.first.reporting import layout
from scripts.first.reporting.names import HEADLINE
from scripts.first.reporting.tables.table1_text import Entry, blocks, used_marks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts show`."""
    parser.add_argument("--table1", required=True, help="table1.csv")
    parser.add_argument("--intervals", action="store_true", help="a line of intervals a row")


def run(args: argparse.Namespace) -> None:
    """Print table1.csv and where the other results are."""
    table = read_csv(records.verified(args.table1))
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    print(terminal(rows, args.intervals))
    print("\nFiles:")
    for path in (Path(args.table1).parents[1] / name for name in ARTIFACTS):
        print(f"  {path}" + ("" if path.exists() else "  (missing)"))


def terminal(rows: Sequence[dict], intervals: bool = False) -> str:
    """Return the table as text; the marks of a cell follow its accuracy."""
    from tabulate import tabulate

    size, wide = len(HEADLINE), 10 if intervals else 8

    def joined(texts: Sequence[str]) -> list[str]:
        padded = [f"{text:<{wide}}" for text in texts]
        return ["".join(padded[i : i + size]) for i in range(0, len(padded), size)]

    entry = Entry(value="{:5.1f}", interval="\n{:.1f}-{:.1f}" if intervals else "")
    out = [f"Table 1, scale {rows[0]['scale']}: ECE, accuracy, trust = accuracy - ECE, in %"]
    for family, block in blocks(rows, entry):
        names = dict.fromkeys(column for column, _ in block)
        metrics = joined([f"  {HEADLINE[key]}" for _, key in block])
        head = [f"{name}\n{texts}" for name, texts in zip(names, metrics, strict=True)]
        lines = [
            [label, *joined(texts)]
            for row in block.itertuples()
            for label, *texts in layout.stacked(row)
        ]
        out.append(
            tabulate(lines, [family, *head], disable_numparse=True, preserve_whitespace=True)
        )
    reach = []
    for key, name in HEADLINE.items():
        half = max(abs(row[key + end] - row[key]) for row in rows for end in ("_low", "_high"))
        reach.append(f"{name} ±{half:.1f}")
    notes = [f"95 % intervals (bootstrap over questions) reach at most {', '.join(reach)}."]
    notes += [f"{mark}: {meaning}" for mark, meaning in used_marks(rows).items()]
    return "\n\n".join([*out, "\n".join(notes)])
