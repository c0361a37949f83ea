"""Table 2: questions on which the fine-tuned student is confidently wrong, under three methods.

Reads metrics.json and predictions.parquet of fine-tuning, distillation and FIRST, and the test
table (for the text); writes CSV, Markdown and LaTeX. The cases are chosen by fine-tuning's errors,
which flatters the other two; so each method's means over *all* its errors stand below them.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas

from first_distill.errors import UserError
from first_distill.files import read_json, read_parquet
from first_distill.provenance.records import verified
from first_distill.reporting import output
from first_distill.reporting.names import printed
from first_distill.reporting.runs import Run, load_runs

CASES = 3
NO_ERROR = "The fine-tuned student makes no error here."
METHODS = ("finetune", "distill", "first_ts")
SHOWN = {
    "answer": "Answers",
    "probability_gold": "p(right answer), %",
    "probability_finetune_answer": "p(fine-tune's answer), %",
}
CAPTION = (
    "The fine-tuned student's most confident errors and the probability that each method gives to "
    "the right answer and to fine-tuning's wrong one (full-vocabulary probability, percent). The "
    "cases are selected by fine-tuning's errors, which by itself favours the other methods."
)


def run(args: argparse.Namespace) -> None:
    """Make Table 2, confidently wrong cases: csv, md, tex."""
    groups = load_runs(args.metrics, args.benchmark)
    runs = {key.method: group[0] for key, group in groups.items()}
    if len(groups) > len(runs) or set(runs) != set(METHODS):
        raise UserError(f"--metrics: table2: give one model of each of {', '.join(METHODS)}")
    questions = read_parquet(verified(args.questions), ["id", "prompt", "candidates"]).to_pandas()
    if not questions["id"].equals(runs["finetune"].rows["id"]):
        raise UserError(f"other questions: {args.questions}: give the test table of --metrics")
    lists = [read_json(path) for path in args.first_questions]
    wanted = [entry for own in lists for entry in (own if isinstance(own, list) else [own])]
    chosen, notes = paper_cases(wanted, questions)
    errors = [index for index in confident_errors(runs["finetune"]) if index not in chosen]
    chosen |= dict.fromkeys(errors[:CASES], "most confident error")
    cases = [case_rows(runs, questions.loc[index], why) for index, why in chosen.items()]
    output.publish(
        args.output_prefix,
        "table2",
        [*args.metrics, args.questions, *args.first_questions],
        csv=pandas.DataFrame([row for case in cases for row in case]),
        md=markdown(cases, runs, notes),
        tex=latex(cases),
    )


def confident_errors(run: Run) -> list[int]:
    """Return the wrong questions' indices, most confident first; ties in the table's order."""
    wrong = run.rows[~run.rows["correct"]]
    return list(wrong.sort_values("confidence", ascending=False, kind="stable").index)


def paper_cases(wanted: list[dict], questions) -> tuple[dict[int, str], list[str]]:
    """Return {index: why} of the requested questions, and a note for each that is missing."""
    found, notes = {}, []
    for entry in wanted:
        if not isinstance(entry, dict) or not isinstance(entry.get("text", entry.get("id")), str):
            form = '{"id": ".."} or {"text": ".."}'
            raise UserError(f"not a question: --first-questions: {entry!r}: write a list of {form}")
        text = entry.get("text")
        same = questions["id"] == entry.get("id")
        if text:
            same |= questions["prompt"].str.contains(text, case=False, regex=False)
        if same.any():
            found[same.idxmax()] = "question of the paper"
        else:
            notes.append(f"- Not among the test questions: {text or entry.get('id')}")
    return found, notes


def case_rows(runs: dict[str, Run], question, why: str) -> list[dict]:
    """Return a case as one row for each method; probabilities in percent."""
    key, fine = runs["finetune"].key, runs["finetune"].rows.loc[question.name]
    common = {"case": why, "family": key.family, "benchmark": key.benchmark, "id": fine["id"]}
    common |= {"prompt": question["prompt"], "gold": fine["answer"]}
    rows = []
    for method in METHODS:
        own = runs[method].rows.loc[question.name]
        row = {**common, "finetune_answer": fine["prediction"], "method": method}
        row |= {"seed": runs[method].metrics["seed"], "answer": own["prediction"]}
        row |= {"correct": own["correct"], "confidence": 100 * own["confidence"]}
        for name in ("gold", "finetune_answer"):
            at = list(question["candidates"]).index(row[name])
            row[f"probability_{name}"] = 100 * np.exp(own["candidate_log_probs"][at])
        rows.append(row)
    return rows


def line(row: dict) -> dict:
    """Return a row of a case in print."""
    return {"Method": printed(row["method"])} | {name: row[key] for key, name in SHOWN.items()}


def answers(row: dict) -> str:
    """Return the answers to a case in words."""
    return f"Right: {row['gold']}. Fine-tune answers {row['finetune_answer']}."


def error_summary(run: Run) -> dict:
    """Return the line of a method over all questions; percent."""
    wrong = run.rows["confidence"][~run.rows["correct"]]
    mean = 100 * run.rows.groupby("correct")["confidence"].mean()
    return {
        "Method": printed(run.key.method),
        "Wrong answers": f"{len(wrong)} of {len(run.rows)}",
        "Confidence when wrong": mean.get(False),
        "Confidence when right": mean.get(True),
        "Errors with confidence > 90, %": 100 * (wrong > 0.9).mean() if len(wrong) else None,
    }


def markdown(cases: list[list[dict]], runs: dict[str, Run], notes: list[str]) -> str:
    """Return the cases with their text, then the summary over all errors."""
    run = runs["finetune"].metrics
    paragraphs = ["# Table 2", CAPTION]
    paragraphs += [f"Family {printed(run['family'])}, seed {run['seed']}, scale `{run['scale']}`."]
    paragraphs += ["" if cases else NO_ERROR]
    for i, case in enumerate(cases, start=1):
        paragraphs += [f"## Case {i}: {case[0]['case']} (`{case[0]['id']}`)"]
        paragraphs += [f"```\n{case[0]['prompt'].rstrip()}\n```", answers(case[0])]
        paragraphs += [output.pipe_table([line(row) for row in case])]
    paragraphs += ["## All errors", output.pipe_table([error_summary(runs[m]) for m in METHODS])]
    return output.page(*paragraphs, "\n".join(notes))


def latex(cases: list[list[dict]]) -> str:
    """Return a table* of the cases, each question beside its first method."""
    rows = [
        {"Question": "" if i else f"{row['prompt'].strip()} {answers(row)}", **line(row)}
        for case in cases
        for i, row in enumerate(case)
    ] or [{"Question": NO_ERROR}]
    return output.latex_table(rows, r"p{0.6\textwidth}llrr", CAPTION)
