"""A verdict on each claim of the paper: holds, does not hold or undecided.

Reads Table 1, the predictions behind it, the temperature searches and the data of Figures 2 and 3;
writes claims.json (a list) and claims.md.
"""

from __future__ import annotations

import argparse

from scripts.first.calibration.intervals import LEVEL, RESAMPLES
from scripts.first.reporting import output
from scripts.first.reporting.claims import teacher
from scripts.first.reporting.claims.methods import method_claims
from scripts.first.reporting.claims.verdicts import FAILS, HOLDS, UNDECIDED, Evidence, Place, scope
from scripts.first.reporting.runs import load_runs


def run(args: argparse.Namespace) -> None:
    """Write prefix.json, prefix.md and their record."""
    options = ("families", "corpora", "selected", "coarse", "refined")
    searches = [
        {
            "family": family,
            "corpus": corpus,
            "selected": output.read("selected.json", selected, "c", "at_edge"),
            "coarse": output.read("coarse.csv", coarse, "c", "n").to_dict("records"),
            "refined": output.read("refined.csv", refined, "c", "n").to_dict("records"),
        }
        for family, corpus, selected, coarse, refined in output.paired(args, *options)
    ]
    edges = {(s["family"], s["corpus"]) for s in searches if s["selected"]["at_edge"]}
    table = output.read("table1.csv", args.table1, "scale", *Place._fields)
    places = [
        Place(*row) for row in table[[*Place._fields]].drop_duplicates().itertuples(index=False)
    ]
    evidence = Evidence(load_runs(args.metrics, posthoc=args.posthoc), places, edges)
    claims = [
        *method_claims(evidence),
        *teacher.temperature_claims(searches, teacher.teacher_obstacles(evidence)),
        *teacher.coverage_claims(output.read("figure2.csv", args.figure2, "k", "mass_mean")),
        *teacher.rank_claims(output.read("figure3.csv", args.figure3, "method", "gap"), evidence),
    ]
    scale = str(table["scale"].iloc[0])
    claims = [{**claim, "scope": f"scale {scale}: {claim['scope']}"} for claim in claims]
    sources = [args.table1, args.figure2, args.figure3, *args.metrics, *args.selected]
    page = markdown(claims, scale, scope(places))
    output.publish(args.output_prefix, "claims", sources, json=claims, md=page)


def markdown(claims: list[dict], scale: str, covered: str) -> str:
    """Return the verdicts at a glance, then how each claim was tested."""
    verdicts = [claim["verdict"] for claim in claims]
    head, rows, tests = ["Claim", "Verdict", "Deciding cells", "All cells", "Reason"], [], []
    for claim in claims:
        numbers = (_number(claim["numbers"]), _number(claim["numbers"].get("all_cells", {})))
        rows.append([claim["claim"], f"**{claim['verdict']}**", *numbers, claim["reason"]])
        note = f" {claim['note']}" if "note" in claim else ""
        tests.append(f"- `{claim['id']}` ({claim['scope']}): {claim['test']}.{note}")
    return output.page(
        f"# Claims of the paper at scale `{scale}`",
        ", ".join(f"{verdicts.count(v)} {v}" for v in (HOLDS, FAILS, UNDECIDED)) + ".",
        f"Judged on {covered}. Intervals: {LEVEL:.0%}, bootstrap over questions ({RESAMPLES} "
        "resamples, the same for all models). They say nothing about another pretraining run: a "
        "verdict also needs the same sign in every family. It is undecided where the interval "
        "contains the threshold, models are at the chance or majority level, or c lies at the edge "
        "of the grid. Cells that cannot decide count only in the column of all cells; every cell "
        "is in claims.json.",
        output.pipe_table(rows, head),
        "## Tests",
        "\n".join(tests),
    )


def _number(numbers: dict) -> str:
    if "range" in numbers:
        return f"{numbers['range'][0]:.4g} to {numbers['range'][1]:.4g}"
    return "{value:.1f} [{low:.1f}, {high:.1f}]".format(**numbers) if "low" in numbers else ""
