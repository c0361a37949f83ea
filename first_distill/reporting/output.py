"""What the commands share: paired options, output files with their record, tables as text."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from first_distill.errors import UserError
from first_distill.files import atomic_path, read_csv, write_csv, write_json, write_text
from first_distill.provenance import records
from first_distill.provenance.made_by import provenance

MISSING = "–"
escaped = partial(re.compile(r"([&%$#_{}])").sub, r"\\\1")  # text for LaTeX


def paired(args: argparse.Namespace, *names: str) -> list[tuple]:
    """Return the lists of the named options as tuples; UserError when their lengths differ."""
    lists = {f"--{name.replace('_', '-')}": getattr(args, name) for name in names}
    if len({len(values) for values in lists.values()}) > 1:
        counts = ", ".join(f"{len(values)} for {name}" for name, values in lists.items())
        raise UserError(f"lists of unequal length: {args.command}: {counts}: give one of each")
    return list(zip(*lists.values(), strict=True))


def read(kind: str, path: str | Path, *names: str) -> Any:
    """Return a record, or a CSV file's data frame; UserError where it lacks one of `names`."""
    own = {"dtype": {"rank": str}}  # a rank may be 2-5
    content = read_csv(records.verified(path), **own) if ".csv" in kind else records.read(path)
    if missing := [name for name in names if name not in content]:
        raise UserError(f"not a {kind}: {path}: name a {kind} (this one has no {missing[0]!r})")
    return content


def publish(prefix: str, stage: str, made_from: Iterable[str | Path], **contents) -> None:
    """Write prefix.csv, prefix.md, ... with the contents named after them, and their record."""
    csv = partial(write_csv, floats="%.6f")
    writers = {"csv": csv, "json": write_json}
    for kind, content in contents.items():
        plain = _write_bytes if isinstance(content, bytes) else write_text
        writers.get(kind, plain)(f"{prefix}.{kind}", content)
    files = [f"{Path(prefix).name}.{kind}" for kind in contents]
    records.write(prefix + records.SUFFIX, {"provenance": provenance(stage)}, files, made_from)


def _write_bytes(path: str, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def pipe_table(rows: object, head: object = "keys", numbers: object = "z.1f") -> str:
    """Return a Markdown table of tabulate's `rows`; numbers: a format of all columns or of each."""
    return tabulate(rows, head, "pipe", floatfmt=numbers, missingval=MISSING, showindex=False)


def page(*paragraphs: str) -> str:
    """Return the paragraphs that are not empty, with blank lines between them."""
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def latex_table(rows: object, columns: str, caption: str, head="keys", above: str = "") -> str:
    """Return a table* of a data frame or dicts, their text escaped, with LaTeX `above` the head."""
    body = tabulate(rows, head, "latex_booktabs", floatfmt="z.1f", showindex=False)
    begin = [r"% needs \usepackage{array,booktabs,graphicx}", r"\begin{table*}[t]"]
    begin += [r"\centering\small\setlength{\tabcolsep}{3pt}"]
    # Shrunk to the width of the text where it is wider.
    begin += [r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"]
    begin += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule" + above]
    end = [body.partition("\\toprule\n")[2] + "}", rf"\caption{{{escaped(caption)}}}"]
    return "\n".join([*begin, *end, r"\end{table*}", ""])
