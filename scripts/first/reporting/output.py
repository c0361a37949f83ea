"""What the commands share: paired options, output files with their record, tables as text."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import atomic_path, write_csv, write_json, write_text
from scripts.first.provenance import records
from scripts.first.provenance.made_by import provenance

MISSING = "–"
ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def paired(args: argparse.Namespace, *names: str) -> list[tuple]:
    """Return the lists of the named options as tuples; UserError when their lengths differ."""
    lists = {f"--{name.replace('_', '-')}": getattr(args, name) for name in names}
    if len({len(values) for values in lists.values()}) > 1:
        counts = ", ".join(f"{len(values)} for {name}" for name, values in lists.items())
        raise UserError(f"lists of unequal length: {args.command}: {counts}: give one of each")
    return list(zip(*lists.values(), strict=True))


def publish(prefix: str, stage: str, made_from: Iterable[str | Path], **contents) -> None:
    """Write prefix.csv, prefix.md, ... with the contents named after them, and their record."""
    writers = {"csv": write_csv, "json": write_json, "pdf": _write_bytes, "png": _write_bytes}
    for kind, content in contents.items():
        writers.get(kind, write_text)(f"{prefix}.{kind}", content)
    files = [f"{Path(prefix).name}.{kind}" for kind in contents]
    records.write(prefix + records.SUFFIX, {"provenance": provenance(stage)}, files, made_from)


def _write_bytes(path: str, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


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
