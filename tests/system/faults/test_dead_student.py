"""A dead student, the same answer to every question, is not shown as a well calibrated one.

Its confidence may equal the share of that answer, so that its ECE is 0.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from scripts.first.files import read_csv, read_json, read_parquet, write_parquet
from scripts.first.reporting.figures import figure3, figure5, figure6
from scripts.first.reporting.names import ONE_ANSWER
from scripts.first.reporting.runs import load_runs
from tests.science.artifacts_world import artifact, make_claims, questions, write_run
from tests.sealed import reseal
from tests.system.faults import tried

N = 200
METHODS = ("teacher", "finetune", "distill", "first_ts")


def dead_run(folder, labels: dict) -> tuple[str, str, str]:
    """Files of a model that gives one answer to all, with the confidence that makes its ECE 0."""
    answers = [row["answer"] for row in questions(labels["benchmark"], N)]
    most = max(set(answers), key=answers.count)
    correct = np.asarray([answer == most for answer in answers])
    draw, sure = np.random.default_rng(0), np.full(N, correct.mean())
    paths = write_run(folder, labels, N, 0, 0, draw, sure, correct)
    table = read_parquet(paths[0])
    place = table.schema.get_field_index("prediction")
    write_parquet(paths[0], table.set_column(place, "prediction", [[most] * N]))
    reseal(paths[1], rehash=True, constant_output=True)
    return paths


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """{method: files} of one family, first_ts dead, and the folder."""
    folder, found = tmp_path_factory.mktemp("dead"), {}
    labels = {"scale": "tiny", "family": "alder", "corpus": "csqa", "seed": 1, "benchmark": "csqa"}
    for i, method in enumerate(METHODS):
        own = (folder / method, {**labels, "method": method})
        dead = method == "first_ts"
        alive = (N, 0.7, 0.1, np.random.default_rng(i))
        found[method] = dead_run(*own) if dead else write_run(*own, *alive)
    make_claims(folder, {("alder", "csqa", m, "csqa"): run for m, run in found.items()})
    return folder, found


def test_its_ece_alone_would_make_it_the_best(tree):
    table = read_csv(tree[0] / "table1.csv").set_index("method")
    assert table["ece"].idxmin() == "first_ts" and table["ece"]["first_ts"] < 1e-6


def test_table_1_marks_it_everywhere(tree, capsys):
    folder, _ = tree
    table = read_csv(folder / "table1.csv").set_index("method")
    assert table["constant_output"].to_dict() == {m: m == "first_ts" for m in METHODS}
    assert not table["above_chance"]["first_ts"]
    page, latex = ((folder / f"table1.{kind}").read_text() for kind in ("md", "tex"))
    capsys.readouterr()
    artifact("show", table1=folder / "table1.csv")
    terminal = capsys.readouterr().out
    marked = {
        "md": [line for line in page.splitlines() if "`ab`" in line],
        "tex": [line for line in latex.splitlines() if "$^{ab}$" in line],
        "terminal": [line for line in terminal.splitlines() if re.search(r"\d+\.\dab\b", line)],
    }
    for kind, lines in marked.items():
        assert len(lines) == 1 and "FIRST w/ TS" in lines[0], (kind, lines)
    for text in (page, latex, terminal):
        assert "the model gives the same answer to every question" in text
    tried("a dead student in table 1 (md, csv, tex, terminal)", 4, 4, 0, marked["md"][0][:70])


def test_no_claim_is_decided_by_it(tree):
    """FIRST has the lowest ECE by far here: no claim on it may hold, or be refuted."""
    folder, _ = tree
    claims = [c for c in read_json(folder / "claims.json") if c["id"].startswith("first_")]
    assert len(claims) > 10
    assert {claim["verdict"] for claim in claims} == {"undecided"}
    known = [claim for claim in claims if claim["numbers"]]
    assert known
    for claim in known:
        assert "FIRST w/ TS gives one answer to every question" in claim["reason"]
    assert "gives one answer to every question" in (folder / "claims.md").read_text()
    tried("a dead student in the claims", len(known), len(known), 0, known[0]["reason"])


def test_figures_say_so(tree):
    """Figure 5 in its panel, Figure 3 in its legend, Figure 6 at its point; and their data."""
    import matplotlib.pyplot as plt
    import pandas
    from matplotlib.text import Text

    folder, found = tree
    groups = load_runs(*zip(*[run[:2] for run in found.values()], strict=True))
    curves = [str(folder / "search" / name) for name in ("coarse.csv", "refined.csv")]
    chosen = read_json(folder / "search" / "selected.json")
    rows = {
        figure5: figure5.bin_rows(groups, list(METHODS)),
        figure3: figure3.rank_rows([figure3.load(r[2], r[1]) for r in found.values()], METHODS),
        figure6: figure6.curve_rows("alder", "csqa", *curves, chosen),
    }
    rows[figure6] += [figure6.student_row(read_json(run[1]), 0.3) for run in found.values()]

    def says_so(module, data) -> bool:
        return any(ONE_ANSWER in t.get_text() for t in module.draw(data).findobj(Text))

    for module, data in zip(rows, map(pandas.DataFrame, rows.values()), strict=True):
        assert says_so(module, data), module.__name__
        assert not says_so(module, data.drop(columns="constant_output"))
        if module is not figure6:
            assert set(data["method"][data["constant_output"].notna()]) == {"first_ts"}
    plt.close("all")
    tried("a dead student in figures 3, 5, 6", 3, 3, 0, f"its panel says: {ONE_ANSWER}")
