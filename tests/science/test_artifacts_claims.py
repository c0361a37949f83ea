"""Verdicts follow the data: they flip when it flips and stay open when it cannot decide."""

import numpy as np
import pandas
import pytest

from first_distill.files import read_csv, read_json
from first_distill.reporting.claims.methods import CLAIMS, method_claims
from first_distill.reporting.claims.teacher import (
    coverage_claims,
    rank_claims,
    teacher_obstacles,
    temperature_claims,
)
from first_distill.reporting.claims.verdicts import FAILS, HOLDS, UNDECIDED, Evidence, Place, decide
from first_distill.reporting.runs import load_runs
from tests.science.artifacts_world import (
    COLUMNS,
    FAMILIES,
    METHODS,
    write_search,
    write_tree,
)

PLACES = [
    Place(family, "in_domain" if corpus == benchmark else "out_of_domain", corpus, benchmark)
    for family in FAMILIES
    for corpus, benchmark in COLUMNS
]


def evidence_of(tree, edges=(), places=PLACES):
    files = [run[1] for group in tree.values() for run in group]
    return Evidence(load_runs(files), places, set(edges))


def claims_of(evidence):
    return {claim["id"]: claim for claim in method_claims(evidence)}


def verdicts(evidence, names):
    claims = claims_of(evidence)
    return {claims[name]["verdict"] for name in names.split()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("runs"), n=500)

    assert decide(1, 2, 0, above=True) == HOLDS
    assert decide(1, 2, 0, above=False) == FAILS
    assert decide(-1, 2, 0, above=True) == UNDECIDED
    assert decide(-2, -1, 0, above=False) == HOLDS


BUILT_IN = (
    "finetune_over_confident teacher_over_confident first_ece_against_finetune "
    "first_trust_against_distill first_ece_against_finetune_out_of_domain "
    "first_trust_against_finetune_in_domain tuning_raises_accuracy"
)


def test_what_was_built_in_is_found(tree):
    assert verdicts(evidence_of(tree), BUILT_IN) == {HOLDS}


SWAPPED = {**METHODS, "first_ts": METHODS["finetune"], "finetune": METHODS["first_ts"]}
REFUTED = "first_ece_against_finetune first_trust_against_finetune headline_ece distill_inherits"


@pytest.mark.parametrize(
    ("methods", "claims", "verdict"),
    [
        ({**SWAPPED, "distill": (0.68, -0.10)}, REFUTED, FAILS),
        ({**METHODS, "distill_ls": METHODS["first_ts"]}, "first_ece_against_distill_ls", UNDECIDED),
    ],
    ids=["swapped", "equal"],
)
def test_verdicts_follow_the_methods(tmp_path, methods, claims, verdict):
    changed = evidence_of(write_tree(tmp_path, n=500, methods=methods))
    assert verdicts(changed, claims) == {verdict}


def test_one_family_on_the_other_side_leaves_the_claim_open(tree, tmp_path):
    other = write_tree(tmp_path, n=500, methods=SWAPPED)
    mixed = {key: (other if key[0] == "cedar" else tree)[key] for key in tree}
    claim = claims_of(evidence_of(mixed))["first_ece_against_finetune"]
    assert claim["verdict"] == UNDECIDED
    assert "2 of 3 families on the claimed side" in claim["reason"]
    cedar = [cell for cell in claim["numbers"]["cells"] if cell["family"] == "cedar"]
    assert {cell["verdict"] for cell in cedar} == {FAILS}


@pytest.mark.slow
def test_chance_level_and_a_c_at_the_edge_decide_nothing(tree, tmp_path):
    everywhere = {(family, corpus) for family in FAMILIES for corpus, _ in COLUMNS}
    found = claims_of(evidence_of(tree, edges=everywhere))
    assert found["first_ece_against_finetune"]["verdict"] == UNDECIDED
    assert "edge" in found["first_ece_against_finetune"]["reason"]
    assert found["finetune_over_confident"]["verdict"] == HOLDS  # c plays no part in it
    poor = {name: (0.2, 0.2) for name in METHODS}
    found = claims_of(evidence_of(write_tree(tmp_path, n=300, methods=poor)))
    assert {claim["verdict"] for claim in found.values()} == {UNDECIDED}
    assert "chance" in found["finetune_over_confident"]["reason"]


def test_a_teacher_at_chance_decides_nothing_about_c(tree, tmp_path):
    poor = {**METHODS, "teacher": (0.2, 0.2)}
    blocked = teacher_obstacles(evidence_of(write_tree(tmp_path, n=200, methods=poor)))
    assert ("alder", "csqa") in blocked
    assert teacher_obstacles(evidence_of(tree)) == {}
    searches = [search(tmp_path / "s", 0.85)]
    assert temperature_claims(searches, {})[1]["verdict"] == HOLDS
    found = temperature_claims(searches, blocked)
    assert {claim["verdict"] for claim in found} == {UNDECIDED}


def test_pooled_numbers_are_the_mean_of_the_cells_and_count_families(tree):
    numbers = claims_of(evidence_of(tree))["first_accuracy_against_distill"]["numbers"]
    values = [cell["value"] for cell in numbers["cells"]]
    assert len(values) == 12
    assert numbers["value"] == pytest.approx(np.mean(values), abs=1e-5)
    assert set(numbers["per_family"]) == set(FAMILIES)
    alder = [c["value"] for c in numbers["cells"] if c["family"] == "alder"]
    assert numbers["per_family"]["alder"] == pytest.approx(np.mean(alder), abs=1e-5)
    assert (numbers["units"], numbers["n_units"]) == ("families", 3)
    assert 0 <= numbers["p"] <= 1
    assert len(numbers["by_column"]) == 4


@pytest.mark.slow
def test_claims_follow_the_methods_and_columns_of_a_scale(tree):
    every = claims_of(evidence_of(tree))
    fewer = {key: runs for key, runs in tree.items() if key[2] != "finetune_ts"}
    claim = claims_of(evidence_of(fewer))["first_ece_against_finetune_ts"]
    assert claim["verdict"] == UNDECIDED and "not evaluated" in claim["reason"]
    inside = [place for place in PLACES if place.setting == "in_domain"]
    found = claims_of(evidence_of(tree, places=inside))
    # Where all columns are in-domain, a claim on all columns would repeat that on in-domain ones.
    repeated = {name for name in every if f"{name}_in_domain" in every}
    assert len(repeated) == 3 * 3 + 2 * 2  # students by metrics, post-hoc ones without accuracy
    gone = {name for name in every if "out_of_domain" in name} | repeated
    assert every.keys() - found.keys() == gone
    assert found["finetune_over_confident"] == every["finetune_over_confident"]
    scope = "CSQA, BoolQ; 3 pretraining runs (alder, birch, cedar)"
    assert found["first_ece_against_distill_in_domain"]["scope"] == scope


def test_no_two_claims_are_the_same(tree):
    """A temperature changes no prediction, so its accuracy is the fine-tuned student's."""
    every = claims_of(evidence_of(tree))
    for rival in ("finetune_ts", "finetune_ts_ece"):
        own = {name for name in every if name.startswith(f"first_accuracy_against_{rival}")}
        assert not own and f"first_trust_against_{rival}" in every
    tests = {(claim.methods, claim.metric, claim.setting, claim.threshold) for claim in CLAIMS}
    assert len(tests) == len(CLAIMS)


def search(tmp_path, accuracy, corpus="csqa"):
    paths = write_search(tmp_path, accuracy, seed=3)
    return {
        "family": "alder",
        "corpus": corpus,
        "selected": read_json(paths["selected"]),
        "coarse": read_csv(paths["coarse"]).to_dict("records"),
        "refined": read_csv(paths["refined"]).to_dict("records"),
    }


def test_claims_on_c(tmp_path):
    good, poor, edge = (
        temperature_claims([search(tmp_path / str(accuracy), accuracy)], {})[1:]
        for accuracy in (0.85, 0.55, 0.25)
    )
    assert good[0]["id"] == "c_between_0.2_and_0.4"
    assert [claim["verdict"] for claim in good] == [HOLDS] * 3
    assert poor[0]["verdict"] == FAILS
    assert edge[0]["verdict"] == UNDECIDED and "edge" in edge[0]["reason"]


@pytest.mark.parametrize(("mean", "verdict"), [(96.0, HOLDS), (94.0, FAILS), (95.01, UNDECIDED)])
def test_coverage_claim(mean, verdict):
    row = {"family": "alder", "corpus": "alpaca", "positions": "all", "n_positions": 900, "k": 5}
    row |= {"mass_mean": mean, "mass_sd": 6.0, "share_over_95": 80.0}
    claims = coverage_claims(pandas.DataFrame([row, {**row, "k": 1, "mass_mean": 10.0}]))
    assert [claim["verdict"] for claim in claims] == [verdict, FAILS]


@pytest.mark.parametrize(("second", "verdict"), [(-3, HOLDS), (3, FAILS), (-0.5, UNDECIDED)])
def test_rank_claim(tree, second, verdict):
    gaps = {"1": 9, "2": second, "3": -3, "4": -3, "5": -3, "2-5": -3}
    row = {"family": "all", "corpus": "csqa", "benchmark": "csqa", "method": "teacher", "n": 9}
    rows = [
        {**row, "rank": rank, "gap": gap, "gap_low": gap - 1, "gap_high": gap + 1}
        for rank, gap in gaps.items()
    ]
    assert rank_claims(pandas.DataFrame(rows), evidence_of(tree))[0]["verdict"] == verdict


@pytest.mark.parametrize("gaps", [(9, -9, -3, -3, -3), (9, -9, 3, 3, 3), (9, 9, 3, 3, 3)])
def test_ranks_that_hold_no_candidate_decide_nothing(tree, gaps):
    row = {"family": "all", "corpus": "boolq", "benchmark": "boolq", "method": "teacher", "n": 9}
    rows = [
        {**row, "rank": str(rank), "gap": gap, "gap_low": gap - 1, "gap_high": gap + 1}
        for rank, gap in enumerate(gaps, start=1)
    ]
    (claim,) = rank_claims(pandas.DataFrame(rows), evidence_of(tree))
    second = HOLDS if gaps[1] < 0 else FAILS
    verdicts = [cell["verdict"] for cell in claim["numbers"]["cells"]]
    assert verdicts == [HOLDS, second, UNDECIDED, UNDECIDED, UNDECIDED]
    assert claim["verdict"] == UNDECIDED
    assert "a question has at most 2 candidates" in claim["reason"]


@pytest.mark.slow
def test_the_names_of_settings_decide_nothing(tree):
    """In-domain is where a model is tested on its own corpus; scopes say the others' corpus."""
    renamed = [Place(p.family, "mine", p.corpus, p.benchmark) for p in PLACES]
    one, other = claims_of(evidence_of(tree)), claims_of(evidence_of(tree, places=renamed))
    assert one.keys() == other.keys()
    for name, claim in one.items():
        same = ("verdict", "reason", "scope")
        assert {key: claim[key] for key in same} == {key: other[name][key] for key in same}
    assert teacher_obstacles(evidence_of(tree)) == teacher_obstacles(
        evidence_of(tree, places=renamed)
    )
