"""Table 2: questions on which the fine-tuned student is confidently wrong, under three methods.

Reads metrics.json and predictions.parquet of fine-tuning, distillation and FIRST, and the test
table (for the text); writes CSV, Markdown and LaTeX. The cases are chosen by fine-tuning's errors,
which flatters the other two; so each method's means over *all* its errors stand below them.
"""

from __future__ import annotations

import argparse

import numpy as np

from scripts.first.errors import UserError
from scripts.first.files import read_json, read_parquet
from scripts.first.provenance.records import verified
from scripts.first.reporting import output
from scripts.first.reporting.names import printed
from scripts.first.reporting.runs import Run, load_runs

CASES = 3
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
    import pandas

    groups = load_runs(args.metrics, args.benchmark)
    runs = {key.method: group[0] for key, group in groups.items()}
    if len(groups) > len(runs) or set(runs) != set(METHODS):
        raise UserError(f"--metrics: table2: give one model of each of {', '.join(METHODS)}")
    questions = read_parquet(verified(args.questions), ["id", "prompt", "candidates"]).to_pandas()
    if not questions["id"].equals(runs["finetune"].rows["id"]):
        raise UserError(f"other questions: {args.questions}: give the test table of --metrics")
    wanted = [entry for path in args.first_questions for entry in read_json(path)]
    chosen, notes = paper_cases(wanted, questions)
    errors = [index for index in confident_errors(runs["finetune"]) if index not in chosen]
    chosen |= dict.fromkeys(errors[:CASES], "most confident error")
    cases = [
        [case_row(runs, questions.loc[index], why, method) for method in METHODS]
        for index, why in chosen.items()
    ]
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
        text = entry.get("text")
        same = questions["id"] == entry.get("id")
        if text:
            same |= questions["prompt"].str.contains(text, case=False, regex=False)
        if same.any():
            found[same.idxmax()] = "question of the paper"
        else:
            notes.append(f"- Not among the test questions: {text or entry.get('id')}")
    return found, notes


def case_row(runs: dict[str, Run], question, why: str, method: str) -> dict:
    """Return a method's row of a case; probabilities in percent."""
    fine, own = (runs[name].rows.loc[question.name] for name in ("finetune", method))
    values = 100 * np.exp(own["candidate_log_probs"])
    probability = dict(zip(question["candidates"], values, strict=True))
    key, seed = runs["finetune"].key, runs[method].metrics["seed"]
    return {
        **{"case": why, "family": key.family, "benchmark": key.benchmark, "id": fine["id"]},
        **{"prompt": question["prompt"], "gold": fine["answer"]},
        **{"finetune_answer": fine["prediction"], "method": method, "seed": seed},
        **{"answer": own["prediction"], "correct": own["correct"]},
        "confidence": 100 * own["confidence"],
        "probability_gold": probability[fine["answer"]],
        "probability_finetune_answer": probability[fine["prediction"]],
    }


def line(row: dict) -> dict:
    """Return a row of a case in print."""
    return {"Method": printed(row["method"])} | {name: row[key] for key, name in SHOWN.items()}


def answers(case: list[dict]) -> str:
    """Return the answers to a case in words."""
    return f"Right: {case[0]['gold']}. Fine-tune answers {case[0]['finetune_answer']}."


def error_summary(run: Run) -> dict:
    """Return the line of a method over all questions; percent."""
    wrong = run.rows["confidence"][~run.rows["correct"]]
    mean = 100 * run.rows.groupby("correct")["confidence"].mean()
    return {
        "Method": printed(run.key.method),
        "Wrong answers": f"{len(wrong)} of {len(run.rows)}",
        "Confidence when wrong": mean.get(False),
        "Confidence when right": mean.get(True),
        "Wrong with confidence > 90 (% of errors)": 100 * (wrong > 0.9).mean(),
    }


def markdown(cases: list[list[dict]], runs: dict[str, Run], notes: list[str]) -> str:
    """Return the cases with their text, then the summary over all errors."""
    run = runs["finetune"].metrics
    paragraphs = ["# Table 2", CAPTION]
    paragraphs += [f"Family {printed(run['family'])}, seed {run['seed']}, scale `{run['scale']}`."]
    paragraphs += ["" if cases else "The fine-tuned student makes no error here."]
    for i, case in enumerate(cases, start=1):
        paragraphs += [f"## Case {i}: {case[0]['case']} (`{case[0]['id']}`)"]
        paragraphs += [f"```\n{case[0]['prompt'].rstrip()}\n```", answers(case)]
        paragraphs += [output.pipe_table([line(row) for row in case])]
    errors = output.pipe_table([error_summary(runs[method]) for method in METHODS])
    return output.page(*paragraphs, "## All errors", errors, "\n".join(notes))


def latex(cases: list[list[dict]]) -> str:
    """Return a table* of the cases, each question beside its first method."""
    rows = []
    for case in cases:
        texts = [f"{case[0]['prompt'].strip()} {answers(case)}", "", ""]
        rows += [{"Question": text, **line(row)} for text, row in zip(texts, case, strict=True)]
    return output.latex_table(rows, r"p{0.5\textwidth}llrr", CAPTION, r"\small")
