"""Tables as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MISSING = "–"
ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


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


def latex_row(cells: Iterable[str]) -> str:
    """Return one line of a LaTeX table."""
    return " & ".join(cells) + r" \\"


def latex_table(columns: str, lines: Sequence[str], caption: str, style: str) -> str:
    """Return a table* that needs only booktabs."""
    begin = [r"% needs \usepackage{booktabs}", r"\begin{table*}[t]", rf"\centering{style}"]
    begin += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table*}"]
    return "\n".join([*begin, *lines, *end]) + "\n"
