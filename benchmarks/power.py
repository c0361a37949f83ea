"""How often the five claims hold in simulated tables, with and without a planted effect.

A table has three families, three seeds and two in-domain columns. All students have the same
accuracy; fine-tuned, distilled and smoothed ones are over-confident by `effect` points, FIRST is
not, and families and seeds differ in that by their own deviations. Without an effect FIRST is as
over-confident as they are.
"""

from __future__ import annotations

import numpy as np
import pandas

from first_distill.reporting.claims.headline import FIVE, headline
from first_distill.reporting.claims.methods import CLAIMS
from first_distill.reporting.claims.verdicts import HOLDS, Evidence, Place, entry, judge
from first_distill.reporting.runs import Key, Run

FAMILIES, SEEDS = ("a", "b", "c"), (1, 2, 3)
COLUMNS = (("csqa", 5), ("boolq", 2))  # (benchmark, candidates)
METHODS = ("finetune", "distill", "distill_ls", "first_ts")
QUESTIONS = 500
ACCURACY = 0.65
FAMILY_DEVIATION, SEED_DEVIATION = 0.02, 0.015  # of over-confidence, as fractions

TEXT = """Share of {count} simulated tables in which a claim holds, in percent, corrected for their
number. A table has three families with three seeds each and two in-domain columns of 500
questions. Fine-tuned, distilled and smoothed students are over-confident by the effect, FIRST is
not; with no effect all are so by 10 points. Over-confidence varies by 2 points between families
and by 1.5 between seeds. All have the same accuracy, so that "no lower accuracy" is true."""


def table(rng: np.random.Generator, effect: float, first: float) -> Evidence:
    """A simulated table: over-confidence `effect` of the rivals and `first` of FIRST, fractions."""
    groups: dict[Key, list[Run]] = {}
    for benchmark, candidates in COLUMNS:
        difficulty = rng.random(QUESTIONS)
        for family in FAMILIES:
            for method in METHODS:
                own = first if method == "first_ts" else effect
                own += FAMILY_DEVIATION * rng.standard_normal()
                key = Key(family, benchmark, method, benchmark)
                groups[key] = [
                    _run(key, seed, own + SEED_DEVIATION * rng.standard_normal(), difficulty, rng)
                    for seed in SEEDS
                ]
                for run in groups[key]:
                    run.metrics.update(chance=100 / candidates, majority=100 / candidates)
    places = [Place(f, "in_domain", b, b) for f in FAMILIES for b, _ in COLUMNS]
    return Evidence(groups, places, set())


def _run(key: Key, seed: int, over: float, difficulty: np.ndarray, rng) -> Run:
    """Confidences around accuracy + over; half of the luck is the question's."""
    n = len(difficulty)
    right = rng.beta(6 * ACCURACY, 6 * (1 - ACCURACY), n)
    confidence = np.clip(right + over, 0.001, 0.999)
    luck = np.where(rng.random(n) < 0.5, difficulty, rng.random(n))
    correct = luck < right
    # Two candidates: the answer's is the first.
    logs = np.log(np.column_stack([confidence, 1 - confidence]))
    logs[~correct] = logs[~correct][:, ::-1]
    rows = {"confidence": confidence, "correct": correct, "gold": np.zeros(n, dtype=int)}
    metrics = {**key._asdict(), "seed": seed, "bins": 10, "constant_output": False}
    return Run(metrics, pandas.DataFrame(rows | {"candidate_log_probs": list(logs)}))


def held(evidence: Evidence) -> dict[str, bool]:
    """Which of the five claims hold in-domain, corrected for their number."""
    names = {own[0] for own in FIVE.values()}
    entries = [
        entry(claim.id, claim.text, claim.test, judge(claim, evidence, evidence.places), "")
        for claim in CLAIMS
        if claim.id in names
    ]
    return {row["text"]: row["verdict"] == HOLDS for row in headline(entries)}


EFFECTS = (0.0, 5.0, 10.0, 15.0, 20.0)  # points


def row_of(effect: float, count: int) -> dict[str, float]:
    """The share of `count` tables with this effect in which each claim holds, in percent."""
    rng = np.random.default_rng([int(effect), count])
    # Without an effect all are equally over-confident.
    over, first = (0.1, 0.1) if not effect else (effect / 100, 0.0)
    found = pandas.DataFrame([held(table(rng, over, first)) for _ in range(count)])
    against = [name for name in found if "lower ECE" in name]
    return {
        "effect, points": effect,
        **{name: 100 * float(share) for name, share in found.mean().items()},
        "any lower ECE": 100 * float(found[against].any(axis=1).mean()),
    }
