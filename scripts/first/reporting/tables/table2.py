"""Table 2: questions on which the fine-tuned student is confidently wrong, under three methods.

Reads the predictions.parquet and metrics.json of fine-tuning, distillation and FIRST on the same
questions, and the test table (for the text). Writes CSV, Markdown and LaTeX. The cases are chosen
by fine-tuning's errors, which flatters the other two; so the means over *all* questions that each
method gets wrong stand below them.
"""

from __future__ import annotations

import argparse

import numpy as np

from scripts.first.errors import UserError, positive
from scripts.first.files import read_json, read_parquet, write_csv, write_text
from scripts.first.provenance.records import verified
from scripts.first.reporting.names import family_name, method_name
from scripts.first.reporting.runs import Run, load_runs
from scripts.first.reporting.sealing import TABLE, seal

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
    parser.add_argument("--questions", required=True, help="the test table, data/*/test.parquet")
    parser.add_argument("--cases", type=positive, default=3, help="how many cases (default 3)")
    parser.add_argument("--first-questions", help='JSON list of {"id": ..} or {"text": ..}')
    parser.add_argument("--output-prefix", required=True, help="path without .csv, .md, .tex")


def run(args: argparse.Namespace) -> None:
    """Make Table 2."""
    import pandas

    groups = load_runs(args.predictions, args.metrics)
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
    """Return (index, why) of the asked-for questions, and a note for each that is not there."""
    found, notes = [], []
    for entry in wanted:
        if not {"id", "text"} & set(entry):
            raise UserError("question without id and text: --first-questions: give one of them")
        index = next(
            (
                i
                for i, name in enumerate(run.ids)
                if name == entry.get("id")
                or ("text" in entry and entry["text"].lower() in questions[name]["prompt"].lower())
            ),
            None,
        )
        if index is None:
            notes.append(f"Not among the test questions: {entry.get('text', entry.get('id'))}")
        else:
            found.append((index, "question of the paper"))
    return found, notes


def case_rows(runs: dict[str, Run], questions: dict, index: int, why: str) -> list[dict]:
    """Return a case as one row for each method; probabilities in percent."""
    fine = runs["finetune"]
    question = questions[fine.ids[index]]
    candidates = question["candidates"]
    gold, rival = fine.answers[index], fine.predictions[index]
    rows = []
    for method in METHODS:
        run = runs[method]
        probabilities = 100 * np.exp(np.asarray(run.candidate_log_probs[index]))
        rows.append(
            {
                "case": why,
                "family": run.family,
                "benchmark": run.benchmark,
                "id": run.ids[index],
                "prompt": question["prompt"],
                "gold": gold,
                "finetune_answer": rival,
                "method": method,
                "seed": run.seed,
                "answer": run.predictions[index],
                "correct": bool(run.correct[index]),
                "confidence": 100 * float(run.confidence[index]),
                "probability_gold": float(probabilities[candidates.index(gold)]),
                "probability_finetune_answer": float(probabilities[candidates.index(rival)]),
            }
        )
    return rows


def error_summary(run: Run) -> dict:
    """Return how confident a method is when wrong and when right, over all questions (percent)."""
    wrong = run.confidence[~run.correct]
    right = run.confidence[run.correct]
    return {
        "method": run.method,
        "n_wrong": wrong.size,
        "n": run.correct.size,
        "wrong": 100 * float(wrong.mean()) if wrong.size else None,
        "right": 100 * float(right.mean()) if right.size else None,
        "over_90": 100 * float((wrong > 0.9).mean()) if wrong.size else None,
    }


def _cases(rows: list[dict]) -> list[list[dict]]:
    return [rows[i : i + len(METHODS)] for i in range(0, len(rows), len(METHODS))]


def markdown(rows: list[dict], summary: list[dict], notes: list[str], run: Run) -> str:
    """Return the cases with their text, then the summary over all errors."""
    lines = ["# Table 2", "", CAPTION, ""]
    lines += [f"Family {family_name(run.family)}, seed {run.seed}, scale `{run.scale}`."]
    if not rows:
        lines += ["", "The fine-tuned student makes no error here."]
    for number, case in enumerate(_cases(rows), start=1):
        one = case[0]
        lines += ["", f"## Case {number}: {one['case']} (`{one['id']}`)", "", "```"]
        lines += [one["prompt"].rstrip(), "```", ""]
        lines += [f"Right: {one['gold']}. Fine-tune answers {one['finetune_answer']}.", ""]
        lines += ["| Method | Answers | p(right answer), % | p(fine-tune's answer), % |"]
        lines += ["|:--|:--|--:|--:|"]
        for row in case:
            lines.append(
                f"| {method_name(row['method'])} | {row['answer']}"
                f"{' (right)' if row['correct'] else ''} | {row['probability_gold']:.1f} "
                f"| {row['probability_finetune_answer']:.1f} |"
            )
    lines += ["", "## All errors", ""]
    lines += ["| Method | Wrong answers | Confidence when wrong | Confidence when right "]
    lines[-1] += "| Wrong with confidence > 90 |"
    lines += ["|:--|--:|--:|--:|--:|"]
    for entry in summary:
        numbers = [entry["wrong"], entry["right"], entry["over_90"]]
        shown = ["–" if value is None else f"{value:.1f}" for value in numbers]
        lines.append(
            f"| {method_name(entry['method'])} | {entry['n_wrong']} of {entry['n']} | "
            f"{shown[0]} | {shown[1]} | {shown[2]} % of errors |"
        )
    return "\n".join([*lines, *([""] if notes else []), *[f"- {note}" for note in notes]]) + "\n"


def latex(rows: list[dict]) -> str:
    """Return a table* that needs only booktabs."""
    out = [r"% needs \usepackage{booktabs}", r"\begin{table*}[t]", r"\centering\small"]
    out += [r"\begin{tabular}{p{0.5\textwidth}llrr}", r"\toprule"]
    out += [r"Question & Method & Answers & $p$(right) & $p$(fine-tune's) \\"]
    for case in _cases(rows):
        out.append(r"\midrule")
        for i, row in enumerate(case):
            text = _escape(row["prompt"]).strip().replace("\n", r" \newline ") if i == 0 else ""
            if i == 1:
                text = _escape(f"Right: {row['gold']}; fine-tune answers {row['finetune_answer']}.")
            out.append(
                f"{text} & {_escape(method_name(row['method']))} & {_escape(row['answer'])} & "
                rf"{row['probability_gold']:.1f} & {row['probability_finetune_answer']:.1f} \\"
            )
    caption = rf"\caption{{{_escape(CAPTION)}}}"
    return "\n".join([*out, r"\bottomrule", r"\end{tabular}", caption, r"\end{table*}"]) + "\n"


ESCAPES = {c: "\\" + c for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
ESCAPES |= {"^": r"\textasciicircum{}"}


def _escape(text: str) -> str:
    return "".join(ESCAPES.get(c, c) for c in text)
