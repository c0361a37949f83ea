"""Table 1 from its cells: a tidy CSV, Markdown and LaTeX."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pandas

from first_distill.errors import UserError
from first_distill.reporting import output
from first_distill.reporting.names import (
    FORMATS,
    HEADLINE,
    LABELS,
    LEVEL_SHOWN,
    OTHER,
    RESAMPLED,
    SECONDARY,
    printed,
)

MARKS = {
    "a": "accuracy not above both the chance and the majority line (its interval reaches them)",
    "b": "the model gives the same answer to every question",
    "c": "the chosen c lies at the edge of the search grid",
    "m": "the candidates hold less than half of the probability: the model would answer otherwise, "
    "and its confidence in a candidate says little",
}
LINES = "n = {n_questions}, chance {chance:.1f}, majority {majority:.1f}"  # of a column
CAPTION = (
    "ECE, accuracy and trust (= accuracy - ECE) in percent, mean over seeds; in parentheses the "
    f"debiased ECE, in brackets the {LEVEL_SHOWN} interval (docs/coverage.md)."
)
SEEDS = "Intervals are for further questions and training seeds."
ONE_TEACHER = (
    "They leave out what training a family's teacher again would change, in its students too: it "
    "is trained once (n_seeds in table1.csv)."
)
ONE_SEED = (
    "One training seed: intervals are for further questions, and leave out what another training "
    "of a model or of its teacher would change."
)
AT_THE_END = (
    "Where the upper end of an ECE equals its value, even a calibrated model would usually measure "
    "more."
)
FIRST = HEADLINE["ece"]  # metric of a column
CHECKS = ["family", "method", "column", "n_seeds", *SECONDARY, "c"]
METERS = ["family", "method", "column", *OTHER]
LEGEND = (
    "In percent, but Brier scores and NLL (nats); a high AUROC is good, of all others a low value. "
    "`_candidates`: of probabilities rescaled to sum to 1 over a question's candidates."
)


def columns(metric: str) -> tuple[str, ...]:
    """Return the columns of table1.csv with a metric and any interval."""
    ends = ("_low", "_high") if metric in RESAMPLED else ()
    return metric, *(metric + end for end in ends)


COLUMNS = [  # percent, except brier and nll (nats); empty where undefined
    *(*LABELS, "n_questions", "n_seeds"),
    *(column for metric in HEADLINE for column in columns(metric)),
    *("ece_debiased", "ece_candidates_debiased"),
    *(f"paper_{metric}" for metric in HEADLINE),
    *(f"{metric}_sd" for metric in HEADLINE),
    *(column for metric in (*SECONDARY, *OTHER) for column in columns(metric)),
    *("chance", "majority", "c", "c_at_edge", "constant_output", "above_chance"),
]


def run(args: argparse.Namespace) -> None:
    """Make Table 1 from its cells, in their order: csv, md, tex."""
    cells = [output.read("cell of Table 1", path, *LABELS, *HEADLINE) for path in args.cells]
    table = pandas.json_normalize(cells, sep="_")
    table = table.rename(columns=lambda name: name.removesuffix("_value")).reindex(columns=COLUMNS)
    cell = ["family", "method", "setting", "benchmark"]
    if table["scale"].nunique() > 1 or table.duplicated(cell).any():
        raise UserError("a cell given twice or several scales: table1: --cells: give each once")
    rows = with_names(table)
    shown = layout(rows, numbers).reset_index()
    below = [f"{name}: {text}" for name, text in notes(rows).items()]
    title, caption = f"Table 1 at scale {rows[0]['scale']}", f"{CAPTION} {left_out(rows)}"
    checks, meters = below_table(rows, CHECKS), below_table(rows, METERS)
    heads = [f"{group}: {name}" if name == FIRST else name or group for group, name in shown]
    main, bullets = output.pipe_table(shown, heads), "- " + "\n- ".join(below)
    parts = [f"# {title}", args.description, caption, main, bullets, "## Checks", checks]
    page = output.page(*parts, "## Other meters", LEGEND, meters)
    tex = latex(shown, f"{title}. {caption} {'; '.join(below)}.")
    output.publish(args.output_prefix, "table1", args.cells, csv=table, md=page, tex=tex)


def below_table(rows: list[dict], names: list[str]) -> str:
    """Return a table of some columns of table1.csv in Markdown, a line a cell."""
    table = pandas.DataFrame(rows, dtype=object)[names]
    return output.pipe_table(table, numbers=[FORMATS.get(name, "z.1f") for name in names])


def latex(shown: pandas.DataFrame, caption: str) -> str:
    """Return the table for LaTeX: a heading over the metrics of each column."""
    n, above, rules = len(HEADLINE), "\n&", ""
    for at, (group, name) in enumerate(shown, start=1):
        if name == FIRST:
            above += rf" & \multicolumn{{{n}}}{{c}}{{{output.escaped(group)}}}"
            rules += rf"\cmidrule(lr){{{at}-{at + n - 1}}}"
    widths = rf"ll*{{{shown.shape[1] - 2}}}{{>{{\raggedright\arraybackslash}}p{{5.6em}}}}"
    whole = shown.map(lambda text: text.replace(", ", ",\N{NO-BREAK SPACE}"))  # intervals
    heads = [name or group for group, name in shown]
    return output.latex_table(whole, widths, caption, heads, rf"{above} \\{rules}")


def left_out(rows: list[dict]) -> str:
    """Return what the intervals are for, and what they leave out."""
    one = {row["n_seeds"] for row in rows} == {1}
    note = ONE_SEED if one else f"{SEEDS} {ONE_TEACHER}"
    equal = any(f"{row['ece']:.1f}" == f"{row['ece_high']:.1f}" for row in rows)
    return f"{note} {AT_THE_END}" if equal else note


def with_names(table: pandas.DataFrame) -> list[dict]:
    """Return table1.csv's rows, None for no value, with printed names, `column` and `marks`."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    for row in rows:
        trained = "" if row["benchmark"] == row["corpus"] else f" ({printed(row['corpus'])})"
        row["column"] = f"{printed(row['benchmark'])} {printed(row['setting'])}{trained}"
        row["marks"] = marks(row)
        row |= {name: printed(row[name]) for name in ("family", "method")}
    return rows


def marks(row: dict) -> str:
    """Return the letters of the warnings that a row carries."""
    little = row["candidate_mass"] < 50  # percent
    on = (not row["above_chance"], row["constant_output"], row["c_at_edge"], little)
    return "".join(mark for mark, there in zip(MARKS, on, strict=True) if there)


def notes(rows: list[dict]) -> dict[str, str]:
    """Return {column: its questions, chance and majority line} and {mark in use: meaning}."""
    used = {mark: text for mark, text in MARKS.items() if any(mark in r["marks"] for r in rows)}
    return {row["column"]: LINES.format(**row) for row in rows} | used


def layout(rows: list[dict], texts: Callable[[dict], dict]) -> pandas.DataFrame:
    """Return Table 1 as a data frame of `texts`, {column: text} of a row of table1.csv."""
    table: dict = {}
    for row in rows:
        for column, text in texts(row).items():
            table.setdefault(column, {})[row["family"], row["method"]] = text
    return pandas.DataFrame(table).fillna(output.MISSING).rename_axis(index=["Family", "Method"])


def numbers(row: dict) -> dict[tuple[str, str], str]:
    """Return {(column, metric): number, interval, marks (of the accuracy), the paper's value}."""
    texts = {}
    for key, name in HEADLINE.items():
        value, low, high, paper = (row[part] for part in (*columns(key), f"paper_{key}"))
        beside = f" ({row['ece_debiased']:z.1f})" if key == "ece" else ""
        text = f"{value:z.1f}{beside} [{low:z.1f}, {high:z.1f}]"
        text += f" {row['marks']}" if key == "accuracy" and row["marks"] else ""
        texts[row["column"], name] = text + ("" if paper is None else f" paper {paper:.1f}")
    return texts
