"""Claims on Table 1: who is over-confident, and FIRST against the other methods."""

from __future__ import annotations

from first_distill.reporting.claims.verdicts import Claim, Evidence, Place, entry, judge, scope
from first_distill.reporting.names import UNTUNED, printed

RIVALS = ("finetune", "distill", "distill_ls", "finetune_ts", "finetune_ts_ece")
# A difference in accuracy that counts as "not lower" is well below the paper's own +2.3.
DIFFERENCES = {  # metric: (what FIRST has, above, threshold, test)
    "ece": ("a lower ECE", False, 0.0, "below 0 holds"),
    "trust": ("a higher trust", True, 0.0, "above 0 holds"),
    "accuracy": ("no lower accuracy", True, -1.0, "above -1 point holds (non-inferiority)"),
}
NOTES = {
    "distill_ls": "Table 1's label-smoothing rows look like a shift of log-probabilities, which "
    "hardly smooths; Eq. 3 as written is the stronger rival that is tested here by default.",
    "finetune_ts": "This baseline is ours: one temperature on the fine-tuned student's logits, "
    "fitted on validation. The paper does not have it.",
    "finetune_ts_ece": "This baseline is ours: a temperature fitted as c is, to the ECE.",
}
GAP = "mean confidence minus accuracy (points) over the cells: above 0 holds, below 0 does not"
OVER_CONFIDENT = {  # claim: (text, method, setting)
    "finetune_over_confident": (
        "Fine-tuning makes the student over-confident in-domain.",
        "finetune",
        "in_domain",
    ),
    "finetune_over_confident_out_of_domain": (
        "Fine-tuning makes the student over-confident out-of-domain.",
        "finetune",
        "out_of_domain",
    ),
    "teacher_over_confident": ("The fine-tuned teacher is over-confident.", "teacher", ""),
    "distill_inherits": (
        "Direct distillation inherits the teacher's over-confidence (in-domain).",
        "distill",
        "in_domain",
    ),
}
TUNED = {  # claim: (model, tuned and untuned)
    "tuning_raises_accuracy": ("student", ("finetune", "base")),
    "tuning_raises_teacher_accuracy": ("teacher", ("teacher", "base_teacher")),
}


def _against(rival: str, metric: str, setting: str = "") -> Claim:
    words, above, threshold, holds = DIFFERENCES[metric]
    number, name = words.split()[-1], printed(rival)
    suffix, where = (f"_{setting}", f", {printed(setting)}") if setting else ("", "")
    return Claim(
        f"first_{metric}_against_{rival}{suffix}",
        f"FIRST has {words} than {name}{where}.",
        f"{number} of FIRST minus {number} of {name}: {holds}, in the mean over the cells, "
        "paired by question and seed",
        *(("first_ts", rival), metric, setting, above, threshold),
        note=NOTES.get(rival, ""),
    )


CLAIMS = (
    *(
        Claim(name, text, GAP, (method,), "gap", setting)
        for name, (text, method, setting) in OVER_CONFIDENT.items()
    ),
    *(
        _against(rival, metric, setting)
        for rival in RIVALS
        for setting in ("", "in_domain")
        for metric in DIFFERENCES
        # A temperature changes no prediction: its accuracy is that of fine-tuning.
        if metric != "accuracy" or not rival.startswith("finetune_ts")
    ),
    _against("teacher", "ece"),
    *(_against("finetune", metric, "out_of_domain") for metric in DIFFERENCES),
    *(_against(rival, "ece", "out_of_domain") for rival in ("distill", "distill_ls")),
    Claim(
        "headline_ece",
        "FIRST lowers the ECE by 10 points on average over fine-tuning (Table 1: -9.96).",
        "mean ECE of FIRST minus that of fine-tuning over the cells that can decide: the "
        "interval below -9.5 (what rounds to -10) holds, above it does not",
        ("first_ts", "finetune"),
        "ece",
        above=False,
        threshold=-9.5,
    ),
    Claim(
        "headline_accuracy",
        "FIRST raises accuracy by 2.3 points on average over fine-tuning (Table 1: +2.24).",
        "mean accuracy of FIRST minus that of fine-tuning over the cells that can decide: the "
        "interval above 2.2 holds, below it does not",
        ("first_ts", "finetune"),
        "accuracy",
        threshold=2.2,
    ),
    *(
        Claim(
            name,
            f"Fine-tuning raises the {model}'s accuracy over the untuned {model}, in-domain "
            "(taken for granted by the paper).",
            f"accuracy of the fine-tuned minus accuracy of the untuned {model}: above 0 holds",
            methods,
            *("accuracy", "in_domain"),
            tested=methods[:1],
        )
        for name, (model, methods) in TUNED.items()
    ),
)


def method_claims(evidence: Evidence) -> list[dict]:
    """Return the claims in the paper's order, as they stand in claims.json.

    A claim on columns that this scale does not have, or on an untuned model that it does not
    evaluate, is left out; so is one on all columns that is made for their only domain as well.
    """
    entries, domains = [], {place.domain for place in evidence.places}
    only = domains.pop() if len(domains) == 1 else None
    made = {(claim.methods, claim.metric, claim.threshold, claim.setting) for claim in CLAIMS}
    for claim in CLAIMS:
        if not claim.setting and (claim.methods, claim.metric, claim.threshold, only) in made:
            continue
        places = [p for p in evidence.places if claim.setting in ("", p.domain)]
        last = claim.methods[-1]
        optional = last in UNTUNED and not any(evidence.runs(place, last) for place in places)
        if places and not optional:
            found = judge(claim, evidence, places)
            if found["numbers"]:
                found["numbers"]["by_column"] = _by_column(claim, evidence, places)
            entries.append(
                entry(claim.id, claim.text, claim.test, found, scope(places), claim.note)
            )
    return entries


def _by_column(claim: Claim, evidence: Evidence, places: list[Place]) -> list[dict]:
    rows = []
    for column in dict.fromkeys(place[1:] for place in places):
        found = judge(claim, evidence, [place for place in places if place[1:] == column])
        numbers = {k: v for k, v in found.pop("numbers").items() if k not in ("cells", "unit")}
        rows.append(dict(zip(Place._fields[1:], column, strict=True)) | numbers | found)
    return rows
