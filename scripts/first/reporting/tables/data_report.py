"""The data report: rows of every split, what was left out and why, and what encoding cost.

Reads data/{dataset}/report.json and the record.json of trained teachers; writes CSV (one row a
split), Markdown and JSON.
"""

from __future__ import annotations

import argparse

from scripts.first.errors import UserError
from scripts.first.files import write_csv, write_json, write_text
from scripts.first.provenance import records
from scripts.first.reporting.names import dataset_name, family_name
from scripts.first.reporting.sealing import seal

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

    if not len(args.records) == len(args.families) == len(args.corpora):
        raise UserError("lists of unequal length: data-report: --records, --families, --corpora")
    reports = [records.read(path) for path in args.reports]
    encodings = [
        encoding_row(path, family, corpus)
        for path, family, corpus in zip(args.records, args.families, args.corpora, strict=True)
    ]
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
        share = {name: answers.get(f"{name}_share") for name in ("majority", "chance")}
        rows.append(
            {
                "dataset": report["dataset"],
                "split": split,
                "official_split": counts["official_split"],
                **{name: counts[name] for name in COUNTS},
                "majority_answer": answers.get("majority"),
                "majority": None if share["majority"] is None else 100 * share["majority"],
                "chance": None if share["chance"] is None else 100 * share["chance"],
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
    lines = ["# Data report", "", "## Rows", ""]
    lines += ["| Dataset | Split | Official split | Rows | Duplicate prompts | Empty responses "]
    lines[-1] += "| Majority answer | Majority (%) | Chance (%) |"
    lines += ["|:--|:--|:--|--:|--:|--:|:--|--:|--:|"]
    for row in rows:
        shares = ["–" if row[n] is None else f"{row[n]:.1f}" for n in ("majority", "chance")]
        lines.append(
            f"| {dataset_name(row['dataset'])} | {row['split']} | {row['official_split']} "
            f"| {row['rows']} | {row['duplicate_prompts']} | {row['empty_responses']} "
            f"| {row['majority_answer'] or '–'} | {shares[0]} | {shares[1]} |"
        )
    lines += ["", "## Left out", ""]
    for report in reports:
        for entry in report["left_out"]:
            lines.append(
                f"- {dataset_name(report['dataset'])}: {entry['rows']} rows of official split "
                f"{entry['official_split']}: {entry['reason']}"
            )
    if lines[-1] == "":
        lines.append("Nothing: every official row is in a split.")
    lines += ["", "## Overlap between splits", ""]
    for report in reports:
        for kind in ("shared_prompts", "shared_passages"):
            for pair, count in (report.get(kind) or {}).items():
                word = kind.removeprefix("shared_")
                lines.append(f"- {dataset_name(report['dataset'])}: {count} {word} in {pair}")
    if encodings:
        lines += ["", "## Encoding of the training split", ""]
        lines += ["| Family | Corpus | Rows | Passages shortened | Responses cut | Rows dropped "]
        lines[-1] += "| Longest (tokens) |"
        lines += ["|:--|:--|--:|--:|--:|:--|--:|"]
        for row in encodings:
            dropped = row["dropped_rows"] or []
            count = dropped if isinstance(dropped, int) else len(dropped)
            names = (
                "" if isinstance(dropped, int) or not dropped else f" ({', '.join(dropped[:5])})"
            )
            lines.append(
                f"| {family_name(row['family'])} | {dataset_name(row['corpus'])} | {row['rows']} "
                f"| {row['shortened_prompts']} | {row['cut_responses']} | {count}{names} "
                f"| {row['longest']} |"
            )
    return "\n".join(lines) + "\n"
