"""Ablations as people read them: looks of panels, numbers in words, c, the luck of teachers."""

import json
import re

import matplotlib.pyplot
import numpy as np
import pandas
import pytest

from first_distill.provenance import records
from first_distill.reporting.ablations import page, panel, patterns
from first_distill.reporting.ablations.points import compare
from first_distill.reporting.runs import Key
from tests.science.ablations_world import COLUMNS, ENTRY, made, write_points
from tests.science.figure_checks import TEXT, check


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> dict:
    """{(scale, method, corpus, seed): metrics.json}."""
    return write_points(tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def closed():
    yield
    matplotlib.pyplot.close("all")


def rows_of(points: list[dict], columns: int = 1) -> pandas.DataFrame:
    """Rows as of `Comparison.rows`; a point may have its own ece and accuracy."""
    rows = []
    for point in points:
        for column in range(columns):
            row = {"line": False, "series": None, "x": None, "leakage": False, "ece": 10.0}
            row |= {"accuracy": 50.0 + column, "constant_output": False}
            row |= {"corpus": "csqa", "benchmark": f"b{column}", **point}
            for metric in ("ece", "accuracy"):
                row |= {f"{metric}_low": row[metric] - 3, f"{metric}_high": row[metric] + 3}
            rows.append(row)
    return pandas.DataFrame(rows)


def drawn(points: list[dict], columns: int = 1, **entry):
    """Figure of points and its axes, (columns, 2)."""
    figure = panel.draw({"title": "T", "points": points, **entry}, rows_of(points, columns))
    return figure, np.array(figure.axes).reshape(columns, 2)


TWO = [
    {"label": "a", "method": "finetune", "series": "tuned", "x": 25},
    {"label": "b", "method": "finetune", "series": "tuned", "x": 100},
    {"label": "c", "method": "first_ts", "series": "F", "x": 25},
    {"label": "d", "method": "first_ts", "series": "F", "x": 100},
]
LINE = {"label": "Distill", "method": "distill", "line": True}


def test_a_method_looks_the_same_in_every_panel():
    swapped = panel.looks({"points": [*TWO[2:], *TWO[:2], LINE]})
    found = panel.looks({"points": [*TWO, LINE]})
    assert found == swapped
    assert found[False, "tuned"]["marker"] != found[False, "F"]["marker"]
    assert found[False, "tuned"]["linestyle"] == found[False, "F"]["linestyle"] == "-"
    line = {"label": "Fine-tune", "method": "finetune", "line": True}
    mixed = [{"label": "x", "method": "distill_k1"}, {"label": "y", "method": "distill"}]
    other = panel.looks({"points": [*mixed, line, LINE]})
    assert other[True, "Fine-tune"]["color"] == found[False, "tuned"]["color"]
    assert other[True, "Distill"] == found[True, "Distill"]
    assert "marker" not in other[True, "Distill"] and other[True, "Distill"]["linestyle"] != "-"
    colours = [look["color"] for look in other.values()]
    assert len({*colours}) == 3  # mixed points have neither line's


def test_points_that_stand_for_a_method_look_as_it_does():
    """Two methods, one of which is the other as the authors ran it."""
    points = [
        {"label": "a", "method": "distill", "series": "s", "printed": "distill"},
        {"label": "b", "method": "distill_renorm", "series": "s", "printed": "distill"},
    ]
    one = panel.looks({"points": [{"label": "a", "method": "distill", "series": "s"}]})
    assert panel.looks({"points": points}) == one


@pytest.mark.parametrize("log", [False, True])
def test_series_over_x_do_not_hide_one_another(log):
    """The same values: their markers lie beside one another, around their x."""
    figure, axes = drawn(TWO, axis="rows", **({"log": True} if log else {}))
    for axis in axes[0]:
        lines = [line for line in axis.lines if line.get_marker() in "sD"]
        markers = np.array([line.get_xdata(orig=False) for line in lines])
        assert markers.shape == (2, 2)
        pixels = [axis.transData.transform([(x, 10) for x in own])[:, 0] for own in markers]
        assert np.all(np.abs(pixels[0] - pixels[1]) > 4 * figure.dpi / 72)
        middle = np.sqrt(np.prod(markers, axis=0)) if log else np.mean(markers, axis=0)
        assert middle == pytest.approx([25, 100])
        assert [*axis.get_xticks()] == [25, 100]


def test_a_line_that_lies_on_another_is_left_out():
    lines = [
        {"label": "Fine-tune", "method": "finetune", "line": True, "ece": 15.0},
        {"label": "post-hoc", "method": "finetune_ts", "line": True, "ece": 5.0},
    ]
    points = [{"label": name, "method": name} for name in ("distill", "first_ts")]
    figure, axes = drawn([*points, *lines])
    names = [[line.get_label() for line in axis.lines] for axis in axes[0]]
    assert {"Fine-tune", "post-hoc"} <= {*names[0]}
    assert "Fine-tune" in names[1] and "post-hoc" not in names[1]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["Fine-tune", "post-hoc"]


def test_columns_share_scales_and_an_ece_of_zero_and_its_cap_are_in_sight():
    points = [{"label": name, "method": name} for name in ("distill", "first_ts")]
    _, axes = drawn(points, columns=3)
    for column in axes.T:
        assert len({axis.get_xlim() for axis in column}) == 1
    assert -1 < axes[0, 0].get_xlim()[0] < 0 < axes[0, 1].get_xlim()[0]
    figure, axes = drawn(TWO)
    assert -1 < axes[0, 0].get_ylim()[0] < 0 < axes[0, 1].get_ylim()[0]
    check(figure, TEXT)
    check(drawn(points, columns=3)[0], TEXT)


SAID = [
    ((1.26, -0.04, 2.0), "+1.3 [0.0, +2.0]"),
    ((-0.0, -0.0, -0.0), "same"),
    ((1e-13, 0.0, 1e-13), "same"),
    ((0.04, -1.0, 1.06), "0.0 [-1.0, +1.1]"),
    ((-12.34, -13.0, -0.06), "-12.3 [-13.0, -0.1]"),
]


@pytest.mark.parametrize(("numbers", "text"), SAID, ids=[said for _, said in SAID])
def test_a_difference_in_words(numbers, text):
    assert page.change(dict(zip(("value", "low", "high"), numbers, strict=True))) == text


def test_the_same_models_are_the_same(tmp_path, tree):
    points = [ENTRY["points"][0], {**ENTRY["points"][0], "label": "again"}]
    _, text = made(tmp_path, {**ENTRY, "points": points}, tree)
    assert ": one setting, on 800 questions" in text
    assert "None of them changes the ECE." in text and "Its sign" not in text
    assert text.count("| same") == 4 and "-0.0" not in text


def taught(points: list[dict]) -> list[dict]:
    """Points with the keys of what teachers they have: of their scale's own."""
    return [{**point, "teacher": point["scale"], "recipe": point["scale"]} for point in points]


def test_another_teacher_is_said_where_it_counts(tmp_path, tree):
    entry = {**ENTRY, "points": taught(ENTRY["points"][:3])}
    _, text = made(tmp_path, entry, tree)
    (sentence,) = [part for part in text.split("\n\n") if part.startswith("Not taught by")]
    assert "compared with: “no EOS”. " in sentence and "`teacher_seed`" in sentence
    assert re.search(r"Its sign is decided for these teachers \(p [=<] 0\.\d{4} among 2", text)


def test_where_the_seed_alone_differs_the_luck_is_the_question(tmp_path, tree):
    points = [{**point, "recipe": "tiny"} for point in taught(ENTRY["points"][:3])]
    _, text = made(tmp_path, {**ENTRY, "points": points}, tree)
    assert "Not taught by" not in text and "is decided for these teachers (p" in text


def test_students_without_a_teacher_have_no_luck_of_theirs(tmp_path, tree):
    _, text = made(tmp_path, {**ENTRY, "points": ENTRY["points"][:3]}, tree)
    assert "Not taught by" not in text and "Its sign is decided (p" in text


def test_intervals_over_families_have_the_luck_of_teachers():
    points = taught(ENTRY["points"][:3])
    families = [Key(name, "csqa", "distill", "csqa") for name in ("alder", "birch")]
    for count, expected in ((1, [False, False, True]), (2, [False] * 3)):
        comparison = compare({**ENTRY, "points": points, "columns": []}, [], [])
        comparison.groups = dict.fromkeys(families[:count])
        labels = [point["label"] for point in points]
        assert [comparison.differs(label, "recipe") for label in labels] == expected


def test_c_is_shown_where_there_is_one(tmp_path, tree):
    """Searched for each corpus, or fixed."""
    searched = {}
    for corpus, c in (("csqa", 0.44), ("alpaca", 0.2)):
        place = tmp_path / corpus / "selected.json"
        records.write(place, {"c": c, "at_edge": False}, [])
        searched[corpus] = [str(place)]
    points = [dict(point) for point in ENTRY["points"]]
    points[0]["c"], points[1]["c"] = searched, {corpus: ["0.3"] for corpus in searched}
    rows, text = made(tmp_path, {**ENTRY, "points": points}, tree)
    assert rows["c"].fillna(0).tolist() == [0.44, 0.2, 0.3, 0.3, 0, 0, 0, 0]
    lines = [
        [cell.strip() for cell in line.split("|")] for line in text.splitlines() if "|" in line
    ]
    assert [line[3] for line in lines if line[1] in ("Setting", "as it is")] == [
        "c",
        "0.44",
        "0.20",
    ]
    made_from = json.loads((tmp_path / "own.record.json").read_text())["made_from"]
    assert sum(place.endswith("selected.json") for place in made_from) == 2
    _, text = made(tmp_path, ENTRY, tree)
    assert "| c " not in text


def test_tables_of_patterns_are_not_the_series(tree):
    """One series holds both tables' points of a method, which are compared with one another."""
    points = [
        {"label": f"{name}, {table}", "method": name, "scale": "tiny", "printed": name}
        | {"table": table, "series": name}
        for name in ("finetune", "distill", "distill_ls", "first_ts")
        for table in ("one", "two")
    ]
    paths = [path for key, path in tree.items() if key[0] == "tiny"]
    comparison = compare({**ENTRY, "points": points, "columns": COLUMNS}, paths, [])
    assert comparison.references["distill, two"] == "distill, one"
    cells = [patterns.cells_of(comparison, table, "ece") for table in ("one", "two")]
    assert cells[0] == cells[1] and len(cells[0]) == 2
    assert [*cells[0][0]] == ["finetune", "distill", "distill_ls", "first_ts"]
