"""Table 1 for a terminal: plain columns, made from table1.csv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.first.reporting.names import (
    METRICS,
    SETTINGS,
    dataset_name,
    family_name,
    method_name,
)
from scripts.first.reporting.tables.table1_text import FLAG_TEXT, flags

if TYPE_CHECKING:
    import pandas

LABEL = 26  # characters of the first column


def terminal(table: pandas.DataFrame, intervals: bool = False) -> str:
    """Return the table as text; a number's marks (FLAG_TEXT) stand behind its accuracy."""
    records = table.to_dict("records")
    columns = list(dict.fromkeys(_column(r) for r in records))
    columns.sort(key=lambda column: column[0] != "in_domain")
    marks = sorted(set("".join(map(_row_flags, records))))
    wide = 10 if intervals else 6
    pad = max(len(_row_flags(r)) for r in records)
    group = 3 * wide + pad + 2
    names = [f"{dataset_name(benchmark)} {SETTINGS[setting]}" for setting, _, benchmark in columns]
    title = f"{'ECE':>{wide}}{'Acc':>{wide}}{'':{pad}}{'Trust':>{wide}}"
    out = [f"Table 1, scale {records[0]['scale']}: ECE, accuracy, trust = accuracy - ECE, in %"]
    for family in dict.fromkeys(r["family"] for r in records):
        rows = [r for r in records if r["family"] == family]
        at = {(r["method"], *_column(r)): r for r in rows}
        any_row = [next((r for r in rows if _column(r) == c), None) for c in columns]
        lines = [f"{r['chance']:.1f} / {r['majority']:.1f}" if r else "" for r in any_row]
        counts = [f"n = {r['n_questions']}" if r else "" for r in any_row]
        out += ["", family_name(family).ljust(LABEL) + "".join(f"{n:>{group}}" for n in names)]
        out += [" " * LABEL + "".join(f"{title:>{group}}" for _ in columns)]
        out += [_indented("chance / majority") + "".join(f"{text:>{group}}" for text in lines)]
        out += [_indented("questions") + "".join(f"{text:>{group}}" for text in counts)]
        for method in dict.fromkeys(r["method"] for r in rows):
            found = [at.get((method, *column)) for column in columns]
            out += [_indented(method_name(method)) + "".join(_values(r, wide, pad) for r in found)]
            if intervals:
                out += [" " * LABEL + "".join(_ranges(r, wide, pad) for r in found)]
    reach = [
        f"{name} ±{max(abs(r[m + end] - r[m]) for r in records for end in ('_low', '_high')):.1f}"
        for m, name in METRICS.items()
    ]
    out += ["", f"95 % intervals (bootstrap over questions) reach at most {', '.join(reach)}."]
    return "\n".join([*out, *[f"{mark}: {FLAG_TEXT[mark]}" for mark in marks]])


def _column(row: dict) -> tuple[str, str, str]:
    return (row["setting"], row["corpus"], row["benchmark"])


def _indented(text: str) -> str:
    return f"  {text}".ljust(LABEL)


def _values(row: dict | None, wide: int, pad: int) -> str:
    ece, accuracy, trust = (f"{row[name]:.1f}" if row else "-" for name in METRICS)
    mark = _row_flags(row) if row else ""
    return f"  {ece:>{wide}}{accuracy:>{wide}}{mark:<{pad}}{trust:>{wide}}"


def _ranges(row: dict | None, wide: int, pad: int) -> str:
    spans = [f"{row[m + '_low']:.1f}-{row[m + '_high']:.1f}" if row else "" for m in METRICS]
    return f"  {spans[0]:>{wide}}{spans[1]:>{wide}}{'':{pad}}{spans[2]:>{wide}}"


def _row_flags(row: dict) -> str:
    # pandas reads a column of True, False and blanks as objects, and blanks as NaN.
    return flags({**row, "c_at_edge": str(row["c_at_edge"]) in ("True", "1.0")})
