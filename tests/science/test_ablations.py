"""Ablations from predictions with known properties: numbers, sentences, panels, patterns."""

import json
import re

import numpy as np
import pandas
import pytest
from scipy import stats

from first_distill import ROOT
from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.reporting.ablations import patterns
from first_distill.reporting.ablations.points import compare
from tests.science.ablations_world import COLUMNS, ENTRY, SEEDS, N, made, write_points
from tests.science.artifacts_world import artifact, write_run

PAPER = ROOT / "config/paper_table1.csv"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> dict:
    """{(scale, method, corpus, seed): metrics.json}."""
    return write_points(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def own(tmp_path_factory, tree):
    return made(tmp_path_factory.mktemp("own"), ENTRY, tree)


def test_values_are_means_over_seeds(own, tree):
    """Of metrics.json, which has them from another path through the code."""
    rows, _ = own
    assert len(rows) == 8 and rows["n_seeds"].eq(3).all() and rows["n_questions"].eq(N).all()
    for row in rows.to_dict("records"):
        scale = "tiny-no_eos" if row["variant"] == "no_eos" else "tiny"
        seeds = [read_json(tree[scale, row["method"], row["corpus"], s]) for s in SEEDS]
        for metric in ("ece", "accuracy", "ece_candidates"):
            expected = np.mean([s["benchmarks"][row["benchmark"]][metric] for s in seeds])
            assert row[metric] == pytest.approx(expected, abs=1e-5)
            assert row[f"{metric}_low"] <= row[metric] <= row[f"{metric}_high"]
    for _, column in rows.groupby("benchmark"):
        less = column["ece"] - column["ece"].iloc[0]
        assert np.allclose(column["ece_minus"][1:], less[1:], atol=2e-5)
        assert column["ece_minus"].isna().tolist() == [True, False, False, False]
    assert rows["line"].tolist() == [False] * 6 + [True] * 2


def test_a_difference_is_paired_by_seed_and_no_narrower_than_its_questions(own, tree):
    rows, _ = own
    row = rows[(rows["label"] == "no EOS") & (rows["benchmark"] == "csqa")].iloc[0]
    pairs = [
        [
            read_json(tree[scale, "distill", "csqa", s])["benchmarks"]["csqa"]["accuracy"]
            for s in SEEDS
        ]
        for scale in ("tiny-no_eos", "tiny")
    ]
    less = np.subtract(*pairs)
    assert row["accuracy_minus"] == pytest.approx(less.mean(), abs=1e-5)
    questions = 100 * np.sqrt(2 * 0.7 * 0.3 / N / len(SEEDS))  # of independent models
    half = (row["accuracy_minus_high"] - row["accuracy_minus_low"]) / 2
    assert half > stats.norm.ppf(0.975) * questions * 0.7


def test_three_sentences(own):
    rows, page = own
    text = page.split("\n\n")[1]
    assert len(re.findall(r"\.(?= |$)", text)) == 3
    assert text.startswith("Compared with “as it is”: 2 settings, on 800 questions (CSQA, OBQA ")
    assert "3 training seeds a student" in text
    mean = rows[rows["label"] == "no EOS"]["ece_minus"].mean()
    assert f"The largest effect on the ECE is that of “no EOS”: {mean:+.1f} [" in text
    assert re.search(r"Its sign is decided \(p = \S+ among 2 comparisons\)\.$", text)
    assert page.count("| no EOS") == 2 and "Fine-tune" in page and "Marks" not in page


def test_what_is_alike_is_not_decided(tmp_path, tree):
    entry = {**ENTRY, "points": ENTRY["points"][:2]}
    _, page = made(tmp_path, entry, tree)
    assert "that of “smoothed”" in page and "not decided (p = " in page
    assert re.search(r"\(p = 0\.\d{4}, one comparison\)\.$", page.split("\n\n")[1])


def test_leakage_and_dead_models_are_marked(tmp_path, tree):
    points = [*ENTRY["points"]]
    points[1] = {**points[1], "leakage": True}
    entry = {**ENTRY, "points": points}
    rows, page = made(tmp_path, entry, tree)
    assert rows["leakage"].tolist() == [False] * 2 + [True] * 2 + [False] * 4
    assert "“smoothed”: leakage, the validation split of a test task was seen." in page
    assert page.count("| leakage") == 2


def test_points_over_an_axis(tmp_path, tree):
    points = [
        {**point, "x": x, "series": "all"}
        for point, x in zip(ENTRY["points"][:3], (1, 10, 100), strict=True)
    ]
    entry = {**ENTRY, "points": points, "axis": "k", "log": True}
    points[1]["reference"] = True
    rows, page = made(tmp_path, entry, tree)
    assert rows["x"].tolist() == [1, 1, 10, 10, 100, 100]
    assert "Compared with “smoothed”" in page


def test_missing_and_other_questions(tmp_path, tree):
    metrics = [path for key, path in tree.items() if key[0] == "tiny"]
    with pytest.raises(UserError, match="no evaluation of tiny-no_eos/alder/csqa/distill/csqa"):
        compare(ENTRY, metrics, [])
    others = []
    for _, benchmark, corpus in COLUMNS:
        labels = {"scale": "tiny-no_eos", "family": "alder", "corpus": corpus}
        labels |= {"method": "distill", "seed": 1, "benchmark": benchmark}
        rng = np.random.default_rng(1)
        others.append(write_run(tmp_path / benchmark, labels, 300, 0.7, 0.1, rng)[1])
    with pytest.raises(UserError, match="different questions of csqa"):
        compare(ENTRY, metrics + others, [])


PRINTED = ("finetune", "distill", "distill_ls", "first_ts")


def test_patterns_of_the_printed_table(tmp_path, tree):
    """How many of its cells show them, counted by pandas."""
    points = [{"label": name, "method": name, "scale": "tiny", "printed": name} for name in PRINTED]
    points[1]["reference"] = True
    entry = {**ENTRY, "points": points}
    _, page = made(tmp_path, entry, tree, paper_table=PAPER)
    lines = [line for line in page.splitlines() if line.startswith("| ") and " of 12 " in line]
    table = pandas.read_csv(PAPER).pivot(
        index=["family", "setting", "benchmark"], columns="method", values="ece"
    )
    near = ((table["distill_ls"] - table["distill"]).abs() < 1.001).sum()
    lower = (table["distill"] - table["distill_ls"] > 1.001).sum()
    best = (table["first_ts"] < table[["distill", "distill_ls"]].min(axis=1)).sum()
    better = (table["distill"] < table["finetune"]).sum()
    for line, count in zip(lines, (near, lower, best, better), strict=True):
        assert f"| {count} of 12 " in line
    assert near == 8
    change = (table["distill_ls"] - table["distill"]).mean()
    assert f"| Mean change by label smoothing | {change:+.1f} points" in re.sub(" +", " ", page)


def test_a_pattern_may_differ_from_the_printed_one():
    own = {"finetune": 9.0, "distill": 8.0, "distill_ls": 3.0, "first_ts": 5.0}
    assert [holds(own) for holds in patterns.PATTERNS.values()] == [False, True, False, True]


def test_patterns_in_words():
    shown = {"as run": ["one", "two"], "default": ["two"]}
    assert patterns.in_words(shown) == (
        "“as run” agrees with the printed table on 2 of 4 patterns. "
        "“default” agrees with the printed table on 1 of 4 patterns. "
        "“as run” alone agrees on: one."
    )


def test_pages_are_joined(tmp_path, own, tree):
    made(tmp_path, ENTRY, tree)
    made(tmp_path, {**ENTRY, "name": "second", "title": "Another choice"}, tree)
    pages = [tmp_path / "own.md", tmp_path / "second.md"]
    artifact("ablations", pages=pages, output_prefix=tmp_path / "ablations")
    text = (tmp_path / "ablations.md").read_text()
    assert text.startswith("# Ablations\n")
    for title, name in (("A choice", "own"), ("Another choice", "second")):
        assert f"## {title}\n\n![{title}](ablations/{name}.png)\n\nCompared with" in text


def test_each_series_has_its_reference(tmp_path, tree):
    """The first of a series, or the one that is marked; lines stand alone then."""
    names = ("distill", "first_ts", "distill_ls", "finetune")
    points = [
        {"label": name, "method": name, "scale": "tiny", "series": "ab"[i // 2]}
        for i, name in enumerate(names)
    ]
    points[3]["reference"] = True
    rows, page = made(tmp_path, {**ENTRY, "points": [*points, ENTRY["points"][3]]}, tree)
    assert rows["reference"].fillna("").tolist()[::2] == [*["distill"] * 2, *["finetune"] * 2, ""]
    own = rows[rows["benchmark"] == "csqa"].set_index("label")
    assert own.loc["distill_ls", "ece_minus"] == pytest.approx(
        own.loc["distill_ls", "ece"] - own.loc["finetune", "ece"], abs=2e-5
    )
    assert own["ece_minus"].isna().tolist() == [True, False, False, True, True]
    assert "Compared with “distill”, “finetune”: 2 settings, on" in page
    assert "that of “first_ts” against “distill”: " in page


def test_models_at_chance_decide_nothing(tmp_path, tree):
    metrics = []
    for _, benchmark, corpus in COLUMNS:
        for method, gap in (("distill", 0.3), ("distill_ls", 0.1)):
            labels = {"scale": "tiny", "family": "alder", "corpus": corpus, "method": method}
            labels |= {"seed": 1, "benchmark": benchmark}
            rng = np.random.default_rng([*map(ord, method + benchmark)])
            folder = tmp_path / method / benchmark
            metrics.append(write_run(folder, labels, N, 0.2, gap, rng)[1])
    entry = json.dumps({**ENTRY, "points": ENTRY["points"][:2]})
    artifact("ablation", entry=entry, metrics=metrics, output_prefix=tmp_path / "own")
    page = (tmp_path / "own.md").read_text()
    assert "It decides nothing: smoothed is not above the chance and majority lines." in page
    assert page.count("no better than chance") == 4 and "1 training seed a student" in page


def test_cells_at_chance_do_not_count(tmp_path, tree):
    """Here in the second column; the mean over both would be another number."""
    metrics = [path for key, path in tree.items() if key[2] == "csqa"]
    columns = [*COLUMNS[:1], ["in_domain", "boolq", "boolq"], ["out_of_domain", "obqa", "alpaca"]]
    metrics += [path for key, path in tree.items() if key[2] == "alpaca"]
    for method, gap in (("distill", 0.3), ("distill_ls", 0.1), ("first_ts", 0.2)):
        for seed in SEEDS:
            labels = {"scale": "tiny", "family": "alder", "corpus": "boolq", "method": method}
            labels |= {"seed": seed, "benchmark": "boolq"}
            rng = np.random.default_rng([*map(ord, method), seed])
            folder = tmp_path / method / str(seed)
            metrics.append(write_run(folder, labels, N, 0.5, gap, rng)[1])
    names = ("distill", "distill_ls", "first_ts")
    points = [{"label": name, "method": name, "scale": "tiny"} for name in names]
    entry = {**ENTRY, "columns": columns, "points": points}
    artifact("ablation", entry=json.dumps(entry), metrics=metrics, output_prefix=tmp_path / "own")
    rows, page = pandas.read_csv(tmp_path / "own.csv"), (tmp_path / "own.md").read_text()
    own = rows[(rows["label"] == "first_ts") & (rows["benchmark"] != "boolq")]
    assert f"that of “first_ts”: {own['ece_minus'].mean():+.1f} [" in page
    assert " points in 2 of 3 cells, with " in page and "Its sign is decided (p = " in page


def test_families_are_units_where_there_are_several(tmp_path):
    """The value is the mean over families; and an untuned model has no corpus."""
    metrics, found = [], {}
    for family, shift in (("alder", 0.0), ("birch", 0.1)):
        for method, corpus in (("distill", "csqa"), ("first_ts", "csqa"), ("base", "none")):
            labels = {"scale": "tiny", "family": family, "corpus": corpus, "method": method}
            labels |= {"seed": 1, "benchmark": "csqa"}
            rng = np.random.default_rng([*map(ord, family + method)])
            gap = {"distill": 0.2, "first_ts": 0.05, "base": 0.0}[method]
            path = write_run(tmp_path / family / method, labels, N, 0.5 + shift, gap, rng)[1]
            found.setdefault(method, []).append(read_json(path)["benchmarks"]["csqa"]["ece"])
            metrics.append(path)
    points = [{"label": m, "method": m, "scale": "tiny"} for m in ("distill", "first_ts")]
    points.append({"method": "base", "scale": "tiny", "line": True})
    entry = {**ENTRY, "columns": COLUMNS[:1], "points": points}
    artifact("ablation", entry=json.dumps(entry), metrics=metrics, output_prefix=tmp_path / "own")
    rows, page = pandas.read_csv(tmp_path / "own.csv"), (tmp_path / "own.md").read_text()
    assert rows["n_families"].eq(2).all() and "2 pretraining runs (alder, birch)" in page
    for row in rows.to_dict("records"):
        assert row["ece"] == pytest.approx(np.mean(found[row["method"]]), abs=1e-5)
    assert rows["label"].tolist() == ["distill", "first_ts", "Untuned student"]
