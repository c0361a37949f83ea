"""Table 1 as text, from the rows of table1.csv: Markdown for a browser, LaTeX for a paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from scripts.first.calibration.intervals import LEVEL, RESAMPLES
from scripts.first.reporting import layout
from scripts.first.reporting.names import (
    HEADLINE,
    SECONDARY,
    SETTINGS,
    dataset_name,
    family_name,
    method_name,
)

if TYPE_CHECKING:
    import pandas

LITTLE_MASS = 50.0  # percent
MARKS = {
    "a": "accuracy not above both the chance and the majority line (its interval reaches them)",
    "b": "the model gives the same answer to every question",
    "c": "the chosen c lies at the edge of the search grid",
    "m": "the candidates hold less than half of the probability: the model would answer otherwise, "
    "and its confidence in a candidate says little",
}
SHARED = {"questions": "n = {n_questions}", "chance": "{chance:.1f}", "majority": "{majority:.1f}"}


class Entry(NamedTuple):
    """How a cell is printed: what follows a number, its marks, its interval, the paper's value."""

    value: str = "{:.1f}"
    marks: str = "{}"
    interval: str = " [{:.1f}, {:.1f}]"
    paper: str = ""

    def __call__(self, row: dict, key: str) -> str:
        """Return one number of a row with what belongs to it; marks stand behind the accuracy."""
        text = self.value.format(row[key])
        if key == "accuracy" and marks(row):
            text += self.marks.format(marks(row))
        text += self.interval.format(row[f"{key}_low"], row[f"{key}_high"])
        paper = row[f"paper_{key}"]
        return text if paper is None else text + self.paper.format(paper)


MARKDOWN = Entry(marks=" `{}`", paper=" *{:.1f}*")
LATEX = Entry(
    marks="$^{{{}}}$",
    interval="\n{{\\tiny {:.1f}--{:.1f}}}",
    paper="\n{{\\tiny\\itshape {:.1f}}}",
)


def marks(row: dict) -> str:
    """Return the letters of the warnings that a row carries."""
    on = {
        "a": not row["above_chance"],
        "b": row["constant_output"],
        "c": row["c_at_edge"],
        "m": row["candidate_mass"] < LITTLE_MASS,
    }
    return "".join(mark for mark in on if on[mark])


def used_marks(rows: Sequence[dict]) -> dict[str, str]:
    """Return the marks that some row carries, with their meaning."""
    seen = "".join(map(marks, rows))
    return {mark: meaning for mark, meaning in MARKS.items() if mark in seen}


def column_name(row: dict) -> str:
    """Return `CSQA in-domain`, or `CSQA out-of-domain (Alpaca)` with the training corpus."""
    trained = "" if row["setting"] == "in_domain" else f" ({dataset_name(row['corpus'])})"
    return f"{dataset_name(row['benchmark'])} {SETTINGS[row['setting']]}{trained}"


def blocks(rows: Sequence[dict], entry: Entry) -> Iterator[tuple[str, pandas.DataFrame]]:
    """Yield each family's name and its part of Table 1 in print.

    Rows: number of questions, chance and majority line (percent), then the methods; columns:
    (name of the column, name of the metric).
    """
    import pandas

    columns = dict.fromkeys((column_name(row), key) for row in rows for key in HEADLINE)
    for family in dict.fromkeys(row["family"] for row in rows):
        texts: dict[tuple[str, str], dict[str, str]] = {column: {} for column in columns}
        for row in (row for row in rows if row["family"] == family):
            for key in HEADLINE:
                own = texts[column_name(row), key]
                for label, form in SHARED.items():
                    own[label] = form.format(**row) if key == "accuracy" else ""
                own[method_name(row["method"])] = entry(row, key)
        yield family_name(family), pandas.DataFrame(texts).fillna(layout.MISSING)


def markdown(rows: Sequence[dict]) -> str:
    """Return the page: a block a family, intervals in brackets, then checks and marks."""
    printed = any(row["paper_ece"] is not None for row in rows)
    paragraphs = [
        f"# Table 1 at scale `{rows[0]['scale']}`",
        "ECE, accuracy and trust (= accuracy - ECE) in percent, mean over seeds; in brackets the "
        f"{LEVEL:.0%} interval (bootstrap over questions, centred on the estimate, {RESAMPLES} "
        "resamples, all seeds of a question kept together)."
        + (" In italics the paper's printed value." if printed else ""),
    ]
    for family, block in blocks(rows, MARKDOWN):
        head = ["Method", *(f"{column}: {HEADLINE[key]}" for column, key in block)]
        paragraphs += [f"## {family}", layout.pipe_table(head, block.itertuples())]
    head = ["Family", "Method", "Column", "Seeds", *(m.printed for m in SECONDARY), "c"]
    checks = [
        [family_name(row["family"]), method_name(row["method"]), column_name(row), row["n_seeds"]]
        + [_secondary(row, metric) for metric in SECONDARY]
        + ["" if row["c"] is None else f"{row['c']:.2f}"]
        for row in rows
    ]
    used = [f"- `{mark}`: {meaning}" for mark, meaning in used_marks(rows).items()]
    paragraphs += ["## Checks", layout.pipe_table(head, checks, left=3)]
    return layout.page(*paragraphs, used and "## Marks", "\n".join(used))


def _secondary(row: dict, metric) -> str:
    numbers = [f"{row[key]:{metric.form}}" for key in metric.columns()]
    return numbers[0] + (f" [{numbers[1]}, {numbers[2]}]" if metric.interval else "")


def latex(rows: Sequence[dict]) -> str:
    """Return a table* in the paper's layout; intervals in small print under each number."""
    lines: list[str] = []
    for family, block in blocks(rows, LATEX):
        names, width = list(dict.fromkeys(column for column, _ in block)), len(block.columns)
        if not lines:
            size = width // len(names)
            titles = [rf"\multicolumn{{{size}}}{{c}}{{{name.split(' (')[0]}}}" for name in names]
            rules = [rf"\cmidrule(lr){{{i}-{i + size - 1}}}" for i in range(2, 2 + width, size)]
            lines += [*layout.latex_rows(["", *titles]), "".join(rules)]
            lines += layout.latex_rows(["Method", *(HEADLINE[key] for _, key in block)])
        title = rf"\textit{{{layout.escape(family)}}}"
        lines += [r"\midrule", rf"\multicolumn{{{1 + width}}}{{l}}{{{title}}} \\"]
        block.index = block.index.map(layout.escape)
        lines += layout.latex_rows(*block.itertuples())
    printed = any(row["paper_ece"] is not None for row in rows)
    caption = (
        f"Table 1 at scale {layout.escape(rows[0]['scale'])}. ECE, accuracy and trust in percent; "
        r"in small print the 95\,\% interval (bootstrap over questions)"
        + (" and, in italics, the value printed in the paper." if printed else ".")
        + "".join(rf" $^{{{mark}}}$: {text}." for mark, text in used_marks(rows).items())
    )
    style = "\\scriptsize\n\\setlength{\\tabcolsep}{2.5pt}"
    return layout.latex_table("l" + "r" * width, lines, caption, style)
