"""Post-hoc temperatures in cells and in their own table: every number recomputed from logits."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import softmax

from first_distill.calibration.summary import measure
from first_distill.errors import UserError
from first_distill.files import read_json, write_parquet
from first_distill.models.predictions import tables
from first_distill.provenance import records
from tests.science.artifacts_world import artifact

N, V, LETTERS = 150, 12, "abcde"
METHODS = {"teacher": 2.0, "finetune": 5.0, "first_ts": 2.2}  # the scale of its logits
FITS = {"nll": 1.7, "ece": 2.3}
COLUMNS = [("csqa", "csqa"), ("boolq", "boolq"), ("alpaca", "obqa")]
BENCHMARK = dict(COLUMNS)


def answers(benchmark: str) -> np.ndarray:
    return np.random.default_rng([*map(ord, benchmark)]).integers(5, size=N)


def logits_of(family: str, method: str, benchmark: str, seed: int) -> np.ndarray:
    """(N, V): the answers are more likely; the first five outputs are the candidates."""
    rng = np.random.default_rng([*map(ord, family + method + benchmark), seed])
    z = rng.normal(size=(N, V))
    z[np.arange(N), answers(benchmark)] += 1.0
    return METHODS[method] * z


def write_run(folder, family: str, method: str, corpus: str, seed: int, benchmark: str):
    """metrics.json and predictions.parquet of one model as the evaluation writes them."""
    gold, z = answers(benchmark), logits_of(family, method, benchmark, seed)
    rows = [
        {"id": f"{i}", "candidates": list(LETTERS), "answer": LETTERS[a]}
        for i, a in enumerate(gold)
    ]
    own = {name: np.log(softmax(z / t, axis=1))[:, :5] for name, t in {"": 1.0, **FITS}.items()}
    plain = own.pop("")
    empty = np.zeros((N, 5)), np.zeros((N, 5), bool)
    table, _ = tables(benchmark, rows, plain, *empty, own)
    found = measure(benchmark, table, plain, gold, 10)
    found["posthoc"] = {
        fit: {"temperature": t, **measure(benchmark, table, own[fit], gold, 10)}
        for fit, t in FITS.items()
    }
    write_parquet(folder / "predictions.parquet", pa.concat_tables([table]))
    labels = {"scale": "tiny", "family": family, "corpus": corpus, "method": method, "seed": seed}
    record = {**labels, "benchmarks": {benchmark: found}}
    records.write(folder / "metrics.json", record, ["predictions.parquet"])
    return folder / "metrics.json"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two families, three columns, two seeds of each student: {(family, method, corpus, seed)}."""
    root = tmp_path_factory.mktemp("runs")
    return {
        key: write_run(root / "/".join(map(str, key)), *key, BENCHMARK[corpus])
        for family in ("alder", "cedars")
        for method in METHODS
        for corpus, _ in COLUMNS
        for seed in ((1,) if method == "teacher" else (1, 2))
        if (key := (family, method, corpus, seed))
    }


def by_hand(key, t: float) -> dict[str, float]:
    """Metrics at a temperature by plain loops over the softmax of all logits."""
    family, method, corpus, seed = key
    benchmark = BENCHMARK[corpus]
    p, gold = softmax(logits_of(family, method, benchmark, seed) / t, axis=1), answers(benchmark)
    chosen = p[:, :5].argmax(axis=1)
    confidence, correct = p[np.arange(N), chosen], chosen == gold
    ece = 0.0
    for low in range(10):
        inside = (confidence > low / 10) & (confidence <= (low + 1) / 10)
        if inside.any():
            ece += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    outcomes = np.column_stack([p[:, :5], p[:, 5:].sum(axis=1)])
    brier = ((outcomes - np.eye(6)[gold]) ** 2).sum(axis=1).mean()
    nll = -np.log(p[np.arange(N), gold]).mean()
    return {"ece": 100 * ece, "accuracy": 100 * correct.mean(), "nll": nll, "brier": brier}


def expected(runs, method: str, corpus: str, t: float) -> dict[str, float]:
    """Means over the seeds of a family, then over families."""
    found = {}
    for family in ("alder", "cedars"):
        keys = [key for key in runs if key[:3] == (family, method, corpus)]
        found[family] = [by_hand(key, t) for key in keys]
    names = found["alder"][0]
    return {m: np.mean([np.mean([o[m] for o in own]) for own in found.values()]) for m in names}


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("table") / "posthoc"
    artifact("posthoc", metrics=[*runs.values()], output_prefix=prefix)
    rows = list(csv.DictReader(prefix.with_suffix(".csv").read_text().splitlines()))
    return rows, prefix.with_suffix(".md").read_text()


def test_every_number_by_hand(runs, made):
    rows, page = made
    order = [(c, b, m, fit) for m in METHODS for c, b in COLUMNS for fit in ("none", *FITS)]
    found = [(r["corpus"], r["benchmark"], r["method"], r["fit"]) for r in rows]
    assert sorted(found) == sorted(order)
    for row in rows:
        t = FITS.get(row["fit"], 1.0)
        own = expected(runs, row["method"], row["corpus"], t)
        for name, value in own.items():
            assert float(row[name]) == pytest.approx(value, abs=1e-5), (row, name)
        assert (float(row["temperature"]), row["n_families"]) == (pytest.approx(t), "2")
        assert f"{own['ece']:.1f}" in page and f"{own['nll']:.3f}" in page


@pytest.mark.parametrize("domain", ["In-domain", "Out-of-domain"])
def test_the_answer_compares_with_fine_tuning_and_its_temperature_by_ece(runs, made, domain):
    """Whichever is better on the test split; differences are those of the cells' means."""
    corpora = [c for c, b in COLUMNS if (c == b) == (domain == "In-domain")]

    def mean(method: str, t: float) -> dict[str, float]:
        cells = [expected(runs, method, corpus, t) for corpus in corpora]
        return {name: np.mean([cell[name] for cell in cells]) for name in cells[0]}

    _, page = made
    page = page.partition(f"## {domain}\n")[2].partition("\n## ")[0]
    base, first = mean("finetune", FITS["ece"]), mean("first_ts", 1.0)
    assert f"fine-tuning with T by ECE? That has ECE {base['ece']:.1f} %" in page
    (line,) = [text for text in page.splitlines() if text.startswith("- **FIRST w/ TS**")]
    change = {name: first[name] - base[name] for name in base}
    assert f"ECE {change['ece']:+.1f} [" in line and f"Brier {change['brier']:+.3f};" in line
    assert f"accuracy {change['accuracy']:+.1f} [" in line
    cooled = mean("first_ts", FITS["ece"])["ece"] - base["ece"]
    assert f"its own T by ECE: ECE {cooled:+.1f} [" in line


CELL = {"scale": "tiny", "family": "alder", "method": "finetune_ts", "corpus": "csqa"}
CELL |= {"setting": "in_domain", "benchmark": "csqa"}


def test_a_cell_reads_the_evaluation_of_the_model_without_a_job_of_its_own(runs, tmp_path):
    keys = [key for key in runs if key[:3] == ("alder", "finetune", "csqa")]
    options = {"metrics": [runs[key] for key in keys], "output": tmp_path / "cell.json", **CELL}
    for fit, t in FITS.items():
        artifact("cell", **options, posthoc=f"finetune_ts=finetune:{fit}")
        cell = read_json(tmp_path / "cell.json")
        for name in ("ece", "accuracy", "nll", "brier"):
            values = [by_hand(key, t)[name] for key in keys]
            assert cell[name]["per_seed"] == pytest.approx(values)
        assert cell["seeds"] == [1, 2] and cell["method"] == "finetune_ts"
    for word, match in (
        ("finetune_ts=finetune", "no post-hoc method: --posthoc: finetune_ts=finetune: write"),
        ("finetune_ts=finetune:brier", "no post-hoc temperature by brier: .*metrics.json: eval"),
        ("other=finetune:nll", "wrong run: --metrics: the cell tiny/alder/csqa/finetune_ts/csqa"),
        ("finetune_ts=teacher:nll", "wrong run: --metrics: the cell tiny/alder/csqa/finetune_ts"),
    ):
        with pytest.raises(UserError, match=match):
            artifact("cell", **options, posthoc=word)


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    prefix = tmp_path / "posthoc"
    paths = [path for key, path in runs.items() if key[1] != "finetune"]
    with pytest.raises(UserError, match="no finetune: posthoc: --metrics: give its files too"):
        artifact("posthoc", metrics=paths, output_prefix=prefix)
    paths = [path for key, path in runs.items() if key != ("cedars", "teacher", "csqa", 1)]
    with pytest.raises(UserError, match="unequal columns: posthoc: --metrics: give all models"):
        artifact("posthoc", metrics=paths, output_prefix=prefix)
    assert not list(tmp_path.iterdir())
