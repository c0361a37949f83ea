"""The page of a scale: what its templates make of results, names and gaps of all kinds."""

import copy
import math
import re
import shutil

import numpy
import pandas
import pytest

from first_distill.files import read_json
from first_distill.provenance import records
from first_distill.provenance.fingerprint import fingerprint
from first_distill.provenance.lineage import Lineage
from first_distill.reporting import names, output
from first_distill.reporting.page import ablations, cells, embed, stages, table, verdicts
from first_distill.reporting.page.page import render
from first_distill.reporting.tables import table1
from tests import page_world as world
from tests.science.artifacts_world import artifact

HOSTILE = "<script>alert('&')</script>"
ACCURACIES = (82.4, 81.6, 78.5)  # printed for Llama-1, Llama-2 and OpenLlama, teachers, CSQA


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return world.make_results(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def whole(results):
    return world.context(results)


@pytest.fixture
def context(whole):
    """What the page shows, to change."""
    return copy.deepcopy(whole)


def test_the_command_writes_a_page_and_its_record(results):
    artifact("page", **world.words(results))
    text = (results / "index.html").read_text()
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    record = records.read(results / "index.record.json")
    assert record["provenance"]["stage"] == "page" and "index.html" in record["files"]
    sources = record["made_from"]
    assert {"tiny/claims.json", "tiny/tables/table1.csv", "tiny/figures/figure6.csv"} <= {*sources}
    assert sum("/cells/" in name for name in sources) == 24
    lineage = Lineage(results)
    assert lineage.owner["index.html"].problems == []
    assert any(
        one.path.endswith("metrics.json") for one in lineage.behind(lineage.owner["index.html"])
    )


def test_each_cell_of_table1_opens_one_dialog(context, results):
    text = render(context)
    shown = pandas.read_csv(results / "tables/table1.csv")
    assert text.count("<dialog id=") == text.count('class="open"') == len(shown) == 24
    own = next(
        cell for cell in context["cells"] if cell["id"] == "cell-alder-first_ts-in_domain-csqa"
    )
    cell = read_json(results / own["place"])
    assert own["values"]["ece"]["value"] == f"{cell['ece']['value']:.1f}"
    assert [row["name"] for row in own["seeds"]] == ["1", "2", "mean", "sd"]
    assert own["seeds"][1]["values"][1] == f"{cell['accuracy']['per_seed'][1]:.1f}"
    assert own["facts"]["c of Eq. 4"] == f"{cell['c']:.2f}"
    behind = {row["path"]: row["sha256"] for row in own["inputs"]}
    assert cell["made_from"].items() <= behind.items() and len(behind) == 3
    assert own["cost"]["all"] == own["cost"]["last"] == "7 s"
    place = "results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json"
    assert all(line.endswith(place) for line in own["commands"].values())


def test_names_are_text(context):
    """Of families and methods, of a scale's description, of ablations and in Markdown."""
    context["description"] = context["families"][0]["name"] = HOSTILE
    context["cells"][0] |= {"method": HOSTILE, "alt": f'"{HOSTILE}'}
    context["cells"][0]["inputs"][0]["path"] = HOSTILE
    context["places"][0]["processor"] = context["commit"] = HOSTILE
    context["claims"][0]["text"] = HOSTILE
    context["report"] = embed.prose(f"# T\n\n## {HOSTILE}\n\n| a |\n|--|\n| {HOSTILE} |\n", 3)
    text = render(context)
    assert text.count("<script>") == 1 and "<script>alert" not in text


def test_each_meaning_is_of_something_that_is_printed():
    """A misspelt name would be left out of every page."""
    known = {*names.PRINTED.values(), *names.HEADLINE.values(), "Confidence"}
    assert names.MEANINGS.keys() <= known
    assert [*names.meanings(["Distill", "mine"])] == [
        "Confidence",
        "ECE",
        "Acc",
        "Trust",
        "Distill",
    ]


def test_when_and_where_it_was_computed(context):
    text = " ".join(render(context).split())
    assert (
        "from 2026-01-03 10:00:00 UTC to 2026-01-03 10:00:03 UTC, at commit <code>abc</code>"
        in text
    )
    assert "on Cpu X (<a" in text and "<td>8 GiB</td>" in text
    context["told"] |= {"commit": ["abc", "def"], "GPUs": ["none", "1 x B"]}
    text = " ".join(render(context).split())
    assert "<code>abc, def</code>, on Cpu X with 1 x B (<a" in text


def test_without_ablations_timings_and_paper(context):
    context |= {"ablations": [], "costs": [], "paper_rows": [], "places": [], "span": None}
    for own in context["cells"]:
        own["means"] = {}
    context["cells"][0]["cost"] = cells.cost(cells.trace.Cost({}, {}, 2))
    text = render(context)
    assert "make ablations SCALE=tiny" in text and "No timings here: they stay in" in text
    assert "The paper prints no values" in text and 'class="paper"' not in text
    assert text.count('<p class="none">No timings here.</p>') == 1


def row(**changes) -> dict:
    """A row of table1.csv."""
    values = {name: 1.0 for name in table1.COLUMNS} | {"scale": "tiny", "family": "oak"}
    values |= {"method": "a b", "setting": "in_domain", "corpus": "csqa", "benchmark": "csqa"}
    values |= {"ece": 4.0, "ece_low": 2.0, "ece_high": 8.0, "trust": -3.25, "candidate_mass": 99.0}
    values |= {"constant_output": False, "above_chance": True, "c_at_edge": False}
    return values | {f"paper_{name}": math.nan for name in ("ece", "accuracy", "trust")} | changes


def test_a_cell_with_and_without_the_papers_value():
    table_1 = pandas.DataFrame([row(), row(method="x", paper_ece=9.0), row(setting="other")])
    assert table.end_of_plots(table_1) == 10
    (family,) = table.families(table_1, 10)
    first, second = family["rows"]
    (one, other), (printed, none) = first["cells"], second["cells"]
    assert none is None and other["column"] != one["column"]
    assert one["id"] == "cell-oak-a-b-in_domain-csqa"
    assert one["place"] == "tables/table1/cells/oak/a b/in_domain-csqa.json"
    assert one["values"]["trust"]["value"] == "\N{MINUS SIGN}3.2"
    assert one["values"]["ece"]["paper"] is None and printed["values"]["ece"]["paper"] == "9.0"
    assert one["plot"] == {"value": 40.0, "low": 20.0, "high": 80.0, "other": None}
    assert printed["plot"]["other"] == 90.0


def test_the_papers_means_stand_below_other_families(context):
    text = render(context)
    assert 'href="#paper"' in text and "Llama-1, Llama-2, OpenLlama" in text
    (teacher,) = [own for own in context["paper_rows"] if own["name"] == "Teacher"]
    assert teacher["cells"][0]["accuracy"] == f"{sum(ACCURACIES) / 3:.1f}"
    ours = pandas.DataFrame([row(paper_ece=9.0)])
    assert table.printed_rows({}, ours) == []


def test_a_cell_without_a_printed_value_has_the_papers_mean(context):
    means = table.paper_means(
        pandas.DataFrame([row(), row(family="elm", ece=8.0), row(method="finetune")]),
        pandas.DataFrame([row()]),
    )
    column = context["cells"][0]["column"]
    assert means["a b", column]["ece"] == "6.0" and means["Fine-tune", column]["ece"] == "4.0"
    with_means = [own for own in context["cells"] if own["means"]]
    assert {"Teacher", "FIRST w/ TS"} <= {own["method"] for own in with_means}
    for own in with_means:
        (shown,) = [r for r in context["paper_rows"] if r["name"] == own["method"]]
        assert own["means"] in shown["cells"]
    found = re.findall(r"paper's mean (\d+\.\d)<", render(context))
    assert len(found) == 3 * len(with_means)


def test_a_dead_model_is_marked(context):
    dead = row(constant_output=True, above_chance=False)
    (family,) = table.families(pandas.DataFrame([dead]), 10)
    assert family["rows"][0]["cells"][0]["marks"] == "ab"
    context["families"] = [family]
    context |= {"columns": {"CSQA in-domain": "n = 1"}, "paper_rows": []}
    assert "<sup>ab</sup>" in render(context)
    marked = [cell for cell in context["cells"] if cell["marks"]]
    assert marked and all("chance" in cell["marks"][0] for cell in marked)


def test_one_seed_has_no_deviation():
    names = ("ece", "accuracy", "trust", "confidence", "gap")
    cell = {name: {"value": 5.0, "sd": None, "per_seed": [5.0]} for name in names} | {"seeds": [7]}
    assert cells.seeds(cell) == [{"name": "7", "values": ["5.0"] * 5}]


def test_verdicts_in_words_and_places():
    numbers = {"value": -2.0, "low": -4.0, "high": -1.0, "threshold": 0.0}
    claim = {"verdict": "does not hold", "numbers": numbers, "reason": "r", "p_holm": 0.0002}
    own = verdicts.verdict(claim, 4.0)
    assert own["effect"]["plot"] == {"value": 25.0, "low": 0.0, "high": 37.5, "other": 50.0}
    assert (own["p"], own["kind"], own["by_design"]) == ("< 0.001", "does-not-hold", False)
    claims = [{**claim, "id": "finetune_over_confident"}]
    assert verdicts.headline(claims) == ("1 verdict: 1 does not hold")
    first, *others = verdicts.five(claims)
    assert first["verdicts"][1] is None and all(o["verdicts"] == [None, None] for o in others)
    bare = verdicts.verdict({"verdict": "undecided", "numbers": {}, "reason": "dead"}, 1.0)
    assert bare["effect"] is None and bare["p"] is None


def test_tests_of_claims_by_what_they_are_tested_on():
    claim = {"claim": "c", "test": "t", "scope": "scale tiny: CSQA; teachers"}
    other = {**claim, "scope": "scale tiny: BoolQ", "note": "n"}
    plain, noted = ({"claim": "c", "test": "t", "note": own} for own in (None, "n"))
    found = verdicts.tests([claim, other, {**claim, "note": "n"}])
    assert found == {"CSQA; teachers": [plain, noted], "BoolQ": [plain]}


def test_what_the_records_say_of_their_making(context):
    (cell,) = [own for own in context["made_by"] if own["stage"] == "cell"]
    assert cell["codes"] == [fingerprint("cell")] and cell["current"]
    assert cell["packages"]["numpy"] == [numpy.__version__]
    numpys = [{"numpy": ["1.0"]}, {"numpy": ["2.0", "1.0"]}, {}]
    rows = [
        {"stage": name, "codes": ["x"], "current": True, "packages": own}
        for name, own in zip(("data", "teacher", "student"), numpys, strict=True)
    ]
    changed = "numpy is not the same for all: 1.0 made data, teacher; 2.0 made teacher"
    assert stages.differences(rows) == [changed]
    rows[1] |= {"codes": ["x", "y"], "current": False}
    rows[2] |= {"current": False}
    others = [
        "more than one version of the code made teacher",
        "other code than this checkout's made student",
    ]
    context["differences"] = stages.differences(rows)
    assert context["differences"] == [changed, *others]
    text = render(context)
    assert f"<li>{changed}</li>" in text and "not all of one making" in text
    context["differences"] = []
    assert "all made by the code of this checkout" in render(context)


def test_hours():
    assert [cells.hours(own) for own in (0, 0.001, 2.346)] == ["–", "< 0.01", "2.35"]


def test_ablations_of_earlier_results_are_marked(results, tmp_path):
    folder = tmp_path / "results/tiny"
    shutil.copytree(results, folder)
    source = folder / "tables/table1.csv"
    for name in ("k", "eos"):
        text = f"# The {name}\n\nIt changes nothing.\n"
        output.publish(str(folder / "ablations" / name), "ablation", [source], md=text)
    pages = [folder / f"ablations/{name}.md" for name in ("k", "eos")]
    output.publish(str(folder / "ablations"), "ablations", pages, md="# Ablations\n")
    found, sources = ablations.read(folder)
    assert [(own["title"], own["old"]) for own in found] == [("The k", False), ("The eos", False)]
    assert len(sources) == 3 and "It changes nothing." in found[0]["text"]
    source.write_text(source.read_text() + "\n")
    found, _ = ablations.read(folder)
    assert all(own["old"] for own in found)
    context = world.context(results) | {"ablations": found}
    assert render(context).count("made from earlier results") == 2
    assert ablations.read(results) == ([], [])
