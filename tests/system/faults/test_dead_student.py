"""A dead student, the same answer to every question, is not shown as a well calibrated one.

Its confidence may equal the share of that answer, so that its ECE is 0.
"""

import re

import numpy as np
import pytest

from first_distill.files import read_csv, read_json, read_parquet, write_parquet
from first_distill.reporting.figures import figure3, figure5, figure6
from first_distill.reporting.names import ONE_ANSWER
from tests.science.artifacts_world import artifact, make_claims, questions, write_run, write_search
from tests.sealed import reseal
from tests.system.faults import tried

N = 200
LABELS = {"scale": "tiny", "family": "alder", "corpus": "csqa", "seed": 1, "benchmark": "csqa"}
METHODS = ("teacher", "finetune", "distill", "first_ts")


def dead_run(folder, labels: dict) -> tuple[str, str, str]:
    """Files of a model that gives one answer to all, with the confidence that makes its ECE 0."""
    answers = np.asarray([row["answer"] for row in questions("csqa", N)])
    most = max(set(answers), key=list(answers).count)
    correct = answers == most
    rng, sure = np.random.default_rng(0), np.full(N, correct.mean())
    paths = write_run(folder, labels, N, 0, 0, rng, sure, correct)
    table = read_parquet(paths[0])
    place = table.schema.get_field_index("prediction")
    write_parquet(paths[0], table.set_column(place, "prediction", [[most] * N]))
    values = read_json(paths[1])["benchmarks"]["csqa"]
    reseal(paths[1], rehash=True, benchmarks={"csqa": {**values, "constant_output": True}})
    return paths


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """{method: files} of one family, first_ts dead, and the folder."""
    folder, found = tmp_path_factory.mktemp("dead"), {}
    for i, method in enumerate(METHODS):
        own = (folder / method, {**LABELS, "method": method})
        alive = (N, 0.7, 0.1, np.random.default_rng(i))
        found[method] = dead_run(*own) if method == "first_ts" else write_run(*own, *alive)
    make_claims(folder, {("alder", "csqa", m, "csqa"): run for m, run in found.items()}, [])
    return folder, found


def test_table_1_marks_it_everywhere(tree, capsys):
    folder, _ = tree
    table = read_csv(folder / "table1.csv").set_index("method")
    assert table["ece"].idxmin() == "first_ts" and table["ece"]["first_ts"] < 1e-6
    assert table["constant_output"].to_dict() == {m: m == "first_ts" for m in METHODS}
    assert not table["above_chance"]["first_ts"]
    capsys.readouterr()
    artifact("show", table1=folder / "table1.csv")
    texts = [(folder / f"table1.{kind}").read_text() for kind in ("md", "tex")]
    marks = (r"\] ab\b", r"\] ab\b", r"\d\.\d ab\b")
    for text, mark in zip([*texts, capsys.readouterr().out], marks, strict=True):
        (line,) = (line for line in text.splitlines() if re.search(mark, line))
        assert "FIRST w/ TS" in line
        assert "the model gives the same answer to every question" in text
    tried("a dead student in table 1 (md, csv, tex, terminal)", 4, 4, 0, line[:70])


def test_no_claim_is_decided_by_it(tree):
    """FIRST has the lowest ECE by far here: no claim on it may hold, or be refuted."""
    folder, _ = tree
    claims = [c for c in read_json(folder / "claims.json") if c["id"].startswith("first_")]
    assert len(claims) > 10
    assert {claim["verdict"] for claim in claims} == {"undecided"}
    reasons = [claim["reason"] for claim in claims if claim["numbers"]]
    why = "FIRST w/ TS gives one answer to every question"
    assert reasons and all(why in reason for reason in reasons)
    assert why in (folder / "claims.md").read_text()
    tried("a dead student in the claims", len(reasons), len(reasons), 0, reasons[0])


def test_figures_say_so(tree):
    """Figure 5 in its panel, Figure 3 in its legend, Figure 6 at its point; and their data."""
    import matplotlib.pyplot as plt
    from matplotlib.text import Text

    folder, found = tree
    metrics = [run[1] for run in found.values()]
    distill = dead_run(folder / "dead_distill", {**LABELS, "method": "distill"})
    ranked = [found["teacher"], found["finetune"], distill]
    searches = {
        "corpus": "csqa",
        "benchmark": "csqa",
        "families": "alder",
        **write_search(folder / "search", 0.85, 1),
    }
    options = {
        figure3: {"ranks": [run[2] for run in ranked], "metrics": [run[1] for run in ranked]},
        figure5: {"metrics": metrics},
        figure6: {**searches, "student_metrics": metrics, "student_c": [0.3] * len(found)},
    }
    options[figure3] |= {"benchmark": "csqa"}
    options[figure5] |= {"benchmark": "csqa", "methods": list(METHODS)}

    def says_so(module, data) -> bool:
        return any(ONE_ANSWER in t.get_text() for t in module.draw(data).findobj(Text))

    for module, own in options.items():
        name = module.__name__.split(".")[-1]
        artifact(name, **own, output_prefix=folder / name)
        data = read_csv(folder / f"{name}.csv", dtype={"rank": str})
        if module is not figure6:
            dead = "distill" if module is figure3 else "first_ts"
            assert set(data["method"][data["constant_output"].notna()]) == {dead}
        assert says_so(module, data), name
        assert not says_so(module, data.drop(columns="constant_output"))
    plt.close("all")
    tried("a dead student in figures 3, 5, 6", 3, 3, 0, f"its panel says: {ONE_ANSWER}")
