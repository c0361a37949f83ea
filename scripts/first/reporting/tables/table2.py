"""Table 2: questions on which the fine-tuned student is confidently wrong, under three methods.

Reads the predictions.parquet and metrics.json of fine-tuning, distillation and FIRST on the same
questions, and the test table (for the text). Writes CSV, Markdown and LaTeX. The cases are chosen
by fine-tuning's errors, which flatters the other two; so the means over *all* questions that each
method gets wrong stand below them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from scripts.first.errors import UserError, positive
from scripts.first.files import read_json, read_parquet, write_csv, write_text
from scripts.first.provenance.made_by import TABLE, seal
from scripts.first.provenance.records import verified
from scripts.first.reporting.layout import (
    escape,
    latex_rows,
    latex_table,
    number,
    page,
    pipe_table,
)
from scripts.first.reporting.names import family_name, method_name
from scripts.first.reporting.runs import Run, load_runs

METHODS = ("finetune", "distill", "first_ts")
CAPTION = (
    "The fine-tuned student's most confident errors and the probability that each method gives to "
    "the right answer and to fine-tuning's wrong one (full-vocabulary probability, percent). The "
    "cases are selected by fine-tuning's errors, which by itself favours the other methods."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts table2`."""
    parser.add_argument("--predictions", nargs="+", required=True, help="one file a method")
    parser.add_argument("--metrics", nargs="+", required=True, help="same order as --predictions")
    parser.add_argument("--benchmark", required=True, help="the benchmark to show, e.g. csqa")
    parser.add_argument("--questions", required=True, help="the test table, data/*/test.parquet")
    parser.add_argument("--cases", type=positive, default=3, help="how many cases (default 3)")
    parser.add_argument(
        "--first-questions", nargs="?", help='JSON list of {"id": ..} or {"text": ..}'
    )
    parser.add_argument("--output-prefix", required=True, help="path without .csv, .md, .tex")


def run(args: argparse.Namespace) -> None:
    """Make Table 2."""
    import pandas

    groups = load_runs(args.predictions, args.metrics, args.benchmark)
    runs = {key[2]: group[0] for key, group in groups.items()}
    if tuple(sorted(runs)) != tuple(sorted(METHODS)) or len(groups) != len(METHODS):
        raise UserError(
            f"table2: needs one run of each of {', '.join(METHODS)}: check --predictions"
        )
    table = read_parquet(verified(args.questions), columns=["id", "prompt", "candidates"])
    questions = {row["id"]: row for row in table.to_pylist()}
    missing = set(runs["finetune"].ids) - set(questions)
    if missing:
        raise UserError(
            f"question {min(missing)}: {args.questions}: not the table that was evaluated"
        )
    wanted = read_json(args.first_questions) if args.first_questions else []
    chosen, notes = paper_cases(wanted, runs["finetune"], questions)
    chosen += [
        (index, "most confident error")
        for index in confident_errors(runs["finetune"])
        if index not in dict(chosen)
    ][: args.cases]
    rows = [row for index, why in chosen for row in case_rows(runs, questions, index, why)]
    write_csv(args.output_prefix + ".csv", pandas.DataFrame(rows))
    summary = [error_summary(runs[method]) for method in METHODS]
    write_text(args.output_prefix + ".md", markdown(rows, summary, notes, runs["finetune"]))
    write_text(args.output_prefix + ".tex", latex(rows))
    sources = [*args.metrics, args.questions, *filter(None, [args.first_questions])]
    seal(args.output_prefix, "table2", TABLE, sources)


def confident_errors(run: Run) -> list[int]:
    """Return the wrong questions' indices, most confident first; ties in the table's order."""
    wrong = np.flatnonzero(~run.correct)
    return [int(i) for i in wrong[np.argsort(-run.confidence[wrong], kind="stable")]]


def paper_cases(
    wanted: list[dict], run: Run, questions: dict[str, dict]
) -> tuple[list[tuple[int, str]], list[str]]:
    """Return (index, why) of the requested questions, and a note for each that is missing."""
    found, notes = [], []
    for entry in wanted:
        if not {"id", "text"} & set(entry):
            raise UserError("question without id and text: --first-questions: give one of them")
        text = entry.get("text", "").lower()
        for i, name in enumerate(run.ids):
            if name == entry.get("id") or (text and text in questions[name]["prompt"].lower()):
                found.append((i, "question of the paper"))
                break
        else:
            notes.append(f"Not among the test questions: {entry.get('text', entry.get('id'))}")
    return found, notes


def case_rows(runs: dict[str, Run], questions: dict, index: int, why: str) -> list[dict]:
    """Return a case as one row for each method; probabilities in percent."""
    fine = runs["finetune"]
    question = questions[fine.ids[index]]
    gold, rival = fine.answers[index], fine.predictions[index]
    case = {"case": why, "family": fine.family, "benchmark": fine.benchmark, "id": fine.ids[index]}
    case |= {"prompt": question["prompt"], "gold": gold, "finetune_answer": rival}
    rows = []
    for method in METHODS:
        run = runs[method]
        row = {"method": method, "seed": run.seed, "answer": run.predictions[index]}
        row |= {"correct": bool(run.correct[index])}
        row |= {"confidence": 100 * float(run.confidence[index])}
        probabilities = 100 * np.exp(np.asarray(run.candidate_log_probs[index]))
        for name, answer in (("gold", gold), ("finetune_answer", rival)):
            at = question["candidates"].index(answer)
            row[f"probability_{name}"] = float(probabilities[at])
        rows.append(case | row)
    return rows


def error_summary(run: Run) -> dict[str, str]:
    """Return how confident a method is when wrong and when right, over all questions, in print."""
    wrong, right = run.confidence[~run.correct], run.confidence[run.correct]

    def mean(values: np.ndarray) -> str:
        return number(100 * values.mean() if values.size else None)

    return {
        "Method": method_name(run.method),
        "Wrong answers": f"{wrong.size} of {run.correct.size}",
        "Confidence when wrong": mean(wrong),
        "Confidence when right": mean(right),
        "Wrong with confidence > 90": f"{mean(wrong > 0.9)} % of errors",
    }


def cases(rows: list[dict]) -> Iterator[tuple[dict, str, list[list[str]]]]:
    """Yield each case's first row, its answers in words and a printed line for each method."""
    for i in range(0, len(rows), len(METHODS)):
        one = rows[i]
        answers = f"Right: {one['gold']}. Fine-tune answers {one['finetune_answer']}."
        lines = []
        for row in rows[i : i + len(METHODS)]:
            answer = row["answer"] + (" (right)" if row["correct"] else "")
            numbers = (row["probability_gold"], row["probability_finetune_answer"])
            lines.append([method_name(row["method"]), answer, *map(number, numbers)])
        yield one, answers, lines


def markdown(rows: list[dict], summary: list[dict], notes: list[str], run: Run) -> str:
    """Return the cases with their text, then the summary over all errors."""
    paragraphs = ["# Table 2", CAPTION]
    paragraphs += [f"Family {family_name(run.family)}, seed {run.seed}, scale `{run.scale}`."]
    if not rows:
        paragraphs.append("The fine-tuned student makes no error here.")
    head = ["Method", "Answers", "p(right answer), %", "p(fine-tune's answer), %"]
    for i, (one, answers, lines) in enumerate(cases(rows), start=1):
        paragraphs += [f"## Case {i}: {one['case']} (`{one['id']}`)"]
        paragraphs += [f"```\n{one['prompt'].rstrip()}\n```", answers]
        paragraphs += [pipe_table(head, lines, left=2)]
    errors = pipe_table([*summary[0]], [entry.values() for entry in summary])
    return page(*paragraphs, "## All errors", errors, "\n".join(f"- {note}" for note in notes))


def latex(rows: list[dict]) -> str:
    """Return a table* of the cases."""
    lines = [r"Question & Method & Answers & $p$(right) & $p$(fine-tune's) \\"]
    for one, answers, case in cases(rows):
        prompt = escape(one["prompt"]).strip().replace("\n", r" \newline ")
        texts = [prompt, escape(answers), *[""] * len(case[2:])]
        table = [[text, *map(escape, line)] for text, line in zip(texts, case, strict=True)]
        lines += [r"\midrule", *latex_rows(*table)]
    return latex_table(r"p{0.5\textwidth}llrr", lines, escape(CAPTION), r"\small")
