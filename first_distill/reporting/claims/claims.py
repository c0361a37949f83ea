"""A verdict on each claim of the paper: holds, does not hold or undecided.

Reads Table 1, the predictions behind it, the temperature searches and the data of Figures 2 and 3;
writes claims.json (a list) and claims.md. `verdict` of an entry is what claims.md says; the paper's
five claims have the one without Holm's correction, too, as `verdict_by_interval`.
"""

from __future__ import annotations

import argparse

from first_distill.calibration import intervals
from first_distill.errors import UserError
from first_distill.reporting import output
from first_distill.reporting.claims import teacher
from first_distill.reporting.claims.headline import corrected, headline, open_choices
from first_distill.reporting.claims.methods import CLAIMS, method_claims
from first_distill.reporting.claims.verdicts import Evidence, Place, counted, scope
from first_distill.reporting.names import LEVEL_SHOWN, printed
from first_distill.reporting.runs import load_runs

WORDS = """- **Holds**: the interval lies on the claimed side of a threshold (0 if the test \
names no other). **Does not hold**: it lies on the other side: the opposite is shown. \
**Undecided**: it contains the threshold, or at least half of the cells cannot decide. For one of \
the paper's five claims the first two must also stand once corrected for their number (Holm), or \
it is undecided.
- A cell is one family (one pretraining run) in one column of Table 1. It can decide if the models \
compared are above the chance and majority lines, none gives one answer to all questions, and \
FIRST's c, where it counts, is not at the edge of its grid. A family is on the claimed side if its \
own mean is.
- Claims on c, on the top five tokens and on ranks are judged cell by cell (a family and corpus, \
or a model and rank): they hold if all cells do, and do not hold if one does not."""
POWER = (
    "How large an effect must be to be found with three families of three seeds was simulated: "
    "docs/coverage.md."
)
MARK = "†"
DESIGNED = (
    f"{MARK} By the scale's design: its settings were chosen so that this holds, which is then no "
    "evidence for the claim."
)
RANGES = {  # unit: least to greatest of the cells
    "c": "c = {:.2f} to {:.2f}",
    "percent": "{:.1f} to {:.1f} %",
    "points": "{:z.1f} to {:z.1f} points",
}


def run(args: argparse.Namespace) -> None:
    """Write prefix.json, prefix.md and their record."""
    known = {claim.id for claim in CLAIMS} | teacher.CLAIMS.keys()
    for name in args.by_design:
        if name not in known:
            raise UserError(f"no claim {name!r}: claims: --by-design: give ids of claims.json")
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
    for claim in claims:
        claim["scope"] = f"scale {scale}: {claim['scope']}"
        if claim["id"] in args.by_design:
            claim["by_design"] = True
    five = headline(claims)
    claims, choices = corrected(claims, five), open_choices(evidence, five)
    sources = [args.table1, args.figure2, args.figure3, *args.metrics, *args.selected]
    page = markdown(claims, five, choices, scale, scope(places), args.description)
    output.publish(args.output_prefix, "claims", sources, json=claims, md=page)


def markdown(
    claims, five: list[dict], choices: list[dict], scale: str, covered: str, description: str | None
) -> str:
    """Return the five claims, what depends on open choices, then all others and their tests.

    claims: as `corrected` returns them.
    """
    by_id = {claim["id"]: claim for claim in claims}
    shown = [by_id[row["entry"]["id"]] for row in five]
    five_ids = {claim["id"] for claim in shown}
    others, tests = [claim for claim in claims if claim["id"] not in five_ids], []
    for claim in claims:
        note = f" {claim['note']}" if "note" in claim else ""
        text = f"- {claim['claim']} `{claim['id']}` ({claim['scope']}): {claim['test']}.{note}"
        tests.append(text)
    return output.page(
        f"# Claims of the paper at scale `{scale}`",
        description,
        WORDS,
        f"Judged on {covered}. Intervals are {LEVEL_SHOWN} (docs/coverage.md), {_units(five)}. "
        + POWER,
        "## The paper's five claims",
        _table([_five(row, claim) for row, claim in zip(five, shown, strict=True)]),
        "Effects in points, means over the cells that can decide. p is two-sided; beside it, "
        "corrected for the number of claims that can be decided (Holm). The verdicts of this table "
        f"need a corrected p below {1 - intervals.LEVEL:.2g}, so an interval that excludes the "
        "threshold is not enough.",
        "## What depends on open choices",
        depends(choices),
        _table([_choices(row) for row in choices]),
        "## All other claims",
        _others(others),
        "## Tests",
        "\n".join(tests),
    )


def _table(rows: list[dict]) -> str:
    """A table, with a line below that explains any mark."""
    table = output.pipe_table(rows, numbers=".3f")
    return f"{table}\n\n{DESIGNED}" if MARK in table else table


def _marked(text: str, entry: dict) -> str:
    return f"{text} {MARK}" if "by_design" in entry else text


def _others(claims: list[dict]) -> str:
    """The claims that are not corrected for their number: how many hold, and their table."""
    pooled = [claim["numbers"] for claim in claims if "all_cells" in claim["numbers"]]
    apart = any(_number(own) != _number(own["all_cells"]) for own in pooled)
    every = "The column of all cells has also those that cannot decide. " if apart else ""
    rows = []
    for claim in claims:
        row = {"Claim": _marked(claim["claim"], claim), "Verdict": f"**{claim['verdict']}**"}
        row["Effect"] = _number(claim["numbers"])
        if apart:
            row["Effect, all cells"] = _number(claim["numbers"].get("all_cells", {}))
        rows.append(row | {"Reason": claim["reason"]})
    return output.page(
        f"{counted([claim['verdict'] for claim in claims])}: by the interval alone, not corrected "
        "for the number of claims. Effects in points, means over the cells that can decide; those "
        f"of claims that are judged cell by cell are from the least to the greatest. {every}Every "
        "cell is in claims.json.",
        _table(rows),
    ).rstrip()


def _units(five: list[dict]) -> str:
    """What the intervals of the claims are for."""
    numbers = [row["entry"]["numbers"] for row in five if "n_units" in row["entry"]["numbers"]]
    if not numbers:
        return "for further questions"
    unit, count = numbers[0]["units"], max(own["n_units"] for own in numbers)
    if count == 1:
        return "for further questions: one family and one training seed leave out all else"
    if unit == "families":
        return f"for further families (here {count}), training seeds and questions"
    return f"for further training seeds (here {count}) and questions, within this family"


def _five(row: dict, claim: dict) -> dict[str, str]:
    tested = claim["p_holm"] is not None
    return {
        "Claim": _marked(row["text"], claim),
        "": printed(row["domain"]),
        "Effect": _number(claim["numbers"]),
        "p": _p(claim["numbers"]["p"]) if tested else "",
        "p, Holm": _p(claim["p_holm"]) if tested else "",
        "Verdict": f"**{claim['verdict']}**",
        "Reason": claim["reason"],
    }


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


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
            changed.append(f"{where}: {entry['verdict']}, but {', '.join(others)}.")
    names = "; ".join(dict.fromkeys(name for row in choices for name in row["others"]))
    if not names:
        return "Nothing to judge again."
    head = (
        f"Judged again with each of these: {names}. All verdicts of this table are by the "
        "interval alone, not corrected for the number of claims: they can differ from those above. "
        "A dash: the choice does not bear on the claim. Verdicts that change: "
        f"{len(changed)} of {len(choices)}."
    )
    return " ".join([head, *changed])


def _choices(row: dict) -> dict[str, str]:
    entry = row["entry"]
    shown = {"interval alone": (entry["numbers"], entry["verdict"]), **row["others"]}
    texts = {name: f"{_number(numbers)} {verdict}" for name, (numbers, verdict) in shown.items()}
    return {"Claim": _marked(f"{row['text']}, {printed(row['domain'])}", entry), **texts}


def _number(numbers: dict) -> str:
    if "range" in numbers:
        return RANGES[numbers["unit"]].format(*numbers["range"])
    return "{value:z.1f} [{low:z.1f}, {high:z.1f}]".format(**numbers) if "low" in numbers else ""
