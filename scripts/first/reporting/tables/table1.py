"""Table 1 from its cells: a tidy CSV, a Markdown page and a LaTeX table in the paper's layout."""

from __future__ import annotations

import argparse
from collections import Counter

from scripts.first.errors import UserError
from scripts.first.files import write_csv, write_text
from scripts.first.provenance import records
from scripts.first.provenance.made_by import TABLE, seal
from scripts.first.reporting.names import HEADLINE, METHODS, METRICS, SECONDARY, Metric
from scripts.first.reporting.tables.table1_text import latex, markdown

LABELS = ("scale", "family", "method", "setting", "corpus", "benchmark")
SHARED = ("chance", "majority", "c", "c_at_edge", "constant_output", "above_chance")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts table1`."""
    parser.add_argument("--cells", nargs="+", required=True, help="the cells' JSON files")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="order of the rows")
    parser.add_argument("--output-prefix", required=True, help="path without .csv, .md, .tex")


def run(args: argparse.Namespace) -> None:
    """Write prefix.csv, prefix.md, prefix.tex and their record."""
    import pandas

    rows = arrange([row(records.read(path)) for path in args.cells], args.methods)
    write_csv(args.output_prefix + ".csv", pandas.DataFrame(rows))
    write_text(args.output_prefix + ".md", markdown(rows))
    write_text(args.output_prefix + ".tex", latex(rows))
    seal(args.output_prefix, "table1", TABLE, args.cells)


def arrange(rows: list[dict], methods: list[str]) -> list[dict]:
    """Return the rows by family, method and column, in-domain first, else in order of appearance.

    Raises UserError for two cells with one label, several scales or a method not in `methods`.
    """
    scales = sorted({row["scale"] for row in rows})
    if len(scales) != 1:
        raise UserError(f"cells of scales {', '.join(scales)}: table1: give one scale")
    unknown = sorted({row["method"] for row in rows} - set(methods))
    if unknown:
        raise UserError(f"method {unknown[0]}: table1: not among --methods {' '.join(methods)}")
    labels = Counter(" ".join(row[label] for label in LABELS) for row in rows)
    label, count = labels.most_common(1)[0]
    if count > 1:
        raise UserError(f"cell given twice: {label}: list each cell once")
    families = [row["family"] for row in rows]
    columns = [(row["corpus"], row["benchmark"]) for row in rows]
    return sorted(
        rows,
        key=lambda row: (
            families.index(row["family"]),
            methods.index(row["method"]),
            row["setting"] != "in_domain",
            columns.index((row["corpus"], row["benchmark"])),
        ),
    )


def row(cell: dict) -> dict:
    """Return a cell as one tidy row of table1.csv (percent, except brier and nll)."""

    def numbers(metric: Metric) -> dict:
        return {
            column: cell[metric.key][name]
            for column, name in zip(metric.columns(), ("value", "low", "high"), strict=False)
        }

    flat = {label: cell[label] for label in (*LABELS, "n_questions", "n_seeds")}
    for metric in METRICS:
        flat |= numbers(metric) if metric.headline else {}
    flat |= {f"paper_{key}": (cell["paper"] or {}).get(key) for key in HEADLINE}
    flat |= {f"{key}_sd": cell[key]["sd"] for key in HEADLINE}
    for metric in SECONDARY:
        flat |= numbers(metric)
    return flat | {name: cell[name] for name in SHARED}
