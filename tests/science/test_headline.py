"""The five claims: Holm, what counts, and what simulated tables say of the verdicts."""

import numpy as np
import pytest

from benchmarks.power import held, table
from first_distill.reporting.claims.claims import depends, markdown
from first_distill.reporting.claims.headline import FIVE, corrected, headline, holm, open_choices
from first_distill.reporting.claims.methods import CLAIMS, method_claims
from first_distill.reporting.claims.verdicts import FAILS, HOLDS, UNDECIDED, counted


def test_holm():
    # An example of the textbooks: only the two smallest are below .05.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]  # never above 1, never below a smaller one's
    assert holm([0.2]) == [0.2] and holm([]) == []


def test_every_claim_is_judged():
    ids = {claim.id for claim in CLAIMS}
    assert {name for names in FIVE.values() for name in names} <= ids and len(FIVE) == 5


def entry(name: str, p: float, counted: int = 12, verdict: str = HOLDS) -> dict:
    numbers = {"p": p, "cells_counted": counted, "cells": [{}] * 12}
    return {"id": name, "verdict": verdict, "numbers": numbers, "reason": "why"}


def test_the_correction_is_for_the_claims_that_can_be_decided():
    names = [name for own in FIVE.values() for name in own]
    claims = [entry(name, 0.004) for name in names]
    assert {row["verdict"] for row in headline(claims)} == {HOLDS}  # 10 * 0.004 < 0.05
    claims = [entry(name, 0.006) for name in names]
    assert {row["verdict"] for row in headline(claims)} == {UNDECIDED}
    blocked = [entry(name, 0.006, counted=6 if "out" in name else 12) for name in names]
    found = {row["domain"]: set() for row in headline(blocked)}
    for row in headline(blocked):
        found[row["domain"]].add((row["verdict"], row["p_holm"] is None))
    assert found == {"in_domain": {(HOLDS, False)}, "out_of_domain": {(UNDECIDED, True)}}


def test_the_verdict_of_an_entry_is_the_corrected_one():
    """Ten claims of p 0.006: each interval excludes 0, and none is below 0.05 times ten."""
    names = [name for own in FIVE.values() for name in own]
    claims = [entry(name, 0.006) for name in [*names, "another"]]
    *five, other = corrected(claims, headline(claims))
    assert [claim["id"] for claim in five] == names and other == claims[-1]
    for claim in five:
        assert (claim["verdict"], claim["verdict_by_interval"]) == (UNDECIDED, HOLDS)
        assert claim["p_holm"] == pytest.approx(0.06) and claim["numbers"]["p"] == 0.006
        assert "not decided once corrected" in claim["reason"]
    claims = [entry(name, 0.004) for name in names]
    for claim in corrected(claims, headline(claims)):
        assert claim["verdict"] == claim["verdict_by_interval"] == HOLDS
        assert claim["reason"] == "why"


def test_counts_are_sentences():
    verdicts = [HOLDS, UNDECIDED, HOLDS, FAILS]
    assert counted(verdicts) == "2 hold, 1 does not hold, 1 is undecided"
    assert counted([FAILS, FAILS, UNDECIDED, UNDECIDED]) == "2 do not hold, 2 are undecided"
    assert counted([HOLDS]) == "1 holds"


def test_what_depends_on_open_choices():
    evidence = table(np.random.default_rng(0), 0.15, 0.0)
    choices = open_choices(evidence, headline(method_claims(evidence)))
    by_text = {row["text"]: row["others"] for row in choices}
    assert by_text["FIRST has a lower ECE than fine-tuning"].keys() == {
        *("15 bins", "confidence among the candidates"),
    }
    # The candidates have all of the probability: nothing changes.
    for row in choices:
        numbers = row["entry"]["numbers"]
        for own, _ in [row["others"].get("confidence among the candidates", (numbers, ""))]:
            assert own["value"] == pytest.approx(numbers["value"], abs=0.5)
    changed = dict(choices[1], others={"15 bins": ({}, UNDECIDED)})
    assert "Verdicts that change: 1 of 1. FIRST" in depends([changed])
    assert "change: 0 of 1." in depends([dict(choices[1], others={"x": ({}, HOLDS)})])


def test_all_cells_are_a_choice_where_some_cannot_decide():
    """A family whose students guess: its two cells count among all cells only."""
    evidence = table(np.random.default_rng(0), 0.15, 0.0)
    for key, runs in evidence.groups.items():
        for run in runs if key.family == "a" else ():
            run.metrics["majority"] = 100.0
    claims = method_claims(evidence)
    five = headline(claims)
    choices = open_choices(evidence, five)
    for row in choices:
        numbers, every = row["entry"]["numbers"], row["others"]["all cells"][0]
        assert every["value"] == pytest.approx(np.mean([c["value"] for c in numbers["cells"]]))
        assert numbers["cells_counted"] == 4
    page = markdown(corrected(claims, five), five, choices, "x", "x", "A world.")
    assert page.splitlines()[2] == "A world."
    assert page.count("| Effect, all cells") == page.count("| all cells") == 1


def test_a_method_that_was_not_evaluated_leaves_its_claims_open():
    evidence = table(np.random.default_rng(0), 0.15, 0.0)
    places = [key for key in evidence.groups if key.method == "distill"]
    evidence.groups = {k: runs for k, runs in evidence.groups.items() if k not in places}
    claims = method_claims(evidence)
    five = {row["text"]: row for row in headline(claims)}
    missing = five["FIRST has a lower ECE than direct distillation"]
    assert (missing["verdict"], missing["p_holm"]) == (UNDECIDED, None)
    rows = [*five.values()]
    page = markdown(corrected(claims, rows), rows, open_choices(evidence, rows), "x", "x", "")
    assert "not evaluated" in page and "| all cells" not in page and "Effect, all" not in page


def test_a_planted_effect_is_found_and_none_is_not():
    # `python -m benchmarks.coverage` has the long form.
    rng, lower = np.random.default_rng(5), [text for text in FIVE if "lower ECE" in text]
    planted = [held(table(rng, 0.2, 0.0)) for _ in range(8)]
    none = [held(table(rng, 0.1, 0.1)) for _ in range(8)]
    for text in lower:
        assert sum(found[text] for found in planted) == 8
        assert sum(found[text] for found in none) == 0
