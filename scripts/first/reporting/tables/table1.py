"""Table 1 from its cells: a tidy CSV, a Markdown page and a LaTeX table in the paper's layout."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import read_csv, write_csv, write_text
from scripts.first.provenance import records
from scripts.first.reporting.names import METHODS
from scripts.first.reporting.sealing import TABLE, seal
from scripts.first.reporting.tables.table1_terminal import terminal
from scripts.first.reporting.tables.table1_text import latex, markdown

LABELS = ["scale", "family", "method", "setting", "corpus", "benchmark"]
HEADLINE = ["ece", "accuracy", "trust"]
PLAIN = ["adaptive_ece", "brier", "nll", "ece_candidates", "trust_candidates", "candidate_mass"]
FLAGS = ["c_at_edge", "constant_output", "above_chance"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts table1`."""
    parser.add_argument("--cells", nargs="+", required=True, help="the cells' JSON files")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="order of the rows")
    parser.add_argument("--output-prefix", required=True, help="path without .csv, .md, .tex")


def run(args: argparse.Namespace) -> None:
    """Write prefix.csv, prefix.md, prefix.tex and their record."""
    import pandas

    cells = arrange([records.read(path) for path in args.cells], args.methods)
    write_csv(args.output_prefix + ".csv", pandas.DataFrame([row(cell) for cell in cells]))
    write_text(args.output_prefix + ".md", markdown(cells))
    write_text(args.output_prefix + ".tex", latex(cells))
    seal(args.output_prefix, "table1", TABLE, args.cells)


def arrange(cells: list[dict], methods: list[str]) -> list[dict]:
    """Return the cells by family, method and column; families and columns in order of appearance.

    Raises UserError for two cells with one label, several scales or a method not in `methods`.
    """
    scales = {cell["scale"] for cell in cells}
    if len(scales) != 1:
        raise UserError(f"cells of scales {', '.join(sorted(scales))}: table1: give one scale")
    unknown = sorted({cell["method"] for cell in cells} - set(methods))
    if unknown:
        raise UserError(f"method {unknown[0]}: table1: not among --methods {' '.join(methods)}")
    families = list(dict.fromkeys(cell["family"] for cell in cells))
    columns = columns_of(cells)

    def place(cell: dict) -> tuple[int, int, int]:
        return (
            families.index(cell["family"]),
            methods.index(cell["method"]),
            columns.index((cell["setting"], cell["corpus"], cell["benchmark"])),
        )

    ordered = sorted(cells, key=place)
    for one, two in pairwise(ordered):
        if place(one) == place(two):
            name = " ".join(one[label] for label in LABELS)
            raise UserError(f"cell given twice: {name}: list each cell once")
    return ordered


def columns_of(cells: list[dict]) -> list[tuple[str, str, str]]:
    """Return (setting, corpus, benchmark) in order of appearance, in-domain first."""
    seen = dict.fromkeys((c["setting"], c["corpus"], c["benchmark"]) for c in cells)
    return sorted(seen, key=lambda column: column[0] != "in_domain")


def row(cell: dict) -> dict:
    """Return a cell as one tidy row of table1.csv (percent, except brier and nll)."""
    paper = cell["paper"] or {}
    flat = {label: cell[label] for label in LABELS}
    flat |= {"n_questions": cell["n_questions"], "n_seeds": cell["n_seeds"]}
    for name in HEADLINE:
        flat[name] = cell[name]["value"]
        flat[f"{name}_low"], flat[f"{name}_high"] = cell[name]["low"], cell[name]["high"]
    flat |= {f"paper_{name}": paper.get(name) for name in HEADLINE}
    flat |= {f"{name}_sd": cell[name]["sd"] for name in HEADLINE}
    flat |= {"confidence": cell["confidence"]["value"], "gap": cell["gap"]["value"]}
    flat |= {"gap_low": cell["gap"]["low"], "gap_high": cell["gap"]["high"]}
    flat |= {name: cell[name]["value"] for name in PLAIN}
    flat |= {name: cell[name] for name in ("chance", "majority", "c", *FLAGS)}
    return flat


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts show`."""
    parser.add_argument("--table1", required=True, help="table1.csv")
    parser.add_argument("--files", nargs="*", default=[], help="finished files to point at")
    parser.add_argument("--intervals", action="store_true", help="a line of intervals a row")


def show(args: argparse.Namespace) -> None:
    """Print table1.csv for a terminal, and where the other results lie."""
    print(terminal(read_csv(records.verified(args.table1)), args.intervals))
    if args.files:
        print("\nFiles:")
    for path in args.files:
        print(f"  {path}" + ("" if Path(path).exists() else "  (missing)"))
