"""What the commands share: paired options, output files with their record, tables as text."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from tabulate import tabulate

from scripts.first.errors import UserError
from scripts.first.files import atomic_path, write_csv, write_json, write_text
from scripts.first.provenance import records
from scripts.first.provenance.made_by import provenance

MISSING = "–"


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


def pipe_table(rows: object, head: object = "keys", numbers: object = ".1f") -> str:
    """Return a Markdown table of tabulate's `rows`; numbers: a format of all columns or of each."""
    return tabulate(rows, head, "pipe", floatfmt=numbers, missingval=MISSING, showindex=False)


def page(*paragraphs: str) -> str:
    """Return the paragraphs that are not empty, with blank lines between them."""
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def latex_table(rows: object, columns: str, caption: str, size: str) -> str:
    """Return a table* of a data frame or of dicts; text may hold what LaTeX gives a meaning."""
    body = tabulate(rows, "keys", "latex_booktabs", floatfmt=".1f", showindex=False)
    begin = [r"% needs \usepackage{booktabs}", r"\begin{table*}[t]", rf"\centering{size}"]
    begin += [rf"\begin{{tabular}}{{{columns}}}", body.partition("\n")[2]]
    caption = re.sub(r"([&%$#_{}])", r"\\\1", caption)
    return "\n".join([*begin, rf"\caption{{{caption}}}", r"\end{table*}", ""])
