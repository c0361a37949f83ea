"""What a run ends with, in a terminal of 120 columns: the verdicts, Table 1, the page."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from tabulate import tabulate

from first_distill.files import read_json
from first_distill.provenance import records
from first_distill.provenance.lineage import ARTIFACTS
from first_distill.reporting import output
from first_distill.reporting.claims.headline import DOMAINS, FIVE
from first_distill.reporting.names import HEADLINE, LEVEL_SHOWN, printed
from first_distill.reporting.tables.table1 import COLUMNS, LINES, MARKS, columns, layout, with_names

WIDTH, COLUMN = 120, 18  # characters of a line, and of a column
PAGE = "index.html"


def show(args: argparse.Namespace) -> None:
    """Print the verdicts on the five claims, table1.csv and where the results are."""
    rows = with_names(output.read("table1.csv", args.table1, *COLUMNS))
    folder = Path(args.table1).parents[1]
    if (path := folder / "claims.json").exists():
        print(f"{verdicts(read_json(records.verified(path)))}\n")
    print(f"Table 1, scale {rows[0]['scale']}: ECE, accuracy, trust = accuracy - ECE, in %")
    print(table(rows))
    print(*below(rows, folder), sep="\n")


def verdicts(claims: list[dict]) -> str:
    """Return a line for each of the five claims: its verdict and effect in both domains."""
    by_id = {claim["id"]: claim for claim in claims}
    lines = [[text, *(verdict(by_id[name]) for name in names)] for text, names in FIVE.items()]
    heads = ["The paper's claims (effects in points)", *map(printed, DOMAINS)]
    return tabulate(lines, heads, "plain")


def verdict(claim: dict) -> str:
    """Return a verdict with its effect: `holds 12.9`; by design it is no evidence."""
    value = (claim["numbers"] or {}).get("value")
    effect = "" if value is None else f" {value:+z.1f}"
    return f"{claim['verdict']}{effect}{' (by design)' if claim.get('by_design') else ''}"


def table(rows: list[dict]) -> str:
    """Return Table 1 without intervals; the heads of its columns have two lines at most."""
    heads = {row["column"]: textwrap.wrap(row["column"], COLUMN) for row in rows}
    widths = [max(4, len(name)) for name in HEADLINE.values()]
    names = " ".join(f"{name:>4}" for name in HEADLINE.values())

    def brief(row: dict) -> dict:
        first, *rest = heads[row["column"]]
        values = " ".join(f"{row[k]:z{n}.1f}" for k, n in zip(HEADLINE, widths, strict=True))
        return {(first, " ".join(rest), f"{names}   "): f"{values} {row['marks']:2}"}

    lines = layout(rows, brief).to_string(index_names=False).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def below(rows: list[dict], folder: Path) -> list[str]:
    """Return the lines below the table: its questions, intervals, marks, and the results."""
    reach = []
    for key, name in HEADLINE.items():
        half = max(abs(row[key] - row[end]) for row in rows for end in columns(key))
        reach.append(f"{name} ±{half:.1f}")
    one = {row["n_seeds"] for row in rows} == {1}
    seeds = "further questions" if one else "further questions and training seeds"
    lines = {f"{printed(row['benchmark'])}: {LINES.format(**row)}": None for row in rows}
    text = f"{LEVEL_SHOWN} intervals, for {seeds}, reach at most {', '.join(reach)}."
    used = (
        f"{mark}: {text}" for mark, text in MARKS.items() if any(mark in r["marks"] for r in rows)
    )
    return [*textwrap.wrap(f"{text} {'; '.join(lines)}", WIDTH), *used, results(folder)]


def results(folder: Path) -> str:
    """Return the page to open or, without it, what there is and what is missing."""
    if (folder / PAGE).exists():
        return f"Open {folder / PAGE}"
    absent = [name for name in ARTIFACTS if not (folder / name).exists()]
    more = f"; missing: {', '.join(absent)}" if absent else ""
    return f"Results: {folder}/claims.md, tables, figures{more}"
