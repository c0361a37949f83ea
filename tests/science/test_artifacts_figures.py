"""The figures' data against direct recomputation; the pictures exist, legible and repeatable."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from first_distill.calibration.statistic import question_weights
from first_distill.errors import UserError
from first_distill.files import read_json, read_parquet
from first_distill.knowledge.store import KnowledgeStore, write_store
from first_distill.reporting.figures import figure2 as figure2_code
from first_distill.reporting.figures import figure3 as figure3_code
from first_distill.reporting.figures import figure5 as figure5_code
from first_distill.reporting.figures import figure6 as figure6_code
from first_distill.reporting.figures.style import drawn
from tests.science.artifacts_world import FAMILIES, artifact, write_run, write_search, write_tree
from tests.science.figure_checks import COLUMN, TEXT, check
from tests.sealed import reseal
from tests.tiny_models import choice_rows, write_table


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    tree = write_tree(tmp_path_factory.mktemp("runs"), n=300, seeds=(1, 2))
    return {key: found for key, found in tree.items() if key[1] == key[3] == "csqa"}


def pictures(prefix, code, data, width):
    """Check the files of a figure, and how the same data are drawn."""
    from PIL import Image

    content = Path(f"{prefix}.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"CreationDate" not in content
    with Image.open(f"{prefix}.png") as image:
        assert round(image.info["dpi"][0]) == 300
        assert image.size[0] / 300 == pytest.approx(width, abs=0.01)
    svg = Path(f"{prefix}.svg").read_text(encoding="utf-8")
    assert "<text" not in svg and "<image" not in svg and "<dc:date>" not in svg
    assert b"/Type3" not in content.replace(b" ", b"")
    check(code.draw(data), width)


def csqa(runs, methods, **positions):
    """Files of some methods' runs on csqa, {option: files}."""
    found = [run for key, group in runs.items() if key[2] in methods for run in group]
    return {name: [run[position] for run in found] for name, position in positions.items()}


def figure5(runs, prefix, methods):
    files = csqa(runs, methods, metrics=1)
    artifact("figure5", benchmark="csqa", **files, methods=methods, output_prefix=prefix)


def test_figure5_bins_pool_the_seeds_and_the_ece_is_that_of_table1(runs, tmp_path):
    prefix = tmp_path / "figure5"
    figure5(runs, prefix, ["teacher", "finetune", "distill", "first_ts"])
    data = pandas.read_csv(f"{prefix}.csv")
    pictures(prefix, figure5_code, data, TEXT)
    assert len(data) == 3 * 4 * 10
    own = data[(data.family == "birch") & (data.method == "finetune")]
    found = runs["birch", "csqa", "finetune", "csqa"]
    assert own["count"].sum() == 600
    expected = np.mean([read_json(run[1])["benchmarks"]["csqa"]["ece"] for run in found])
    assert own.ece.iloc[0] == pytest.approx(expected, abs=1e-6)
    table = pandas.concat([read_parquet(run[0]).to_pandas() for run in found])
    top = table[table.confidence > 0.9]
    assert own.accuracy.iloc[-1] == pytest.approx(100 * top.correct.mean(), abs=1e-5)
    assert own.confidence.iloc[-1] == pytest.approx(100 * top.confidence.mean(), abs=1e-5)


def test_figure5_is_repeatable_to_the_byte(runs, tmp_path):
    for name in ("one", "two"):
        figure5(runs, tmp_path / name, ["teacher"])
    for kind in ("csv", "png", "pdf", "svg"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()


def test_figure5_needs_every_method_of_every_family(runs, tmp_path):
    files = csqa(runs, ["teacher"], metrics=1)
    options = {"benchmark": "csqa", "methods": "finetune", "output_prefix": tmp_path / "f"}
    with pytest.raises(UserError, match="finetune of alder"):
        artifact("figure5", **files, **options)
    assert list(tmp_path.iterdir()) == []


def over_and_under(probability, correct):
    """The ECE's two signs bin by bin, and the plain gap; fractions."""
    probability, correct = np.asarray(probability), np.asarray(correct, dtype=float)
    parts = {"over": 0.0, "under": 0.0, "gap": probability.mean() - correct.mean()}
    for b in range(10):
        inside = (probability > b / 10) & (probability <= (b + 1) / 10)
        signed = (probability - correct)[inside].sum() / len(probability)
        parts["over" if signed > 0 else "under"] += abs(signed)
    return parts


def test_figure3_splits_the_error_by_its_sign(runs, tmp_path):
    files = csqa(runs, ("teacher", "finetune", "distill"), ranks=2, metrics=1)
    prefix = tmp_path / "figure3"
    artifact("figure3", benchmark="csqa", **files, output_prefix=prefix)
    data = pandas.read_csv(f"{prefix}.csv", dtype={"rank": str})
    pictures(prefix, figure3_code, data, COLUMN)
    assert set(data["rank"]) == {"1", "2", "3", "4", "5", "2-5"}
    assert set(data["family"]) == {*FAMILIES, "all"}

    def rows(**labels):
        return data[np.logical_and.reduce([data[name] == label for name, label in labels.items()])]

    tables = [read_parquet(r[2]).to_pandas() for r in runs["alder", "csqa", "teacher", "csqa"]]
    for name, ranks in (("1", [1]), ("3", [3]), ("2-5", [2, 3, 4, 5])):
        parts = [table[table["rank"].isin(ranks)] for table in tables]
        expected = [over_and_under(part.probability, part.correct) for part in parts]
        row = rows(family="alder", method="teacher", rank=name).iloc[0]
        for number in ("over", "under", "gap"):
            mean = 100 * np.mean([e[number] for e in expected])
            assert row[number] == pytest.approx(mean, abs=1e-5)
            assert row[f"{number}_low"] <= mean <= row[f"{number}_high"]
    gaps = rows(method="distill", rank="1").set_index("family").gap
    assert gaps["all"] == pytest.approx(gaps[FAMILIES].mean(), abs=1e-5)


def test_figure3_of_ranks_that_are_only_over_confident():
    """No under-confident part, not even by rounding: it would be an interval without its value."""
    rng, seeds = np.random.default_rng(3), []
    for _ in range(3):
        found = [rng.random((400, 1)) * 10.0**-rank for rank in range(5)]
        found = [*found, np.concatenate(found[1:], axis=1)]
        weights = question_weights("csqa", 400)
        seeds.append([figure3_code.split(own, np.zeros(own.shape), weights) for own in found])
    labels = {"family": "alder", "corpus": "csqa", "benchmark": "csqa", "method": "distill"}
    models = pandas.DataFrame([{**labels, "n": 400, "by_rank": seed} for seed in seeds])
    data = pandas.DataFrame(figure3_code.rank_rows(models))
    assert (data[["under", "under_low", "under_high"]] == 0.0).all(axis=None)
    assert (data["over"] <= data["over_high"]).all() and (data["over_low"] <= data["over"]).all()
    drawn(figure3_code.draw(data))


def make_store(folder, top, n=60, k=8, vocabulary=50):
    """A store whose first token has probability `top`, the rest falling off."""
    rng = np.random.default_rng(int(1000 * top))
    weights = rng.dirichlet(np.full(vocabulary - 1, 0.3), n)
    weights = np.sort(weights)[:, ::-1] * (1 - top)
    probability = np.column_stack([np.full(n, top), np.minimum(weights, top)])[:, :k]
    offsets = np.arange(0, n + 1, 3).astype(np.int64)
    arrays = {
        "ids": np.tile(np.arange(k, dtype=np.uint16), (n, 1)),
        "log_probs": np.log(np.maximum(probability, 1e-6)).astype(np.float16),
        "log_tail": np.full(n, -5, np.float16),
        "log_tail_t": np.full(n, -4, np.float32),
        "gold_rank": np.zeros(n, np.uint8),
        "offsets": offsets,
        "row_hashes": rng.integers(0, 255, (len(offsets) - 1, 16)).astype(np.uint8),
    }
    write_store(folder, arrays, {"vocabulary_size": vocabulary, "scored": "answer"})
    return str(folder)


def test_figure2_measures_mass_and_bytes_on_the_store(tmp_path):
    stores = [make_store(tmp_path / name, top) for name, top in (("a", 0.9), ("b", 0.6))]
    prefix = tmp_path / "figure2"
    options = {"stores": stores, "families": ["alder"] * 2, "output_prefix": prefix}
    artifact("figure2", **options, corpora=["csqa", "alpaca"])
    data = pandas.read_csv(f"{prefix}.csv")
    pictures(prefix, figure2_code, data, TEXT)
    store = KnowledgeStore.open(stores[1])
    own = data[(data.corpus == "alpaca") & (data.positions == "all") & (data.k == 5)].iloc[0]
    mass = 100 * np.exp(store.arrays["log_probs"][:, :5].astype(np.float64)).sum(axis=1)
    assert own.mass_mean == pytest.approx(np.minimum(mass, 100).mean(), abs=1e-4)
    assert own.share_over_95 == pytest.approx(100 * (mass >= 95).mean())
    assert own.n_positions == 60
    answers = data[(data.corpus == "alpaca") & (data.positions == "answer")]
    assert set(answers.n_positions) == {20}
    arrays = KnowledgeStore.open(stores[0]).arrays
    sizes = data[(data.corpus == "csqa") & (data.positions == "all")].set_index("k")
    for k in (4, 8):
        size = sum(a[:, :k].nbytes if a.shape[1:] == (8,) else a.nbytes for a in arrays.values())
        assert sizes.bytes_per_position[k] == pytest.approx(size / 60, abs=1e-6)
    assert sizes.bytes_per_position.is_monotonic_increasing
    with pytest.raises(UserError, match="2 for --stores, 2 for --families, 1 for --corpora"):
        artifact("figure2", **options, corpora="csqa")


def figure6(tmp_path, values):
    searches = [write_search(tmp_path / family, 0.85, i) for i, family in enumerate(FAMILIES)]
    options = {name: [found[name] for found in searches] for name in searches[0]}
    labels = {"scale": "tiny", "family": "alder", "corpus": "csqa", "seed": 1, "benchmark": "csqa"}
    options |= {"families": FAMILIES, "corpus": "csqa", "benchmark": "csqa"}
    options["student_metrics"] = []
    for c in values:
        own, rng = {**labels, "method": f"c{c}"}, np.random.default_rng(1)
        run = write_run(tmp_path / f"c{c}", own, 200, 0.7, 0.1 - 0.3 * c, rng)
        options["student_metrics"].append(run[1])
    artifact("figure6", **options, student_c=values, output_prefix=tmp_path / "figure6")
    data = pandas.read_csv(tmp_path / "figure6.csv")
    pictures(tmp_path / "figure6", figure6_code, data, TEXT)
    return options, data


def test_figure6_holds_both_curves_the_choice_and_the_students(tmp_path):
    files, data = figure6(tmp_path, [0.1, 0.3, 1.0])
    coarse = pandas.read_csv(files["coarse"][1])
    own = data[(data.family == "birch") & (data.part == "coarse")]
    assert np.allclose(own.ece, 100 * coarse.ece, atol=1e-4)
    chosen = data[data.part == "selected"].set_index("family").c
    expected = {
        f: read_json(path)["c"] for f, path in zip(FAMILIES, files["selected"], strict=True)
    }
    assert chosen.to_dict() == pytest.approx(expected)
    shown = data[data.part == "student"]
    assert list(shown.c) == [0.1, 0.3, 1.0]
    trust = read_json(files["student_metrics"][0])["benchmarks"]["csqa"]["trust"]
    assert shown.trust.iloc[0] == pytest.approx(trust, abs=1e-5)


def test_figure6_without_students_still_shows_the_search(tmp_path):
    assert set(figure6(tmp_path, [])[1].part) == {"coarse", "refined", "selected"}


def test_figure6_shows_zero_and_negative_trust_and_no_legend_over_the_data(tmp_path):
    data = figure6(tmp_path, [0.1, 1.0])[1]
    data.loc[data.part == "student", ["trust", "trust_low"]] = -8.0
    drawn = figure6_code.draw(data)
    assert [axis.get_ylim()[0] for axis in drawn.axes] == [0, pytest.approx(-8.96), 0]
    check(drawn, TEXT)
    for word in ("abc", "nan", "0", "2"):
        with pytest.raises(UserError, match=f"not a c: --student-c {word}"):
            figure6_code.student({}, word)


def test_data_report_finds_test_questions_among_training_rows(tmp_path):
    """Two of three, whatever their ids; the page names the first."""
    one, two, three, four = choice_rows(4)
    test = write_table(tmp_path / "arc/test.parquet", [one, two, three])
    trained_on = write_table(tmp_path / "mmlu/train.parquet", [four, three, two])
    counts = {"rows": 3, "duplicate_prompts": 0, "empty_responses": 0, "official_split": "test"}
    counts |= {"longest_prompt_characters": 1, "answers": None}
    report = {"dataset": "arc", "left_out": [], "splits": {"test": counts}}
    reseal(tmp_path / "report.json", report)
    options = {"reports": tmp_path / "report.json", "output_prefix": tmp_path / "data_report"}
    artifact("data-report", **options, tests=test, trained_on=trained_on)
    page = Path(f"{tmp_path}/data_report.md").read_text()
    rows = "row train/000001 is row train/000001"
    assert f"arc: 2 test questions in the training rows of mmlu** ({rows})" in page
    assert read_json(tmp_path / "data_report.json")["seen_questions"][0]["questions"] == 2


def test_data_report_counts_rows_and_losses(tmp_path):
    counts = {"rows": 9, "duplicate_prompts": 1, "empty_responses": 2, "official_split": "train"}
    answers = {"majority": "Yes", "majority_share": 0.622, "chance_share": 0.5, "counts": {}}
    counts |= {"longest_prompt_characters": 70, "answers": answers}
    left_out = [{"official_split": "test", "rows": 4, "reason": "unlabelled"}]
    report = {"dataset": "boolq", "left_out": left_out, "shared_prompts": {"train and test": 0}}
    reseal(tmp_path / "report.json", {**report, "splits": {"train": counts}})
    encoding = {"rows": 9, "shortened_prompts": 3, "cut_responses": 0, "dropped_rows": ["train/1"]}
    reseal(tmp_path / "record.json", {"encoding": {**encoding, "longest": 512}})
    prefix = tmp_path / "data_report"
    options = {"reports": tmp_path / "report.json", "records": tmp_path / "record.json"}
    artifact("data-report", **options, families="alder", corpora="boolq", output_prefix=prefix)
    row = pandas.read_csv(f"{prefix}.csv").iloc[0]
    assert (row.rows, row.majority, row.chance) == (9, 62.2, 50.0)
    page = Path(f"{prefix}.md").read_text()
    assert "4 rows of official split test: unlabelled" in page
    assert read_json(f"{prefix}.json")["encoding"][0]["dropped_rows"] == ["train/1"]
    assert read_json(f"{prefix}.json")["encoding"][0]["shortened_prompts"] == 3
