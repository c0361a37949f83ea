"""A verdict on each claim of the paper: holds, does not hold or undecided.

Reads Table 1, the predictions behind it, the temperature searches and the data of Figures 2 and 3;
writes claims.json (a list) and claims.md.
"""

from __future__ import annotations

import argparse

from scripts.first.calibration.intervals import LEVEL
from scripts.first.reporting import output
from scripts.first.reporting.claims import teacher
from scripts.first.reporting.claims.headline import headline, open_choices
from scripts.first.reporting.claims.methods import method_claims
from scripts.first.reporting.claims.verdicts import FAILS, HOLDS, UNDECIDED, Evidence, Place, scope
from scripts.first.reporting.names import printed
from scripts.first.reporting.runs import load_runs

CORRECTED = "; not decided once corrected for the number of claims"


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
    five = headline(claims)
    for row in five:
        row["entry"] |= {"p_holm": row["p_holm"], "verdict_holm": row["verdict"]}
    sources = [args.table1, args.figure2, args.figure3, *args.metrics, *args.selected]
    page = markdown(claims, five, open_choices(evidence, five), scale, scope(places))
    output.publish(args.output_prefix, "claims", sources, json=claims, md=page)


def markdown(claims, five: list[dict], choices: list[dict], scale: str, covered: str) -> str:
    """Return the five claims, what depends on open choices, then all others and their tests."""
    shown = {row["entry"]["id"] for row in five}
    others = [claim for claim in claims if claim["id"] not in shown]
    verdicts = [claim["verdict"] for claim in others]
    head, rows, tests = ["Claim", "Verdict", "Deciding cells", "All cells", "Reason"], [], []
    for claim in others:
        numbers = (_number(claim["numbers"]), _number(claim["numbers"].get("all_cells", {})))
        rows.append([claim["claim"], f"**{claim['verdict']}**", *numbers, claim["reason"]])
    for claim in claims:
        note = f" {claim['note']}" if "note" in claim else ""
        text = f"- {claim['claim']} `{claim['id']}` ({claim['scope']}): {claim['test']}.{note}"
        tests.append(text)
    return output.page(
        f"# Claims of the paper at scale `{scale}`",
        f"Judged on {covered}. Intervals are {LEVEL:.0%} (docs/coverage.md), {_units(five)}.",
        "## The paper's five claims",
        output.pipe_table([_five(row) for row in five], numbers=".3f"),
        "Effects in points, means over the cells that can decide. p is two-sided and corrected "
        "for the number of claims that can be decided (Holm); a verdict needs p below "
        f"{1 - LEVEL:.2g}.",
        "## What depends on open choices",
        depends(choices),
        output.pipe_table([_choices(row) for row in choices]),
        "## All other claims",
        ", ".join(f"{verdicts.count(v)} {v}" for v in (HOLDS, FAILS, UNDECIDED)) + ". Undecided: "
        "the interval contains the threshold, or at least half of the cells are at the chance or "
        "majority level or have a c at the edge of the grid. Cells that cannot decide count only "
        "in the column of all cells; every cell is in claims.json. Not corrected for their number.",
        output.pipe_table(rows, head),
        "## Tests",
        "\n".join(tests),
    )


def _units(five: list[dict]) -> str:
    """What the intervals of the claims are for."""
    numbers = [row["entry"]["numbers"] for row in five if "n_units" in row["entry"]["numbers"]]
    if not numbers:
        return "for further questions"
    unit, count = numbers[0]["units"], max(own["n_units"] for own in numbers)
    if count == 1:
        return "for further questions: one family and one training seed leave out all else"
    kinds = "families, training seeds" if unit == "families" else "training seeds"
    return f"for further {kinds} and questions (units: {count} {unit})"


def _five(row: dict) -> dict[str, str]:
    entry, p = row["entry"], row["p_holm"]
    return {
        "Claim": row["text"],
        "": printed(row["domain"]),
        "Effect": _number(entry["numbers"]),
        "p": "" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001",
        "Verdict": f"**{row['verdict']}**",
        "Reason": entry["reason"] + ("" if row["verdict"] == entry["verdict"] else CORRECTED),
    }


def depends(choices: list[dict]) -> str:
    """Return in words which verdicts on the five claims change with an open choice."""
    changed = []
    for row in choices:
        entry = row["entry"]
        others = [
            f"{verdict} with {name}"
            for name, (_, verdict) in row["others"].items()
            if verdict != entry["verdict"]
        ]
        if others:
            where = f"{row['text']}, {printed(row['domain'])}"
            changed.append(f"{where} ({entry['verdict']}): {', '.join(others)}")
    names = ", ".join(dict.fromkeys(name for row in choices for name in row["others"]))
    head = f"Judged again with {names}, by the interval alone, "
    if not changed:
        return head + f"none of {len(choices)} verdicts changes."
    return head + f"{len(changed)} of {len(choices)} verdicts change. " + ". ".join(changed) + "."


def _choices(row: dict) -> dict[str, str]:
    shown = {"as above": (row["entry"]["numbers"], row["entry"]["verdict"]), **row["others"]}
    texts = {name: f"{_number(numbers)} {verdict}" for name, (numbers, verdict) in shown.items()}
    return {"Claim": f"{row['text']}, {printed(row['domain'])}", **texts}


def _number(numbers: dict) -> str:
    if "range" in numbers:
        return f"{numbers['range'][0]:.4g} to {numbers['range'][1]:.4g}"
    return "{value:.1f} [{low:.1f}, {high:.1f}]".format(**numbers) if "low" in numbers else ""
