"""A verdict on each claim of the paper: holds, does not hold or undecided.

Reads Table 1, the predictions behind it, the temperature searches and the data of Figures 2 and 3;
writes claims.json (a list) and claims.md.
"""

from __future__ import annotations

import argparse

from scripts.first.calibration.intervals import LEVEL, RESAMPLES
from scripts.first.files import read_csv, write_json, write_text
from scripts.first.provenance.made_by import seal
from scripts.first.provenance.records import read, verified
from scripts.first.reporting.claims.evidence import LABELS, Evidence, Place, scope
from scripts.first.reporting.claims.methods import method_claims
from scripts.first.reporting.claims.teacher import (
    coverage_claims,
    rank_claims,
    teacher_obstacles,
    temperature_claims,
)
from scripts.first.reporting.claims.verdicts import FAILS, HOLDS, UNDECIDED
from scripts.first.reporting.layout import page, pipe_table
from scripts.first.reporting.options import paired
from scripts.first.reporting.runs import load_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts claims`."""
    parser.add_argument("--table1", required=True, help="table1.csv")
    parser.add_argument("--predictions", nargs="+", required=True, help="those behind Table 1")
    parser.add_argument("--metrics", nargs="+", required=True, help="same order as --predictions")
    parser.add_argument("--selected", nargs="+", required=True, help="selected.json of each search")
    parser.add_argument("--coarse", nargs="+", required=True, help="coarse.csv, same order")
    parser.add_argument("--refined", nargs="+", required=True, help="refined.csv, same order")
    parser.add_argument("--families", nargs="+", required=True, help="of each search, same order")
    parser.add_argument("--corpora", nargs="+", required=True, help="of each search, same order")
    parser.add_argument("--figure2", required=True, help="figure2.csv")
    parser.add_argument("--figure3", required=True, help="figure3.csv")
    parser.add_argument("--output-prefix", required=True, help="path without .json, .md")


def run(args: argparse.Namespace) -> None:
    """Write prefix.json, prefix.md and their record."""
    searches = [
        {
            "family": family,
            "corpus": corpus,
            "selected": read(selected),
            "coarse": read_csv(verified(coarse)).to_dict("records"),
            "refined": read_csv(verified(refined)).to_dict("records"),
        }
        for selected, coarse, refined, family, corpus in paired(
            args, "selected", "coarse", "refined", "families", "corpora"
        )
    ]
    edges = {(s["family"], s["corpus"]) for s in searches if s["selected"]["at_edge"]}
    table = read_csv(verified(args.table1))
    places = [Place(*row) for row in table[[*LABELS]].drop_duplicates().itertuples(index=False)]
    evidence = Evidence(load_runs(args.predictions, args.metrics), places, edges)
    claims = [
        *method_claims(evidence),
        *temperature_claims(searches, teacher_obstacles(evidence)),
        *coverage_claims(read_csv(verified(args.figure2))),
        *rank_claims(read_csv(verified(args.figure3), dtype={"rank": str}), evidence),
    ]
    scale = str(table["scale"].iloc[0])
    claims = [{**claim, "scope": f"scale {scale}: {claim['scope']}"} for claim in claims]
    write_json(args.output_prefix + ".json", claims)
    write_text(args.output_prefix + ".md", markdown(claims, scale, scope(places)))
    sources = [args.table1, args.figure2, args.figure3, *args.metrics, *args.selected]
    seal(args.output_prefix, "claims", ("json", "md"), sources)


def markdown(claims: list[dict], scale: str, covered: str) -> str:
    """Return the verdicts at a glance, then each claim with its test, numbers and cells."""
    verdicts = [claim["verdict"] for claim in claims]
    paragraphs = [
        f"# Claims of the paper at scale `{scale}`",
        ", ".join(f"{verdicts.count(v)} {v}" for v in (HOLDS, FAILS, UNDECIDED)) + ".",
        f"Judged on {covered}. Intervals: {LEVEL:.0%}, bootstrap over questions "
        f"({RESAMPLES} resamples, the same questions for all methods and families). They say "
        "nothing about another pretraining run: a verdict over families also needs the same sign "
        "in each of them, and is undecided where the interval contains the threshold, where the "
        "models are at the chance or majority level, or where c lies at the edge of the grid.",
        "A verdict rests on the cells that can decide; beside them stand all cells.",
    ]
    head, rows = ["Claim", "Verdict", "Deciding cells", "All cells", "Reason"], []
    for claim in claims:
        numbers = (_number(claim["numbers"]), _number(claim["numbers"].get("all_cells", {})))
        rows.append([claim["claim"], f"**{claim['verdict']}**", *numbers, claim["reason"]])
    paragraphs.append(pipe_table(head, rows, left=5))
    for claim in claims:
        numbers = claim["numbers"]
        points = {name: claim.get(name) for name in ("test", "scope", "reason", "note")}
        if ends := numbers.get("t_interval_over_families"):
            points["t interval over families"] = f"[{ends[0]:.1f}, {ends[1]:.1f}]"
        rows = []
        for row in (*numbers.get("by_column", ()), *numbers.get("cells", ())):
            name = ", ".join(row[label] for label in (*LABELS, "method") if label in row)
            why = row.get("obstacle") or row.get("reason")
            verdict = row["verdict"] + (f" ({why})" if why else "")
            rows.append([name, verdict, row.get("n", ""), _number(row)])
        paragraphs += [f"## {claim['id']}: {claim['verdict']}", claim["claim"]]
        paragraphs.append("\n".join(f"- {name}: {text}" for name, text in points.items() if text))
        if rows:
            paragraphs.append(pipe_table(["Column or cell", "Verdict", "n", "Value"], rows, left=2))
    return page(*paragraphs)


def _number(numbers: dict) -> str:
    if "range" in numbers:
        return f"{numbers['range'][0]:.4g} to {numbers['range'][1]:.4g}"
    if "low" in numbers:
        return f"{numbers['value']:.1f} [{numbers['low']:.1f}, {numbers['high']:.1f}]"
    return "; ".join(f"{name} {value:g}" for name, value in numbers.get("shown", {}).items())
