"""Table 1, its cells and Table 2: every number recomputed another way."""

import csv
import io
import re

import numpy as np
import pyarrow.parquet
import pytest

from first_distill.calibration.intervals import Estimate
from first_distill.calibration.statistic import question_weights, score
from first_distill.errors import UserError
from first_distill.files import read_json, sha256_file, write_json, write_parquet
from first_distill.reporting.names import METERS
from first_distill.reporting.runs import load_runs
from first_distill.reporting.tables.table1 import left_out, marks
from first_distill.reporting.tables.table2 import confident_errors
from scripts.artifacts import main
from tests.science.artifacts_world import artifact, questions, write_run
from tests.sealed import reseal

LABELS = {"scale": "tiny", "family": "alder", "corpus": "csqa", "benchmark": "csqa"}


def one_run(tmp_path, method="finetune", seed=1, n=400, accuracy=0.65, gap=0.12, **labels):
    labels = {**LABELS, "method": method, "seed": seed, **labels}
    folder = tmp_path / "/".join(str(value) for value in labels.values())
    return write_run(folder, labels, n, accuracy, gap, np.random.default_rng(seed))


def cell(tmp_path, runs, name="cell", **options):
    labels = {"family": "alder", "method": "finetune", "corpus": "csqa", "benchmark": "csqa"}
    options = {"scale": "tiny", **labels, "setting": "in_domain", **options}
    files = {"metrics": [run[1] for run in runs], "output": tmp_path / f"{name}.json"}
    artifact("cell", **files, **options)
    return read_json(tmp_path / f"{name}.json")


def table1(tmp_path, cells):
    """Make Table 1; return rows of its CSV, page and LaTeX."""
    given = {"description": "A small world.", "output_prefix": tmp_path / "tables/table1"}
    artifact("table1", cells=cells, **given)
    texts = [(tmp_path / f"tables/table1.{kind}").read_text() for kind in ("csv", "md", "tex")]
    assert texts[1].splitlines()[2] == "A small world."
    return list(csv.DictReader(texts[0].splitlines())), *texts[1:]


def by_hand(path):
    """ECE and accuracy in percent, bin by bin, from the file alone."""
    table = pyarrow.parquet.read_table(path).to_pandas()
    total = 0.0
    for b in range(10):
        inside = table[(table.confidence > b / 10) & (table.confidence <= (b + 1) / 10)]
        if len(inside):
            total += len(inside) * abs(inside.correct.mean() - inside.confidence.mean())
    return 100 * total / len(table), 100 * table.correct.mean()


def test_a_cell_is_the_mean_over_seeds_of_numbers_recomputed_by_hand(tmp_path):
    runs = [one_run(tmp_path, seed=seed) for seed in (1, 2, 3)]
    found = cell(tmp_path, runs)
    hand = np.array([by_hand(run[0]) for run in runs])
    assert found["ece"]["value"] == pytest.approx(hand[:, 0].mean())
    assert found["ece"]["sd"] == pytest.approx(np.std(hand[:, 0], ddof=1))
    assert found["accuracy"]["value"] == pytest.approx(hand[:, 1].mean())
    assert found["trust"]["value"] == pytest.approx((hand[:, 1] - hand[:, 0]).mean())
    assert (found["n_questions"], found["n_seeds"], found["seeds"]) == (400, 3, [1, 2, 3])
    for name in ("ece", "accuracy", "trust", "gap"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert [*found["made_from"].values()] == [sha256_file(run[1]) for run in runs]


def test_one_seed_has_no_deviation_and_its_interval_is_that_of_the_evaluation(tmp_path):
    run = one_run(tmp_path, n=900)
    found = cell(tmp_path, [run])
    assert found["ece"]["sd"] is None
    rows = pyarrow.parquet.read_table(run[0]).to_pandas()
    scores = score(rows.confidence, rows.correct, question_weights("csqa", 900))
    for name in ("ece", "accuracy", "trust"):
        own = Estimate([scores[name]]).summary()
        assert {key: found[name][key] for key in own} == pytest.approx(own)


def test_wrong_labels_other_questions_and_seeds_given_twice_are_refused(tmp_path):
    run = one_run(tmp_path)
    with pytest.raises(UserError, match="given twice"):
        cell(tmp_path, [run, run])
    for label in ({"method": "distill"}, {"scale": "paper"}):
        with pytest.raises(UserError, match="wrong run"):
            cell(tmp_path, [run], **label)
    with pytest.raises(UserError, match="scales tiny and smoke"):
        cell(tmp_path, [run, one_run(tmp_path, seed=2, scale="smoke")])
    other = one_run(tmp_path, seed=2, n=399)
    with pytest.raises(UserError, match="different questions of csqa"):
        cell(tmp_path, [run, other])
    with pytest.raises(UserError, match="no boolq: .*: choose from csqa"):
        cell(tmp_path, [run], benchmark="boolq")


def test_a_cell_uses_its_own_benchmark_of_a_model_with_several(tmp_path):
    alone = [one_run(tmp_path, benchmark=name, seed=3) for name in ("csqa", "boolq")]
    tables = [pyarrow.parquet.read_table(run[0]) for run in alone]
    both = [tmp_path / "both" / name for name in ("predictions.parquet", "metrics.json")]
    write_parquet(both[0], pyarrow.concat_tables(tables))
    first, second = (read_json(run[1])["benchmarks"] for run in alone)
    record = {**read_json(alone[0][1]), "benchmarks": first | second}
    reseal(both[1], {**record, "files": {"predictions.parquet": {}}}, rehash=True)
    numbers = ("ece", "accuracy", "trust", "brier", "n_questions", "chance")
    whole, own = cell(tmp_path, [both]), cell(tmp_path, [alone[0]])
    assert {name: whole[name] for name in numbers} == {name: own[name] for name in numbers}


def test_every_meter_is_a_column_and_undefined_ones_are_empty(tmp_path):
    """Of two seeds one is always right: no AUROC, neither for it nor for the mean."""
    confidence, seeds = np.linspace(0.3, 0.9, 50), []
    for seed, correct in ((1, np.ones(50, bool)), (2, np.arange(50) % 3 > 0)):
        labels = {**LABELS, "method": "finetune", "seed": seed}
        rng = np.random.default_rng(seed)
        seeds.append(write_run(tmp_path / f"{seed}", labels, 50, 0, 0, rng, confidence, correct))
    found = cell(tmp_path, seeds)
    assert found["auroc"]["value"] is found["auroc"]["sd"] is found["auroc"]["per_seed"][0] is None
    own = [read_json(run[1])["benchmarks"]["csqa"] for run in seeds]
    (row,), page, _ = table1(tmp_path, tmp_path / "cell.json")
    lines = page.split("## Other meters")[1].splitlines()
    head, line = ([c.strip() for c in text.split("|")] for text in (lines[4], lines[6]))
    for name in METERS:
        values = [metrics[name] for metrics in own]
        if "auroc" in name:
            assert values[0] is None and row[name] == "" and line[head.index(name)] == "–"
        else:
            assert float(row[name]) == pytest.approx(np.mean(values), abs=1e-6), name
    assert row["aurc"] != row["smooth_ece"] != row["smooth_ece_candidates"] != row["ece_15"]
    assert line[head.index("nll_candidates")] == f"{float(row['nll_candidates']):.3f}"


def two_methods(tmp_path, **options):
    cells = []
    for family in ("alder", "birch"):
        for method in ("finetune", "first_ts"):
            run = one_run(tmp_path, method=method, family=family, **options)
            name = f"{family}-{method}"
            cell(tmp_path, [run], name=name, method=method, family=family)
            cells.append(str(tmp_path / f"{name}.json"))
    return cells


def test_table1_holds_the_cells_in_their_order_in_every_format(tmp_path, capsys):
    rows, page, latex = table1(tmp_path, two_methods(tmp_path))
    assert r"& & \multicolumn{3}{c}{CSQA in-domain} \\\cmidrule(lr){3-5}" in latex
    assert "- CSQA" in page and "- CSQA" not in latex
    latex = latex.replace("\N{NO-BREAK SPACE}", " ")
    order = [f"{row['family']} {row['method']}" for row in rows]
    assert order == [f"{f} {m}" for f in ("alder", "birch") for m in ("finetune", "first_ts")]
    artifact("show", table1=tmp_path / "tables/table1.csv")
    terminal = capsys.readouterr().out
    for row in rows:
        run = f"tiny/{row['family']}/csqa/csqa/{row['method']}/1/predictions.parquet"
        ece, accuracy = by_hand(tmp_path / run)
        assert float(row["ece"]) == pytest.approx(ece, abs=1e-6)
        assert float(row["accuracy"]) == pytest.approx(accuracy, abs=1e-6)
        assert float(row["trust"]) == pytest.approx(accuracy - ece, abs=2e-6)
        assert row["paper_ece"] == ""
        names = ("ece", "ece_debiased", "ece_low", "ece_high")
        value, debiased, low, high = (f"{float(row[name]):.1f}" for name in names)
        assert all(f"{value} ({debiased}) [{low}, {high}]" in text for text in (page, latex))
        assert value in terminal
    for text in (page, latex, terminal):
        assert text.count("FIRST w/ TS") >= 2
        assert re.search("CSQA( in-domain)?: n = 400, chance 20.0", text)
    assert latex.count("{") == latex.count("}")
    assert f"Results: {tmp_path}/claims.md, tables, figures; missing: " in terminal
    (tmp_path / "index.html").touch()
    artifact("show", table1=tmp_path / "tables/table1.csv")
    assert capsys.readouterr().out.splitlines()[-1] == f"Open {tmp_path}/index.html"
    cell(tmp_path, [one_run(tmp_path, scale="smoke")], name="smoke", scale="smoke")
    for more in ("alder-finetune", "smoke"):
        with pytest.raises(UserError, match="twice or several scales"):
            table1(tmp_path, [tmp_path / f"{name}.json" for name in ("alder-finetune", more)])


@pytest.mark.parametrize(
    "line",
    [
        "show --table1 other.csv",
        "table1 --cells other.json --output-prefix t",
        "cell --metrics other.json --scale s --family f --method m --setting s --corpus c "
        "--benchmark b --output o",
        "figure6 --coarse other.csv --refined x --selected x --families a --corpus c "
        "--benchmark c --output-prefix f",
        "data-report --reports other.json --output-prefix d",
        "claims --table1 x --figure2 x --figure3 x --metrics x --selected other.json --coarse x "
        "--refined x --families a --corpora c --output-prefix c",
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, monkeypatch, line):
    (tmp_path / "other.csv").write_text("scale,c\ntiny,1\n")
    reseal(tmp_path / "other.json", {"scale": "tiny"})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"not a .*: other\.(csv|json): name a"):
        main(line.split())


def test_the_papers_values_stand_beside_ours_at_paper_scale(tmp_path):
    options = {"scale": "paper", "family": "llama1", "method": "first_ts"}
    run = one_run(tmp_path, **options)
    reseal(tmp_path / "selected.json", {"c": 0.28, "at_edge": True})
    options |= {"paper_table": "config/paper_table1.csv", "c": tmp_path / "selected.json"}
    found = cell(tmp_path, [run], **options)
    assert found["paper"] == {"ece": 2.9, "accuracy": 80.8, "trust": 77.9}
    assert (found["c"], found["c_at_edge"]) == (0.28, True)
    assert cell(tmp_path, [run], "fixed", **{**options, "c": 0.3})["c"] == 0.3
    rows, page, latex = table1(tmp_path, tmp_path / "cell.json")
    assert (rows[0]["paper_ece"], rows[0]["paper_trust"]) == ("2.900000", "77.900000")
    assert "] c paper 80.8" in page and "] c paper 80.8" in latex


def table2(tmp_path, n=120, **options):
    runs = [one_run(tmp_path, method=m, n=n) for m in ("finetune", "distill", "first_ts")]
    write_parquet(tmp_path / "test.parquet", pyarrow.Table.from_pylist(questions("csqa", n)))
    files = {"metrics": [run[1] for run in runs], "questions": tmp_path / "test.parquet"}
    artifact("table2", benchmark="csqa", **files, output_prefix=tmp_path / "table2", **options)
    text = (tmp_path / "table2.csv").read_text()
    return runs, list(csv.DictReader(io.StringIO(text)))


def test_table2_shows_the_most_confident_errors_of_fine_tuning(tmp_path):
    runs, rows = table2(tmp_path)
    table = pyarrow.parquet.read_table(runs[0][0]).to_pandas()
    worst = table[~table.correct].sort_values("confidence", ascending=False).head(3)
    assert [row["id"] for row in rows[::3]] == list(worst["id"])
    assert {row["method"] for row in rows} == {"finetune", "distill", "first_ts"}
    first = rows[0]
    at = "abcde".index(first["gold"])
    expected = 100 * np.exp(worst.iloc[0].candidate_log_probs[at])
    assert float(first["probability_gold"]) == pytest.approx(expected, abs=1e-6)
    assert first["correct"] == "False"
    latex = (tmp_path / "table2.tex").read_text()
    assert r"50\% \& more" in latex and r"x\_1" in latex


def test_table2_puts_the_papers_questions_first_and_says_which_are_missing(tmp_path):
    write_json(tmp_path / "q.json", [{"text": "question 7 of"}, {"text": "nowhere"}])
    _, rows = table2(tmp_path, first_questions=tmp_path / "q.json")
    assert rows[0]["id"] == "validation/000007"
    assert rows[0]["case"] == "question of the paper"
    assert "nowhere" in (tmp_path / "table2.md").read_text()
    for wrong in (["a"], {"a": 1}, [{}], [{"text": 5}], 7):
        write_json(tmp_path / "q.json", wrong)
        with pytest.raises(UserError, match="not a question: --first-questions"):
            table2(tmp_path, first_questions=tmp_path / "q.json")


def test_equally_confident_errors_keep_the_order_of_the_table(tmp_path):
    confidence, correct = np.full(20, 0.9), np.arange(20) % 2 == 0
    labels = {**LABELS, "method": "finetune", "seed": 1}
    run = write_run(tmp_path, labels, 20, 0, 0, np.random.default_rng(0), confidence, correct)
    ((own,),) = load_runs([run[1]]).values()
    assert confident_errors(own) == list(range(1, 20, 2))


@pytest.mark.parametrize(
    ("seeds", "ece_high", "said"),
    [
        ((1, 1), 5.0, ["leave out what another training of a model or of its teacher"]),
        ((3, 1), 5.0, ["questions and training seeds. They", "is trained once (n_seeds"]),
        ((3, 3), 5.0, ["questions and training seeds. They", "change, in its students too"]),
        ((3, 1), 4.04, ["is trained once", "upper end of an ECE equals its value"]),
    ],
)
def test_what_intervals_leave_out(seeds, ece_high, said):
    """Printed with one decimal, 4.04 equals 4.0."""
    note = left_out([{"n_seeds": n, "ece": 4.0, "ece_high": ece_high} for n in seeds])
    assert all(part in note for part in said)
    assert ("equals" in note) == (ece_high < 5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"above_chance": False}, "a"),
        ({"constant_output": True, "c_at_edge": True}, "bc"),
        ({"candidate_mass": 49.9}, "m"),
    ],
)
def test_marks_of_a_row(change, expected):
    usual = {"above_chance": True, "constant_output": False, "c_at_edge": None}
    assert marks({**usual, "candidate_mass": 99.0, **change}) == expected
