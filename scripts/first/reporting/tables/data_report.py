"""The data report: rows of every split, what was left out and why, and the effect of encoding.

Reads data/{dataset}/report.json and the record.json of trained teachers; writes CSV (one row a
split), Markdown and JSON.
"""

from __future__ import annotations

import argparse

from scripts.first.errors import UserError
from scripts.first.files import write_csv, write_json, write_text
from scripts.first.provenance import records
from scripts.first.provenance.made_by import seal
from scripts.first.reporting.layout import number, page, pipe_table
from scripts.first.reporting.names import dataset_name, family_name
from scripts.first.reporting.options import paired

COUNTS = ("rows", "duplicate_prompts", "empty_responses", "longest_prompt_characters")
ENCODING = ("rows", "shortened_prompts", "cut_responses", "dropped_rows", "longest")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts data-report`."""
    parser.add_argument("--reports", nargs="+", required=True, help="report.json of each dataset")
    parser.add_argument("--records", nargs="*", default=[], help="record.json of trained teachers")
    parser.add_argument("--families", nargs="*", default=[], help="one for each record")
    parser.add_argument("--corpora", nargs="*", default=[], help="one for each record")
    parser.add_argument("--output-prefix", required=True, help="path without .csv, .md, .json")


def run(args: argparse.Namespace) -> None:
    """Make the data report."""
    import pandas

    reports = [records.read(path) for path in args.reports]
    encodings = [encoding_row(*labels) for labels in paired(args, "records", "families", "corpora")]
    rows = [row for report in reports for row in split_rows(report)]
    write_csv(args.output_prefix + ".csv", pandas.DataFrame(rows))
    write_text(args.output_prefix + ".md", markdown(reports, rows, encodings))
    write_json(args.output_prefix + ".json", {"datasets": reports, "encoding": encodings})
    kinds = ("csv", "md", "json")
    seal(args.output_prefix, "data_report", kinds, [*args.reports, *args.records])


def split_rows(report: dict) -> list[dict]:
    """Return one row for each split of a dataset; shares in percent."""
    rows = []
    for split, counts in report["splits"].items():
        answers = counts["answers"] or {}
        shares = {name: answers.get(f"{name}_share") for name in ("majority", "chance")}
        rows.append(
            {
                "dataset": report["dataset"],
                "split": split,
                "official_split": counts["official_split"],
                **{name: counts[name] for name in COUNTS},
                "majority_answer": answers.get("majority"),
                **{name: None if v is None else 100 * v for name, v in shares.items()},
            }
        )
    return rows


def encoding_row(path: str, family: str, corpus: str) -> dict:
    """Return what encoding did to a teacher's training split; dropped rows by id."""
    record = records.read(path)
    if "encoding" not in record:
        raise UserError(f"no `encoding` in {path}: not a trained model's record: check --records")
    found = record["encoding"]
    return {"family": family, "corpus": corpus, **{name: found.get(name) for name in ENCODING}}


def markdown(reports: list[dict], rows: list[dict], encodings: list[dict]) -> str:
    """Return the report as a page."""
    left_out = [
        f"- {dataset_name(report['dataset'])}: {entry['rows']} rows of official split "
        f"{entry['official_split']}: {entry['reason']}"
        for report in reports
        for entry in report["left_out"]
    ]
    overlaps = [
        f"- {dataset_name(report['dataset'])}: {count} {kind} in {pair}"
        for report in reports
        for kind in ("prompts", "passages")
        for pair, count in (report.get(f"shared_{kind}") or {}).items()
    ]
    paragraphs = ["# Data report", "## Rows (majority and chance in percent)", _table(rows, left=3)]
    paragraphs += ["## Left out"]
    paragraphs += ["\n".join(left_out) or "Nothing: every official row is in a split."]
    paragraphs += ["## Overlap between splits", "\n".join(overlaps)]
    if encodings:
        paragraphs += ["## Encoding of the training split (longest row in tokens)"]
        paragraphs += [_table(encodings, left=2)]
    return page(*paragraphs)


def _table(rows: list[dict], left: int) -> str:
    head = [name.replace("_", " ").capitalize() for name in rows[0]]
    return pipe_table(head, [map(_text, row.values()) for row in rows], left)


def _text(value: str | float | list[str] | None) -> str:
    if isinstance(value, list):  # ids of dropped rows
        return f"{len(value)} ({', '.join(value[:5])})" if value else "0"
    if isinstance(value, str):
        return dataset_name(family_name(value))
    return str(value) if isinstance(value, int) else number(value)
