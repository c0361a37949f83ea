"""The data report: rows of every split, what was left out and why, and the effect of encoding.

Reads data/{dataset}/report.json, the record.json of trained teachers, and the tables of benchmarks
and of other corpora that they are answered from; writes CSV (one row a split), Markdown and JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas

from first_distill.data.rows import read_rows
from first_distill.reporting.names import printed
from first_distill.reporting.output import page, paired, pipe_table, publish, read


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
    seen = [seen_questions(*tables) for tables in paired(args, "tests", "trained_on")]
    publish(
        args.output_prefix,
        "data_report",
        [*args.reports, *args.records, *args.tests, *args.trained_on],
        csv=pandas.DataFrame(rows),
        md=markdown(reports, rows, encodings, seen),
        json={"datasets": reports, "encoding": encodings, "seen_questions": seen},
    )


def seen_questions(test: str, trained_on: str) -> dict:
    """Test questions of one dataset that stand among the training rows of another."""
    ours, theirs = ({row["prompt"]: row["id"] for row in read_rows(p)} for p in (test, trained_on))
    benchmark, corpus = (Path(path).parent.name for path in (test, trained_on))
    shared = [prompt for prompt in ours if prompt in theirs]
    first = [ours[shared[0]], theirs[shared[0]]] if shared else None
    return {"benchmark": benchmark, "corpus": corpus, "questions": len(shared), "first": first}


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


def markdown(reports: list[dict], rows: list[dict], encodings: list[dict], seen: list[dict]) -> str:
    """Return the report as a page; of the dropped rows the number, of `seen` what is not 0."""
    left_out, overlaps = [], []
    for report in reports:
        name = printed(report["dataset"])
        for entry in report["left_out"]:
            rest = f"rows of official split {entry['official_split']}: {entry['reason']}"
            left_out.append(f"- {name}: {entry['rows'] or 'all'} {rest}")
        for kind in ("prompts", "passages"):
            shared = report.get(f"shared_{kind}") or {}
            counts = [f"{count} in {pair}" for pair, count in shared.items()]
            overlaps += [f"- {name}, {kind}: {', '.join(counts)}"] if counts else []
    for own in seen:
        if own["questions"]:
            ours, theirs = (printed(own[name]) for name in ("benchmark", "corpus"))
            example = "row {} is row {}".format(*own["first"])
            overlaps.append(
                f"- **{ours}: {own['questions']} test questions in the training rows of {theirs}** "
                f"({example}): the column is not out of sample"
            )
    return page(
        "# Data report",
        "## Rows (majority and chance in percent)",
        _table(rows),
        "## Left out",
        "\n".join(left_out) or "Nothing: every official row is in a split.",
        "## Overlap between splits",
        "\n".join(overlaps),
        "## Encoding of the training split (longest row in tokens)",
        _table([own | {"dropped_rows": len(own["dropped_rows"])} for own in encodings]),
    )


def _table(rows: list[dict]) -> str:
    """A table with names of columns in words, and of datasets as printed."""
    names = ("dataset", "corpus")
    return pipe_table(
        [{k.replace("_", " "): printed(v) if k in names else v for k, v in r.items()} for r in rows]
    )
