"""The data report: rows of every split, what was left out and why, and the effect of encoding.

Reads data/{dataset}/report.json and the record.json of trained teachers; writes CSV (one row a
split), Markdown and JSON.
"""

from __future__ import annotations

import argparse

from scripts.first.provenance import records
from scripts.first.reporting.names import printed
from scripts.first.reporting.output import MISSING, page, paired, pipe_table, publish

COUNTS = (
    *("official_split", "rows", "duplicate_prompts", "empty_responses"),
    "longest_prompt_characters",
)
ENCODING = ("rows", "shortened_prompts", "cut_responses", "dropped_rows", "longest")


def run(args: argparse.Namespace) -> None:
    """Make the data report."""
    import pandas

    reports = [records.read(path) for path in args.reports]
    rows = [row for report in reports for row in split_rows(report)]
    encodings = []  # what encoding did to each teacher's training split; dropped rows by id
    for path, family, corpus in paired(args, "records", "families", "corpora"):
        found = records.read(path)["encoding"]
        own = {name: found.get(name) for name in ENCODING}
        encodings.append({"family": family, "corpus": corpus, **own})
    publish(
        args.output_prefix,
        "data_report",
        [*args.reports, *args.records],
        csv=pandas.DataFrame(rows),
        md=markdown(reports, rows, encodings),
        json={"datasets": reports, "encoding": encodings},
    )


def split_rows(report: dict) -> list[dict]:
    """Return one row for each split of a dataset; shares in percent."""
    rows = []
    for split, counts in report["splits"].items():
        answers = counts["answers"] or {}
        shares = {name: answers.get(f"{name}_share") for name in ("majority", "chance")}
        row = {"dataset": report["dataset"], "split": split}
        row |= {name: counts[name] for name in COUNTS}
        row |= {"majority_answer": answers.get("majority")}
        rows.append(row | {k: None if v is None else 100 * v for k, v in shares.items()})
    return rows


def markdown(reports: list[dict], rows: list[dict], encodings: list[dict]) -> str:
    """Return the report as a page."""
    left_out = [
        f"- {printed(report['dataset'])}: {entry['rows']} rows of official split "
        f"{entry['official_split']}: {entry['reason']}"
        for report in reports
        for entry in report["left_out"]
    ]
    overlaps = [
        f"- {printed(report['dataset'])}: {count} {kind} in {pair}"
        for report in reports
        for kind in ("prompts", "passages")
        for pair, count in (report.get(f"shared_{kind}") or {}).items()
    ]
    paragraphs = ["# Data report", "## Rows (majority and chance in percent)", _table(rows, left=3)]
    paragraphs += ["## Left out"]
    paragraphs += ["\n".join(left_out) or "Nothing: every official row is in a split."]
    paragraphs += ["## Overlap between splits", "\n".join(overlaps)]
    paragraphs += ["## Encoding of the training split (longest row in tokens)"]
    return page(*paragraphs, _table(encodings, left=2))


def _table(rows: list[dict], left: int) -> str:
    head = [name.replace("_", " ").capitalize() for name in rows[0]]
    return pipe_table(head, [map(_text, row.values()) for row in rows], left)


def _text(value: str | float | list[str] | None) -> str:
    if isinstance(value, list):  # ids of dropped rows
        return f"{len(value)} ({', '.join(value[:5])})" if value else "0"
    if value is None:
        return MISSING
    return f"{value:.1f}" if isinstance(value, float) else printed(str(value))
