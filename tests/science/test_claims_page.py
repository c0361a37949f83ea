"""claims.md and claims.json: one verdict each, marks, units, and words that are explained."""

import pytest

from first_distill.errors import UserError
from first_distill.files import read_csv
from first_distill.reporting.claims.headline import FIVE
from first_distill.reporting.claims.verdicts import FAILS, HOLDS, UNDECIDED
from tests.science.artifacts_world import COLUMNS, METHODS, make_claims, write_tree

DESIGNED = ["finetune_over_confident", "tuning_raises_accuracy"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of one family's claims, of which two are marked; their runs; claims.json."""
    folder = tmp_path_factory.mktemp("made")
    tree = write_tree(folder / "runs", n=500)
    runs = {key: found[0] for key, found in tree.items() if key[0] == "alder"}
    return folder, runs, make_claims(folder, runs, DESIGNED)


def test_the_claims_file_is_a_list_made_from_the_other_artifacts(made):
    folder, runs, claims = made
    assert len(read_csv(folder / "table1.csv")) == len(METHODS) * len(COLUMNS)
    page = (folder / "claims.md").read_text()
    assert len({claim["id"] for claim in claims}) == len(claims) > 25
    for claim in claims:
        assert claim["verdict"] in (HOLDS, FAILS, UNDECIDED)
        assert claim["scope"].startswith("scale tiny: ")
        for key in ("claim", "test", "scope", "reason"):
            assert claim[key] in page
    before = (folder / "claims.json").read_bytes()
    make_claims(folder, runs, DESIGNED)
    assert (folder / "claims.json").read_bytes() == before


def tables_of(made):
    """The lines of each table of claims.md, without its head, and the section around it."""
    parts = (made[0] / "claims.md").read_text().split("\n## ")[1:4]
    lines = [[line for line in part.splitlines() if line.startswith("| ")][1:] for part in parts]
    return [*zip(lines, parts, strict=True)]


def test_a_verdict_of_the_file_is_that_of_the_page(made):
    claims = {claim["id"]: claim for claim in made[2]}
    five, _, others = (lines for lines, _ in tables_of(made))
    ids = [name for own in FIVE.values() for name in own]
    assert len(five) == len(ids) == 10
    for line, name in zip(five, ids, strict=True):
        claim, cells = claims.pop(name), [cell.strip() for cell in line.split("|")]
        assert cells[6] == f"**{claim['verdict']}**"
        p, corrected = (float(cell.replace("< 0.001", "0")) for cell in cells[4:6])
        assert p == pytest.approx(claim["numbers"]["p"], abs=1e-3)
        assert corrected == pytest.approx(claim["p_holm"], abs=1e-3)
        sure = claim["p_holm"] < 0.05
        assert claim["verdict"] == (claim["verdict_by_interval"] if sure else UNDECIDED)
    assert len(others) == len(claims)
    for line, claim in zip(others, claims.values(), strict=True):
        assert f"**{claim['verdict']}**" in line and "p_holm" not in claim


def test_claims_by_design_are_marked_and_explained_below_their_tables(made, tmp_path):
    marked = [claim["id"] for claim in made[2] if claim.get("by_design") is True]
    assert marked == DESIGNED
    for (lines, part), text in zip(
        tables_of(made),
        ("Fine-tuning makes the student", "Fine-tuning makes the student", "Fine-tuning raises"),
        strict=True,
    ):
        (line,) = [line for line in lines if "†" in line]
        assert line.startswith(f"| {text}") and "out-of-domain" not in line
        assert part.count("\n† By the scale's design") == 1
    with pytest.raises(UserError, match="no claim 'finetune': claims: --by-design: give ids of"):
        make_claims(tmp_path, made[1], ["finetune"])


def test_ranges_have_units(made):
    """The least and the greatest value of a claim's cells."""
    shown = {
        "c_between_0.2_and_0.4": "| c = {:.2f} to {:.2f} ",
        "teacher_over_confident_on_validation": "| {:.1f} to {:.1f} points ",
        "top5_mass": "| {:.1f} to {:.1f} % ",
    }
    (_, _, (lines, _)), by_id = tables_of(made), {claim["id"]: claim for claim in made[2]}
    for name, text in shown.items():
        cells = [
            cell.get("shown", {"c": cell.get("value")}) for cell in by_id[name]["numbers"]["cells"]
        ]
        values = [cell["c"] for cell in cells]
        (line,) = [line for line in lines if by_id[name]["claim"] in line]
        assert text.format(min(values), max(values)) in line
