"""Verdicts follow the data: they flip when it flips and stay open when it cannot decide."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from scripts.artifacts import main
from scripts.first.errors import UserError
from scripts.first.files import read_csv, read_json, write_csv
from scripts.first.reporting.claims.evidence import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Evidence,
    Place,
    combine,
    decide,
)
from scripts.first.reporting.claims.methods import method_claims
from scripts.first.reporting.claims.teacher import (
    coverage_claims,
    hold_back,
    rank_claims,
    teacher_obstacles,
    temperature_claims,
)
from scripts.first.reporting.runs import load_runs
from tests.science.artifacts_world import COLUMNS, FAMILIES, METHODS, write_search, write_tree

PLACES = [
    Place(family, ("in_domain" if corpus == benchmark else "out_of_domain", corpus, benchmark))
    for family in FAMILIES
    for corpus, benchmark in COLUMNS
]


def evidence_of(tree, edges=()):
    runs = [run for group in tree.values() for run in group]
    return Evidence(load_runs([r[0] for r in runs], [r[1] for r in runs]), PLACES, set(edges))


def verdicts(evidence):
    return {claim["id"]: claim["verdict"] for claim in method_claims(evidence)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("runs"), n=500)


@pytest.fixture(scope="module")
def usual(tree):
    return verdicts(evidence_of(tree))


def test_decide_and_combine():
    assert decide(1, 2, 0, above=True) == HOLDS
    assert decide(1, 2, 0, above=False) == FAILS
    assert decide(-1, 2, 0, above=True) == UNDECIDED
    assert decide(-2, -1, 0, above=False) == HOLDS
    assert combine([HOLDS, UNDECIDED]) == UNDECIDED
    assert combine([HOLDS, UNDECIDED, FAILS]) == FAILS
    assert combine([]) == UNDECIDED


def test_what_was_built_in_is_found(usual):
    assert usual["finetune_over_confident"] == HOLDS
    assert usual["teacher_over_confident"] == HOLDS
    assert usual["first_ece_against_finetune"] == HOLDS
    assert usual["first_trust_against_distill"] == HOLDS
    assert usual["first_ece_against_finetune_out_of_domain"] == HOLDS
    assert usual["first_trust_against_finetune_in_domain"] == HOLDS
    assert usual["tuning_raises_accuracy"] == HOLDS


def test_verdicts_flip_when_the_methods_swap_places(tmp_path):
    swapped = {**METHODS, "first_ts": METHODS["finetune"], "finetune": METHODS["first_ts"]}
    swapped["distill"] = (0.68, -0.10)
    found = verdicts(evidence_of(write_tree(tmp_path, n=500, methods=swapped)))
    assert found["first_ece_against_finetune"] == FAILS
    assert found["first_trust_against_finetune"] == FAILS
    assert found["headline_ece"] == FAILS
    assert found["distill_inherits"] == FAILS


def test_equal_methods_stay_undecided(tmp_path):
    equal = {**METHODS, "distill_ls": METHODS["first_ts"]}
    found = verdicts(evidence_of(write_tree(tmp_path, n=500, methods=equal)))
    assert found["first_ece_against_distill_ls"] == UNDECIDED


def test_one_family_on_the_other_side_leaves_the_claim_open(tree, tmp_path):
    reversed_methods = {**METHODS, "first_ts": METHODS["finetune"], "finetune": METHODS["first_ts"]}
    other = write_tree(tmp_path, n=500, methods=reversed_methods)
    mixed = {key: (other if key[0] == "cedar" else tree)[key] for key in tree}
    claims = {claim["id"]: claim for claim in method_claims(evidence_of(mixed))}
    claim = claims["first_ece_against_finetune"]
    assert claim["verdict"] == UNDECIDED
    assert "families disagree: 2 of 3" in claim["reason"]
    cedar = [cell for cell in claim["numbers"]["cells"] if cell["family"] == "cedar"]
    assert {cell["verdict"] for cell in cedar} == {FAILS}


def test_chance_level_and_a_c_at_the_edge_decide_nothing(tree, tmp_path):
    everywhere = {(family, corpus) for family in FAMILIES for corpus, _ in COLUMNS}
    found = {c["id"]: c for c in method_claims(evidence_of(tree, edges=everywhere))}
    assert found["first_ece_against_finetune"]["verdict"] == UNDECIDED
    assert "edge" in found["first_ece_against_finetune"]["reason"]
    assert found["finetune_over_confident"]["verdict"] == HOLDS  # c plays no part in it
    poor = {name: (0.2, 0.2) for name in METHODS}
    open_claims = method_claims(evidence_of(write_tree(tmp_path, n=300, methods=poor)))
    blocked = [c for c in open_claims if c["verdict"] != UNDECIDED]
    assert [c["id"] for c in blocked] == []
    assert "chance" in open_claims[0]["reason"]


def test_a_teacher_at_chance_decides_nothing_about_c(tree, tmp_path):
    poor = {**METHODS, "teacher": (0.2, 0.2)}
    blocked = teacher_obstacles(evidence_of(write_tree(tmp_path, n=200, methods=poor)))
    assert ("alder", "csqa") in blocked
    claims = temperature_claims([search(tmp_path / "s", 0.85)])
    assert claims[1]["verdict"] == HOLDS
    assert teacher_obstacles(evidence_of(tree)) == {}
    assert hold_back(claims, {})[1]["verdict"] == HOLDS
    assert {claim["verdict"] for claim in hold_back(claims, blocked)} == {UNDECIDED}


def test_pooled_numbers_are_the_mean_of_the_cells_and_count_families(tree):
    claims = {claim["id"]: claim for claim in method_claims(evidence_of(tree))}
    numbers = claims["first_accuracy_against_distill"]["numbers"]
    values = [cell["value"] for cell in numbers["cells"]]
    assert len(values) == 12
    assert numbers["value"] == pytest.approx(np.mean(values), abs=1e-5)
    assert set(numbers["per_family"]) == set(FAMILIES)
    alder = [c["value"] for c in numbers["cells"] if c["family"] == "alder"]
    assert numbers["per_family"]["alder"] == pytest.approx(np.mean(alder), abs=1e-5)
    low, high = numbers["t_interval_over_families"]
    assert (low + high) / 2 == pytest.approx(numbers["value"], abs=1e-5)
    assert len(numbers["by_column"]) == 4


def test_a_method_that_was_not_evaluated_is_undecided(tree):
    fewer = {key: runs for key, runs in tree.items() if key[2] != "finetune_ts"}
    claims = {claim["id"]: claim for claim in method_claims(evidence_of(fewer))}
    assert claims["first_ece_against_finetune_ts"]["verdict"] == UNDECIDED
    assert "not evaluated" in claims["first_ece_against_finetune_ts"]["reason"]


def search(tmp_path, accuracy, corpus="csqa"):
    paths = write_search(tmp_path, accuracy, seed=3)
    return {
        "family": "alder",
        "corpus": corpus,
        "selected": read_json(paths["selected.json"]),
        "coarse": read_csv(paths["coarse.csv"]).to_dict("records"),
        "refined": read_csv(paths["refined.csv"]).to_dict("records"),
    }


def test_claims_on_c(tmp_path):
    good = {c["id"]: c for c in temperature_claims([search(tmp_path / "a", 0.85)])}
    assert good["c_between_0.2_and_0.4"]["verdict"] == HOLDS
    assert good["c_1_compresses"]["verdict"] == HOLDS
    assert good["teacher_over_confident_on_validation"]["verdict"] == HOLDS
    poor = {c["id"]: c for c in temperature_claims([search(tmp_path / "b", 0.55)])}
    assert poor["c_between_0.2_and_0.4"]["verdict"] == FAILS
    edge = {c["id"]: c for c in temperature_claims([search(tmp_path / "c", 0.25)])}
    assert edge["c_between_0.2_and_0.4"]["verdict"] == UNDECIDED
    assert "edge" in edge["c_between_0.2_and_0.4"]["reason"]


@pytest.mark.parametrize(("mean", "verdict"), [(96.0, HOLDS), (94.0, FAILS), (95.01, UNDECIDED)])
def test_coverage_claim(mean, verdict):
    row = {"family": "alder", "corpus": "alpaca", "positions": "all", "n_positions": 900, "k": 5}
    row |= {"mass_mean": mean, "mass_sd": 6.0, "share_over_95": 80.0}
    claims = coverage_claims(pandas.DataFrame([row, {**row, "k": 1, "mass_mean": 10.0}]))
    assert [claim["verdict"] for claim in claims] == [verdict, FAILS]


def test_rank_claim(tree):
    def verdict(lower):
        row = {"family": "all", "corpus": "csqa", "benchmark": "csqa", "method": "teacher", "n": 9}
        first = {**row, "rank": "1", "gap": 9.0, "gap_low": 8.0, "gap_high": 10.0}
        rest = [
            {**row, "rank": rank, "gap": gap, "gap_low": gap - 1, "gap_high": gap + 1}
            for rank, gap in (("2", lower), ("3", -3.0), ("4", -3.0), ("5", -3.0), ("2-5", -3.0))
        ]
        return rank_claims(pandas.DataFrame([first, *rest]), evidence_of(tree))[0]["verdict"]

    assert verdict(-3.0) == HOLDS
    assert verdict(3.0) == FAILS
    assert verdict(-0.5) == UNDECIDED


def test_table1_that_does_not_match_its_predictions_is_refused(tmp_path, tree):
    from scripts.first.reporting.claims.claims import check_table

    evidence = evidence_of(tree)
    row = PLACES[0].label | {"method": "finetune"}
    value = evidence.score(PLACES[0], "finetune").value
    good = pandas.DataFrame([{**row, "ece": value["ece"], "accuracy": value["accuracy"]}])
    check_table(good, evidence)
    with pytest.raises(UserError, match="make Table 1 again"):
        check_table(good.assign(ece=value["ece"] + 0.1), evidence)
    with pytest.raises(UserError, match="no predictions of"):
        check_table(good.assign(method="unknown"), evidence)


def test_unequal_lists_are_refused(tmp_path):
    with pytest.raises(UserError, match="pair up"):
        main(
            "claims --table1 t --predictions p --metrics m --selected a b --coarse c --refined r "
            "--families f --corpora c --figure2 x --figure3 y --output-prefix o".split()
        )


def test_the_claims_file_is_a_list_made_from_the_other_artifacts(tree, tmp_path):
    runs = {key: found[0] for key, found in tree.items() if key[0] == "alder"}
    cells = []
    for (family, corpus, method, benchmark), run in runs.items():
        for place in PLACES[:4]:
            setting, trained, tested = place.column
            if tested != benchmark or corpus not in (trained, "none"):
                continue
            output = str(tmp_path / f"{method}-{setting}-{benchmark}.json")
            command = ["cell", "--predictions", run[0], "--metrics", run[1], "--output", output]
            command += ["--scale", "tiny", "--family", family, "--method", method]
            main([*command, "--corpus", trained, "--setting", setting, "--benchmark", benchmark])
            cells.append(output)
    assert len(cells) == len(METHODS) * 4
    table1 = str(tmp_path / "table1")
    main(["table1", "--cells", *cells, "--output-prefix", table1])
    shown = ("teacher", "finetune", "distill")
    own = [run for k, run in runs.items() if k[1] == k[3] == "csqa" and k[2] in shown]
    figure3 = ["figure3", "--ranks", *[run[2] for run in own]]
    figure3 += ["--metrics", *[run[1] for run in own]]
    main([*figure3, "--output-prefix", str(tmp_path / "figure3")])
    coverage = {"family": "alder", "corpus": "csqa", "positions": "all", "n_positions": 9, "k": 5}
    coverage |= {"mass_mean": 99.0, "mass_sd": 1.0, "share_over_95": 100.0}
    write_csv(tmp_path / "figure2.csv", pandas.DataFrame([coverage]))
    paths = write_search(tmp_path / "search", 0.85, seed=1)
    command = ["claims", "--table1", table1 + ".csv"]
    command += ["--predictions", *[run[0] for run in runs.values()]]
    command += ["--metrics", *[run[1] for run in runs.values()]]
    for name in ("coarse.csv", "refined.csv", "selected.json"):
        command += [f"--{name.split('.')[0]}", paths[name]]
    command += ["--families", "alder", "--corpora", "csqa"]
    command += ["--figure2", str(tmp_path / "figure2.csv")]
    command += ["--figure3", str(tmp_path / "figure3.csv")]
    main([*command, "--output-prefix", str(tmp_path / "claims")])
    claims = read_json(tmp_path / "claims.json")
    assert isinstance(claims, list)
    assert len({claim["id"] for claim in claims}) == len(claims) > 25
    for claim in claims:
        assert claim["verdict"] in (HOLDS, FAILS, UNDECIDED)
        assert claim["scope"].startswith("scale tiny: ")
        assert claim["claim"] in (tmp_path / "claims.md").read_text()
        assert claim["test"]
    before = (tmp_path / "claims.json").read_bytes()
    main([*command, "--output-prefix", str(tmp_path / "claims")])
    assert (tmp_path / "claims.json").read_bytes() == before
