"""The data report: rows of every split, what was left out and why, and the effect of encoding.

Reads data/{dataset}/report.json and the record.json of trained teachers; writes CSV (one row a
split), Markdown and JSON.
"""

from __future__ import annotations

import argparse

import pandas

from scripts.first.reporting.names import printed
from scripts.first.reporting.output import page, paired, pipe_table, publish, read


def run(args: argparse.Namespace) -> None:
    """Make the data report: row counts and losses of the data."""
    reports = [read("report.json", path, "dataset", "splits") for path in args.reports]
    rows = [
        split_row(report["dataset"], split, counts)
        for report in reports
        for split, counts in report["splits"].items()
    ]
    encodings = [  # what encoding did to each teacher's training split; dropped rows by id
        {"family": family, "corpus": corpus, **read("record.json", path, "encoding")["encoding"]}
        for path, family, corpus in paired(args, "records", "families", "corpora")
    ]
    publish(
        args.output_prefix,
        "data_report",
        [*args.reports, *args.records],
        csv=pandas.DataFrame(rows),
        md=markdown(reports, rows, encodings),
        json={"datasets": reports, "encoding": encodings},
    )


def split_row(dataset: str, split: str, counts: dict) -> dict:
    """Return the row of a split; shares in percent."""
    names = ("official_split", "rows", "duplicate_prompts", "empty_responses")
    answers = counts["answers"] or {}
    return {
        **{"dataset": dataset, "split": split},
        **{name: counts[name] for name in (*names, "longest_prompt_characters")},
        "majority_answer": answers.get("majority"),
        "majority": 100 * answers["majority_share"] if answers else None,
        "chance": 100 * answers["chance_share"] if answers else None,
    }


def markdown(reports: list[dict], rows: list[dict], encodings: list[dict]) -> str:
    """Return the report as a page; of the dropped rows the number."""
    left_out, overlaps = [], []
    for report in reports:
        name = printed(report["dataset"])
        for entry in report["left_out"]:
            rest = f"rows of official split {entry['official_split']}: {entry['reason']}"
            left_out.append(f"- {name}: {entry['rows'] or 'all'} {rest}")
        for kind in ("prompts", "passages"):
            shared = report.get(f"shared_{kind}") or {}
            overlaps += [f"- {name}: {count} {kind} in {pair}" for pair, count in shared.items()]
    return page(
        "# Data report",
        "## Rows (majority and chance in percent)",
        pipe_table(rows),
        "## Left out",
        "\n".join(left_out) or "Nothing: every official row is in a split.",
        "## Overlap between splits",
        "\n".join(overlaps),
        "## Encoding of the training split (longest row in tokens)",
        pipe_table([own | {"dropped_rows": len(own["dropped_rows"])} for own in encodings]),
    )
