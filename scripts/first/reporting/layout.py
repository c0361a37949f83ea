"""Tables as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

MISSING = "–"
ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def number(value: float | None, form: str = ".1f") -> str:
    """Return a number in print, a dash where there is none."""
    return MISSING if value is None else format(value, form)


def pipe_table(head: Sequence[str], rows: Iterable[Sequence], left: int = 1) -> str:
    """Return a Markdown table whose first `left` columns are left-aligned, the others right."""
    from tabulate import tabulate

    align = ["left"] * left + ["right"] * (len(head) - left)
    return tabulate(rows, head, "pipe", disable_numparse=True, colalign=align)


def page(*paragraphs: str) -> str:
    """Return the paragraphs that are not empty, with blank lines between them."""
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def escape(text: str) -> str:
    """Return text with the characters that LaTeX gives a meaning escaped."""
    return text.translate(str.maketrans(ESCAPES))


def stacked(cells: Iterable[str]) -> list[tuple[str, ...]]:
    """Return a row of cells of several lines as rows of one line each."""
    return list(zip_longest(*(cell.split("\n") for cell in cells), fillvalue=""))


def latex_rows(*rows: Iterable[str]) -> list[str]:
    """Return the lines of a LaTeX table; a row takes as many as its tallest cell has."""
    return [" & ".join(line) + r" \\" for row in rows for line in stacked(row)]


def latex_table(columns: str, lines: Sequence[str], caption: str, style: str) -> str:
    """Return a table* that needs only booktabs."""
    begin = [r"% needs \usepackage{booktabs}", r"\begin{table*}[t]", rf"\centering{style}"]
    begin += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table*}"]
    return "\n".join([*begin, *lines, *end]) + "\n"
