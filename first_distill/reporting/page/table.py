"""Table 1 as the page shows it: a table a family, a row a method, one link a cell."""

from __future__ import annotations

import re

import pandas

from first_distill.reporting.names import HEADLINE, printed
from first_distill.reporting.tables.table1 import columns, with_names

STEP = 5  # percent: plots end at a multiple


def end_of_plots(table: pandas.DataFrame) -> float:
    """Return where the plots of the ECE end, in percent: at or above all of its intervals."""
    high = table[["ece_high", "paper_ece"]].max().max()
    return STEP * -(-high // STEP)


def families(table: pandas.DataFrame, end: float) -> list[dict]:
    """Return {name, rows} of each family; a row: {name, cells}, a cell in each column or None.

    table: table1.csv. A cell has `id`, `place` (its file, in parts), `name`, `values` by metric,
    `marks`, and `plot` (of its ECE).
    """
    raw = table.to_dict("records")
    found: dict[str, dict[str, dict]] = {}
    for own, row in zip(raw, with_names(table), strict=True):
        methods = found.setdefault(row["family"], {})
        methods.setdefault(row["method"], {})[row["column"]] = cell(own, row, end)
    every = list(dict.fromkeys(row["column"] for row in with_names(table)))
    return [
        {
            "name": family,
            "rows": [
                {"name": method, "cells": [own.get(column) for column in every]}
                for method, own in methods.items()
            ],
        }
        for family, methods in found.items()
    ]


def paper_means(paper: pandas.DataFrame, table: pandas.DataFrame) -> dict[tuple, dict[str, str]]:
    """Return the paper's values, its families averaged: {(method, column): {ece, ..}}, as printed.

    paper: paper_table1.csv. For columns of table1.csv alone.
    """
    own = {(r["setting"], r["benchmark"]): r["column"] for r in with_names(table)}
    means = paper.groupby(["method", "setting", "benchmark"], sort=False)[[*HEADLINE]].mean()
    return {
        (printed(method), own[tuple(column)]): {key: number(values[key]) for key in HEADLINE}
        for (method, *column), values in means.iterrows()
        if tuple(column) in own
    }


def printed_rows(means: dict[tuple, dict], table: pandas.DataFrame) -> list[dict]:
    """Return the paper's own table of `paper_means`: {name, cells}, a cell in each column or None.

    For a scale of other families on the paper's benchmarks: [] where the paper prints the scale's
    own families, and where they share no column.
    """
    if table["paper_ece"].notna().any():
        return []
    every = dict.fromkeys(row["column"] for row in with_names(table))
    return [
        {"name": method, "cells": [means.get((method, column)) for column in every]}
        for method in dict.fromkeys(method for method, _ in means)
    ]


def cell(raw: dict, row: dict, end: float) -> dict:
    """Return what the table shows of one row of table1.csv."""
    words = [str(raw[name]) for name in ("family", "method", "setting", "benchmark")]
    values = {}
    for key, name in HEADLINE.items():
        value, low, high = (row[part] for part in columns(key))
        shown = {"name": name, "value": number(value), "paper": number(row[f"paper_{key}"])}
        values[key] = shown | {"interval": f"[{number(low)}, {number(high)}]"}
    return {
        "id": "cell-" + re.sub(r"[^\w-]+", "-", "-".join(words)),
        "place": f"tables/table1/cells/{words[0]}/{words[1]}/{words[2]}-{words[3]}.json",
        "family": row["family"],
        "method": row["method"],
        "column": row["column"],
        "values": values,
        "marks": row["marks"],
        "plot": plot(*(row[part] for part in columns("ece")), 0, end, row["paper_ece"]),
    }


def number(value: float | None) -> str | None:
    """Return a number with one decimal and a true minus; None for none."""
    return None if value is None else f"{value:z.1f}".replace("-", "\N{MINUS SIGN}")


def plot(value, low, high, start: float, end: float, other: float | None = None) -> dict:
    """Return places on a line from start to end, in percent of its length."""
    places = {"value": value, "low": low, "high": high, "other": other}
    return {
        name: None if at is None else round(min(100, max(0, 100 * (at - start) / (end - start))), 1)
        for name, at in places.items()
    }
