"""A verdict on each claim of the paper: holds, does not hold or undecided.

Reads Table 1, the predictions behind it, the temperature searches and the data of Figures 2 and 3;
writes claims.json (a list) and claims.md.
"""

from __future__ import annotations

import argparse

from scripts.first.calibration.intervals import LEVEL, RESAMPLES
from scripts.first.errors import UserError
from scripts.first.files import read_csv, write_json, write_text
from scripts.first.provenance.records import read, verified
from scripts.first.reporting.claims.evidence import FAILS, HOLDS, UNDECIDED, Evidence, Place, scope
from scripts.first.reporting.claims.methods import method_claims
from scripts.first.reporting.claims.teacher import (
    coverage_claims,
    hold_back,
    rank_claims,
    teacher_obstacles,
    temperature_claims,
)
from scripts.first.reporting.runs import load_runs
from scripts.first.reporting.sealing import seal

TOLERANCE = 1e-5  # table1.csv has six decimals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts claims`."""
    parser.add_argument("--table1", required=True, help="table1.csv")
    parser.add_argument("--predictions", nargs="+", required=True, help="all that Table 1 rests on")
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
    lists = [args.selected, args.coarse, args.refined, args.families, args.corpora]
    if len({len(values) for values in lists}) != 1:
        raise UserError(
            "lists of unequal length: claims: "
            "--selected, --coarse, --refined, --families, --corpora pair up"
        )
    searches = [
        {
            "family": family,
            "corpus": corpus,
            "selected": read(selected),
            "coarse": read_csv(verified(coarse)).to_dict("records"),
            "refined": read_csv(verified(refined)).to_dict("records"),
        }
        for selected, coarse, refined, family, corpus in zip(*lists, strict=True)
    ]
    table = read_csv(verified(args.table1))
    edges = {(s["family"], s["corpus"]) for s in searches if s["selected"]["at_edge"]}
    places = [
        Place(*label)
        for label in dict.fromkeys(
            (row["family"], (row["setting"], row["corpus"], row["benchmark"]))
            for row in table.to_dict("records")
        )
    ]
    evidence = Evidence(load_runs(args.predictions, args.metrics), places, edges)
    check_table(table, evidence)
    obstacles = teacher_obstacles(evidence)
    claims = [
        *method_claims(evidence),
        *hold_back(temperature_claims(searches), obstacles),
        *coverage_claims(read_csv(verified(args.figure2))),
        *rank_claims(read_csv(verified(args.figure3), dtype={"rank": str}), evidence),
    ]
    scale = str(table["scale"].iloc[0])
    claims = [{**claim, "scope": f"scale {scale}: {claim['scope']}"} for claim in claims]
    write_json(args.output_prefix + ".json", claims)
    write_text(args.output_prefix + ".md", markdown(claims, scale, scope(places)))
    sources = [args.table1, args.figure2, args.figure3, *args.metrics, *args.selected]
    seal(args.output_prefix, "claims", ("json", "md"), sources)


def check_table(table, evidence: Evidence) -> None:
    """Raise UserError unless the predictions reproduce every ECE and accuracy of table1.csv."""
    for row in table.to_dict("records"):
        place = Place(row["family"], (row["setting"], row["corpus"], row["benchmark"]))
        name = f"{row['family']} {row['method']} {row['setting']} {row['benchmark']}"
        if evidence.runs(place, row["method"]) is None:
            raise UserError(f"no predictions of {name}: claims: give all that Table 1 rests on")
        value = evidence.score(place, row["method"]).value
        for metric in ("ece", "accuracy"):
            if abs(value[metric] - row[metric]) > TOLERANCE:
                raise UserError(
                    f"{metric} of {name}: {row[metric]:.4f} in Table 1 but {value[metric]:.4f} "
                    "from its predictions: make Table 1 again"
                )


def markdown(claims: list[dict], scale: str, covered: str) -> str:
    """Return the verdicts at a glance, then each claim with its test, numbers and cells."""
    counts = {v: sum(c["verdict"] == v for c in claims) for v in (HOLDS, FAILS, UNDECIDED)}
    lines = [f"# Claims of the paper at scale `{scale}`", ""]
    lines += [", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "."]
    lines += ["", f"Judged on {covered}. Intervals: {LEVEL:.0%}, bootstrap over questions "]
    lines[-1] += (
        f"({RESAMPLES} resamples, the same questions for all methods and families). They say "
        "nothing about another pretraining run: a verdict over families also needs the same sign "
        "in each of them, and is undecided where the interval contains the threshold, where the "
        "models are at the chance or majority level, or where c lies at the edge of the grid."
    )
    lines += ["", "A verdict rests on the cells that can decide; beside them stand all cells.", ""]
    lines += ["| Claim | Verdict | Deciding cells | All cells | Reason |", "|:--|:--|:--|:--|:--|"]
    for claim in claims:
        numbers = claim["numbers"]
        lines.append(
            f"| {claim['claim']} | **{claim['verdict']}** | {_number(numbers)} "
            f"| {_number(numbers.get('all_cells', {}))} | {claim['reason']} |"
        )
    for claim in claims:
        lines += ["", f"## {claim['id']}: {claim['verdict']}", "", claim["claim"], ""]
        lines += [f"- Test: {claim['test']}", f"- Scope: {claim['scope']}"]
        lines += [f"- Reason: {claim['reason']}"]
        if claim.get("note"):
            lines += [f"- Note: {claim['note']}"]
        families = claim["numbers"].get("t_interval_over_families")
        if families:
            lines += [f"- t interval over families: [{families[0]:.1f}, {families[1]:.1f}]"]
        lines += _cells(claim["numbers"])
    return "\n".join(lines) + "\n"


def _number(numbers: dict) -> str:
    if "range" in numbers:
        return f"{numbers['range'][0]:.4g} to {numbers['range'][1]:.4g}"
    if "low" not in numbers:
        return ""
    return f"{numbers['value']:.1f} [{numbers['low']:.1f}, {numbers['high']:.1f}]"


def _cells(numbers: dict) -> list[str]:
    lines = []
    if numbers.get("by_column"):
        lines += ["", "| Column, over families | Value | Verdict |", "|:--|--:|:--|"]
        for row in numbers["by_column"]:
            name = f"{row['setting']}, {row['corpus']} to {row['benchmark']}"
            lines.append(f"| {name} | {_number(row)} | {row['verdict']} ({row['reason']}) |")
    if numbers.get("cells"):
        lines += ["", "| Cell | n | Value | Verdict |", "|:--|--:|--:|:--|"]
    for cell in numbers.get("cells", []):
        parts = ("family", "setting", "corpus", "benchmark", "method")
        name = ", ".join(str(cell[key]) for key in parts if cell.get(key))
        why = f" ({cell['obstacle']})" if cell.get("obstacle") else ""
        shown = _number(cell) or "; ".join(f"{k} {v:g}" for k, v in cell.get("shown", {}).items())
        lines.append(f"| {name} | {cell['n']} | {shown} | {cell['verdict']}{why} |")
    return lines
