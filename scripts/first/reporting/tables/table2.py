"""Table 2: questions on which the fine-tuned student is confidently wrong, under three methods.

Reads the predictions.parquet and metrics.json of fine-tuning, distillation and FIRST on the same
questions, and the test table (for the text). Writes CSV, Markdown and LaTeX. The cases are chosen
by fine-tuning's errors, which flatters the other two; so the means over *all* questions that each
method gets wrong stand below them.
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
HEAD = ("Method", "Answers", "p(right answer), %", "p(fine-tune's answer), %")
SUMMARY = (
    *("Method", "Wrong answers", "Confidence when wrong", "Confidence when right"),
    "Wrong with confidence > 90 (% of errors)",
)
CAPTION = (
    "The fine-tuned student's most confident errors and the probability that each method gives to "
    "the right answer and to fine-tuning's wrong one (full-vocabulary probability, percent). The "
    "cases are selected by fine-tuning's errors, which by itself favours the other methods."
)


def run(args: argparse.Namespace) -> None:
    """Make Table 2."""
    import pandas

    groups = load_runs(output.paired(args, "predictions", "metrics"), args.benchmark)
    runs = {key.method: group[0] for key, group in groups.items()}
    if missing := set(METHODS) - set(runs):
        raise UserError(f"no run of {min(missing)}: table2: check --predictions")
    table = read_parquet(verified(args.questions), ["id", "prompt", "candidates"]).to_pandas()
    questions = table.set_index("id").loc[runs["finetune"].rows["id"]].reset_index()
    wanted = [entry for path in args.first_questions for entry in read_json(path)]
    chosen, notes = paper_cases(wanted, questions)
    errors = [index for index in confident_errors(runs["finetune"]) if index not in chosen]
    chosen |= dict.fromkeys(errors[:CASES], "most confident error")
    cases = [case_rows(runs, questions.loc[index], index, why) for index, why in chosen.items()]
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


def case_rows(runs: dict[str, Run], question, index: int, why: str) -> list[dict]:
    """Return a case as one row for each method; probabilities in percent."""
    key, fine = runs["finetune"].key, runs["finetune"].rows.loc[index]
    rows = []
    for method in METHODS:
        own = runs[method].rows.loc[index]
        values = 100 * np.exp(own["candidate_log_probs"])
        probability = dict(zip(question["candidates"], values, strict=True))
        row = {"case": why, "family": key.family, "benchmark": key.benchmark, "id": fine["id"]}
        row |= {"prompt": question["prompt"], "gold": fine["answer"]}
        row |= {"finetune_answer": fine["prediction"], "method": method}
        row |= {"seed": runs[method].metrics["seed"], "answer": own["prediction"]}
        row |= {"correct": own["correct"], "confidence": 100 * own["confidence"]}
        for name in ("gold", "finetune_answer"):
            row[f"probability_{name}"] = probability[row[name]]
        rows.append(row)
    return rows


def line(row: dict) -> list[str]:
    """Return a row of a case in print, with the columns of HEAD."""
    answer = row["answer"] + (" (right)" if row["correct"] else "")
    numbers = (row["probability_gold"], row["probability_finetune_answer"])
    return [printed(row["method"]), answer, *map("{:.1f}".format, numbers)]


def answers(case: list[dict]) -> str:
    """Return the answers to a case in words."""
    return f"Right: {case[0]['gold']}. Fine-tune answers {case[0]['finetune_answer']}."


def error_summary(run: Run) -> list[str]:
    """Return the line of a method in SUMMARY, over all questions."""
    wrong, right = (run.rows["confidence"][run.rows["correct"] == side] for side in (False, True))
    means = [
        f"{100 * values.mean():.1f}" if len(values) else output.MISSING
        for values in (wrong, right, wrong > 0.9)
    ]
    return [printed(run.key.method), f"{len(wrong)} of {len(run.rows)}", *means]


def markdown(cases: list[list[dict]], runs: dict[str, Run], notes: list[str]) -> str:
    """Return the cases with their text, then the summary over all errors."""
    run = runs["finetune"].metrics
    paragraphs = ["# Table 2", CAPTION]
    paragraphs += [f"Family {printed(run['family'])}, seed {run['seed']}, scale `{run['scale']}`."]
    paragraphs += ["" if cases else "The fine-tuned student makes no error here."]
    for i, case in enumerate(cases, start=1):
        paragraphs += [f"## Case {i}: {case[0]['case']} (`{case[0]['id']}`)"]
        paragraphs += [f"```\n{case[0]['prompt'].rstrip()}\n```", answers(case)]
        paragraphs += [output.pipe_table(HEAD, map(line, case), left=2)]
    errors = output.pipe_table(SUMMARY, [error_summary(runs[method]) for method in METHODS])
    return output.page(*paragraphs, "## All errors", errors, "\n".join(notes))


def latex(cases: list[list[dict]]) -> str:
    """Return a table* of the cases."""
    rows = [output.latex_row(["Question", *map(output.escape, HEAD)])]
    for case in cases:
        prompt = output.escape(f"{case[0]['prompt'].strip()}\n{answers(case)}")
        texts = [prompt.replace("\n", r" \newline "), "", ""]
        rows.append(r"\midrule")
        for text, row in zip(texts, case, strict=True):
            rows.append(output.latex_row([text, *map(output.escape, line(row))]))
    return output.latex_table(r"p{0.5\textwidth}llrr", rows, output.escape(CAPTION), r"\small")
