"""Table 1 from its cells: a tidy CSV, Markdown, LaTeX in the paper's layout, and the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from scripts.first.calibration.intervals import LEVEL, RESAMPLES
from scripts.first.errors import UserError
from scripts.first.files import read_csv
from scripts.first.provenance import records
from scripts.first.provenance.lineage import ARTIFACTS
from scripts.first.reporting import output
from scripts.first.reporting.names import HEADLINE, LABELS, METRICS, SECONDARY, Metric, printed

COMMON = ("chance", "majority", "c", "c_at_edge", "constant_output", "above_chance")
LITTLE_MASS = 50.0  # percent
MARKS = {
    "a": "accuracy not above both the chance and the majority line (its interval reaches them)",
    "b": "the model gives the same answer to every question",
    "c": "the chosen c lies at the edge of the search grid",
    "m": "the candidates hold less than half of the probability: the model would answer otherwise, "
    "and its confidence in a candidate says little",
}
SHARED = {"questions": "n = {n_questions}", "chance": "{chance:.1f}", "majority": "{majority:.1f}"}


def run(args: argparse.Namespace) -> None:
    """Write prefix.csv, prefix.md, prefix.tex and their record."""
    import pandas

    rows = arrange([row(records.read(path)) for path in args.cells], args.methods)
    texts = {"csv": pandas.DataFrame(rows), "md": markdown(rows), "tex": latex(rows)}
    output.publish(args.output_prefix, "table1", args.cells, **texts)


def show(args: argparse.Namespace) -> None:
    """Print table1.csv and where the other results are."""
    table = read_csv(records.verified(args.table1))
    print(terminal(table.astype(object).where(table.notna(), None).to_dict("records")))
    print("\nFiles:")
    for path in (Path(args.table1).parents[1] / name for name in ARTIFACTS):
        print(f"  {path}" + ("" if path.exists() else "  (missing)"))


def arrange(rows: list[dict], methods: list[str]) -> list[dict]:
    """Return the rows by family, method and column, in-domain first, else in order of appearance.

    Raises UserError for a method not in `methods`.
    """
    if unknown := {row["method"] for row in rows} - set(methods):
        raise UserError(f"method {min(unknown)}: table1: not among --methods {' '.join(methods)}")
    families = [row["family"] for row in rows]
    rows = sorted(rows, key=lambda row: row["setting"] != "in_domain")
    rows = sorted(rows, key=lambda row: methods.index(row["method"]))
    return sorted(rows, key=lambda row: families.index(row["family"]))


def row(cell: dict) -> dict:
    """Return a cell as one tidy row of table1.csv (percent, except brier and nll)."""

    def numbers(metrics: Iterable[Metric]) -> dict:
        return {c: cell[m.key][part] for m in metrics for c, part in m.columns().items()}

    return {
        **{name: cell[name] for name in (*LABELS, "n_questions", "n_seeds")},
        **numbers(metric for metric in METRICS if metric.headline),
        **{f"paper_{key}": (cell["paper"] or {}).get(key) for key in HEADLINE},
        **{f"{key}_sd": cell[key]["sd"] for key in HEADLINE},
        **numbers(SECONDARY),
        **{name: cell[name] for name in COMMON},
    }


class Entry(NamedTuple):
    """How a number is printed: with its interval, its marks, and the paper's value."""

    number: str
    marks: str
    paper: str = ""

    def __call__(self, row: dict, key: str) -> str:
        """Return one number of a row with what belongs to it; marks stand behind the accuracy."""
        letters = marks(row) if key == "accuracy" else ""
        ends = {"low": row[f"{key}_low"], "high": row[f"{key}_high"]}
        text = self.number.format(row[key], letters and self.marks.format(letters), **ends)
        paper = row[f"paper_{key}"]
        return text if paper is None else text + self.paper.format(paper)


MARKDOWN = Entry("{:.1f}{} [{low:.1f}, {high:.1f}]", " `{}`", " *{:.1f}*")
LATEX = Entry(
    r"{:.1f}{}\\{{\tiny {low:.1f}--{high:.1f}}}", "$^{{{}}}$", r"\\{{\tiny\itshape {:.1f}}}"
)
TERMINAL = Entry("{:5.1f}{}", "{}")


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
    trained = "" if row["setting"] == "in_domain" else f" ({printed(row['corpus'])})"
    return f"{printed(row['benchmark'])} {printed(row['setting'])}{trained}"


def blocks(rows: Sequence[dict], entry: Entry):
    """Yield each family's printed name and its part of Table 1, a data frame of text.

    Rows: number of questions, chance and majority line (percent), then the methods; columns:
    (name of the column, name of the metric).
    """
    import pandas

    columns = dict.fromkeys((column_name(row), name) for row in rows for name in HEADLINE.values())
    for family in dict.fromkeys(row["family"] for row in rows):
        texts: dict[tuple[str, str], dict[str, str]] = {column: {} for column in columns}
        for row in (row for row in rows if row["family"] == family):
            for key, name in HEADLINE.items():
                own = texts[column_name(row), name]
                for label, form in SHARED.items():
                    own[label] = form.format(**row) if key == "accuracy" else ""
                own[printed(row["method"])] = entry(row, key)
        yield printed(family), pandas.DataFrame(texts).fillna(output.MISSING)


def markdown(rows: Sequence[dict]) -> str:
    """Return the page: a block a family, intervals in brackets, then checks and marks."""
    paragraphs = [
        f"# Table 1 at scale `{rows[0]['scale']}`",
        "ECE, accuracy and trust (= accuracy - ECE) in percent, mean over seeds; in brackets the "
        f"{LEVEL:.0%} interval (bootstrap over questions, centred on the estimate, {RESAMPLES} "
        "resamples, all seeds of a question kept together). In italics the paper's printed value, "
        "at the paper's scale.",
    ]
    for family, block in blocks(rows, MARKDOWN):
        head = ["Method", *map(": ".join, block)]
        paragraphs += [f"## {family}", output.pipe_table(head, block.itertuples())]
    head = ["Family", "Method", "Column", "Seeds", *(m.name for m in SECONDARY), "c"]
    checks = [
        [printed(row["family"]), printed(row["method"]), column_name(row), row["n_seeds"]]
        + [_secondary(row, metric) for metric in SECONDARY]
        + ["" if row["c"] is None else f"{row['c']:.2f}"]
        for row in rows
    ]
    used = [f"- `{mark}`: {meaning}" for mark, meaning in used_marks(rows).items()]
    paragraphs += ["## Checks", output.pipe_table(head, checks, left=3)]
    return output.page(*paragraphs, used and "## Marks", "\n".join(used))


def _secondary(row: dict, metric: Metric) -> str:
    value, *ends = (f"{row[column]:{metric.form}}" for column in metric.columns())
    return value + (f" [{', '.join(ends)}]" if ends else "")


def latex(rows: Sequence[dict]) -> str:
    """Return a table* in the paper's layout; intervals in small print under each number."""
    lines: list[str] = []
    for family, block in blocks(rows, LATEX):
        width, size = len(block.columns), len(HEADLINE)
        if not lines:
            names = [name.split(" (")[0] for name in block.columns.unique(0)]
            titles = [rf"\multicolumn{{{size}}}{{c}}{{{name}}}" for name in names]
            rules = [rf"\cmidrule(lr){{{i}-{i + size - 1}}}" for i in range(2, 2 + width, size)]
            lines += [output.latex_row(["", *titles]), "".join(rules)]
            lines += [output.latex_row(["Method", *block.columns.get_level_values(1)])]
        title = rf"\textit{{{output.escape(family)}}}"
        lines += [r"\midrule", rf"\multicolumn{{{1 + width}}}{{l}}{{{title}}} \\"]
        for method, *texts in block.itertuples():
            cells = [rf"\shortstack{{{text}}}" if r"\\" in text else text for text in texts]
            lines.append(output.latex_row([output.escape(method), *cells]))
    caption = (
        f"Table 1 at scale {output.escape(rows[0]['scale'])}. ECE, accuracy and trust in percent; "
        r"in small print the 95\,\% interval (bootstrap over questions) and, in italics at the "
        "paper's scale, the value printed in the paper."
        + "".join(rf" $^{{{mark}}}$: {text}." for mark, text in used_marks(rows).items())
    )
    style = "\\scriptsize\n\\setlength{\\tabcolsep}{2.5pt}"
    return output.latex_table("l" + "r" * width, lines, caption, style)


def terminal(rows: Sequence[dict]) -> str:
    """Return the table as text; the marks of a cell follow its accuracy."""
    from tabulate import tabulate

    def joined(texts) -> str:
        return "".join(f"{text:<8}" for text in texts)

    out = [f"Table 1, scale {rows[0]['scale']}: ECE, accuracy, trust = accuracy - ECE, in %"]
    metrics = joined(f"  {name}" for name in HEADLINE.values())
    for family, block in blocks(rows, TERMINAL):
        wide = block.T.groupby(level=0, sort=False).agg(joined).T
        head = [family, *(f"{name}\n{metrics}" for name in wide)]
        lines = wide.reset_index().to_numpy().tolist()
        out.append(tabulate(lines, head, disable_numparse=True, preserve_whitespace=True))
    reach = []
    for key, name in HEADLINE.items():
        half = max(abs(row[key + end] - row[key]) for row in rows for end in ("_low", "_high"))
        reach.append(f"{name} ±{half:.1f}")
    notes = [f"95 % intervals (bootstrap over questions) reach at most {', '.join(reach)}."]
    notes += [f"{mark}: {meaning}" for mark, meaning in used_marks(rows).items()]
    return "\n\n".join([*out, "\n".join(notes)])
