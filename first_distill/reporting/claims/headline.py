"""The paper's five claims, in-domain and out-of-domain, corrected for their number.

They are claims on Table 1 as all others are; here Holm's method corrects their p-values, and each
is judged again under the choices that the paper leaves open and that need no other model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from first_distill.calibration.intervals import LEVEL
from first_distill.reporting.claims.methods import CLAIMS
from first_distill.reporting.claims.verdicts import UNDECIDED, Evidence, decide, judge

DOMAINS = ("in_domain", "out_of_domain")
FIVE = {  # claim: its entries in-domain and out-of-domain
    "Fine-tuning makes the student over-confident": (
        "finetune_over_confident",
        "finetune_over_confident_out_of_domain",
    ),
    **{
        f"FIRST has {text}": tuple(f"first_{claim}_{domain}" for domain in DOMAINS)
        for text, claim in (
            ("a lower ECE than fine-tuning", "ece_against_finetune"),
            ("a lower ECE than direct distillation", "ece_against_distill"),
            ("a lower ECE than distillation with label smoothing", "ece_against_distill_ls"),
            ("no lower accuracy than fine-tuning (margin: 1 point)", "accuracy_against_finetune"),
        )
    },
}
VARIANTS = {"15 bins": "ece_15", "confidence among the candidates": "ece_candidates"}  # of the ECE
CORRECTED = "; not decided once corrected for the number of claims"


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's corrected p-values: each is below a level if its hypothesis is rejected there.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none is below a smaller one.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, last = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        last = max(last, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = last
    return corrected


def headline(claims: Sequence[dict]) -> list[dict]:
    """Return the five claims in each domain: `text`, `domain`, `entry`, `p_holm`, `verdict`.

    claims: all entries, as they are judged. Claims that cannot be decided do not count. `entry`
    has the verdict by the interval alone.
    """
    by_id = {claim["id"]: claim for claim in claims}
    rows = [
        {"text": text, "domain": domain, "entry": by_id[name]}
        for text, names in FIVE.items()
        for domain, name in zip(DOMAINS, names, strict=True)
        if name in by_id
    ]
    tested = [row for row in rows if decidable(row["entry"])]
    corrected = holm([row["entry"]["numbers"]["p"] for row in tested])
    for row, p in zip(tested, corrected, strict=True):
        row["p_holm"] = p
        verdict = row["entry"]["verdict"]
        row["verdict"] = verdict if p < 1 - LEVEL else UNDECIDED
    return [{"p_holm": None, "verdict": UNDECIDED, **row} for row in rows]


def corrected(claims: Sequence[dict], five: Sequence[dict]) -> list[dict]:
    """Return the claims as they stand in claims.json: `verdict` is what counts.

    For the five claims of `headline` that is the corrected one; `verdict_by_interval` is not.
    """
    own = {}
    for row in five:
        entry, verdict = row["entry"], row["verdict"]
        own[entry["id"]] = {
            "verdict": verdict,
            "reason": entry["reason"] + ("" if verdict == entry["verdict"] else CORRECTED),
            "verdict_by_interval": entry["verdict"],
            "p_holm": row["p_holm"],
        }
    return [claim | own.get(claim["id"], {}) for claim in claims]


def decidable(entry: dict) -> bool:
    """Whether more than half of the cells of a claim can decide it."""
    numbers = entry["numbers"]
    return bool(numbers) and 2 * numbers["cells_counted"] > len(numbers["cells"])


def open_choices(evidence: Evidence, rows: Sequence[dict]) -> list[dict]:
    """Return how each headline claim on the ECE ends with other bins and other confidences.

    `others`: {choice: (numbers, verdict)}, by the interval alone; beside VARIANTS, all cells,
    where some cannot decide.
    """
    by_id, found = {claim.id: claim for claim in CLAIMS}, []
    for row in rows:
        entry, claim = row["entry"], by_id[row["entry"]["id"]]
        if not entry["numbers"]:
            continue
        every, others = entry["numbers"]["all_cells"], {}
        if entry["numbers"]["cells_counted"] < len(entry["numbers"]["cells"]):
            verdict = decide(every["low"], every["high"], claim.threshold, claim.above)
            others["all cells"] = (every, verdict)
        if claim.metric == "ece":
            places = [p for p in evidence.places if claim.setting in ("", p.domain)]
            for name, metric in VARIANTS.items():
                again = judge(replace(claim, metric=metric), evidence, places)
                others[name] = (again["numbers"], again["verdict"])
        found.append({**row, "others": others})
    return found
