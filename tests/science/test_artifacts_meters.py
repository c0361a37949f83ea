"""The figure of meters: means, ranks and tau recomputed, and what the picture says."""

import numpy as np
import pandas
import pytest
from scipy.stats import kendalltau

from first_distill.errors import UserError
from first_distill.reporting.figures import meters as code
from first_distill.reporting.names import METERS, ONE_ANSWER
from first_distill.reporting.tables.table1 import COLUMNS
from tests.science.artifacts_world import artifact
from tests.science.figure_checks import TEXT, check

METHODS = ["base", "teacher", "finetune", "distill", "first_ts"]
CELLS = [("in_domain", "csqa"), ("in_domain", "boolq"), ("out_of_domain", "csqa")]


def table(seed: int = 0) -> pandas.DataFrame:
    """Rows of table1.csv of two families, with random numbers."""
    rng, rows = np.random.default_rng(seed), []
    for family in ("alder", "birch"):
        for method in METHODS:
            for setting, benchmark in CELLS:
                row = dict.fromkeys(COLUMNS) | {name: rng.uniform(1, 60) for name in METERS}
                row |= {"scale": "tiny", "family": family, "method": method, "setting": setting}
                row |= {"corpus": "csqa", "benchmark": benchmark}
                rows.append(row | {"above_chance": True, "constant_output": False})
    return pandas.DataFrame(rows)


def make(folder, rows: pandas.DataFrame) -> pandas.DataFrame:
    """Make the figure from these rows; return its CSV."""
    rows.to_csv(folder / "table1.csv", index=False, float_format="%.6f")
    artifact("meters", table1=folder / "table1.csv", output_prefix=folder / "meters")
    return pandas.read_csv(folder / "meters.csv")


def drawn(rows: pandas.DataFrame) -> str:
    """All texts of the picture, a line each."""
    from matplotlib import pyplot
    from matplotlib.text import Text

    texts = [text.get_text().replace("\n", " ") for text in code.draw(rows).findobj(Text)]
    pyplot.close("all")
    return "\n".join(texts)


def test_means_ranks_and_tau_by_hand(tmp_path):
    rows = table()
    found = make(tmp_path, rows)
    assert len(found) == 2 * len(METERS) * 4 and "base" not in set(found["method"])
    for setting, families_and_columns in (("in_domain", 4), ("out_of_domain", 2)):
        means = {}
        for name in METERS:
            for method in METHODS[1:]:
                own = [
                    row[name]
                    for row in rows.to_dict("records")
                    if (row["setting"], row["method"]) == (setting, method)
                ]
                assert len(own) == families_and_columns
                means[name, method] = sum(own) / len(own)
        for row in found[found["setting"] == setting].to_dict("records"):
            name = row["meter"]
            sign = -1 if name.startswith("auroc") else 1
            costs = [sign * means[name, method] for method in METHODS[1:]]
            own = sign * means[name, row["method"]]
            assert row["value"] == pytest.approx(means[name, row["method"]], abs=1e-5)
            assert row["rank"] == 1 + sum(cost < own for cost in costs)
            expected = kendalltau(costs, [means["ece", method] for method in METHODS[1:]])
            assert row["tau"] == pytest.approx(expected.statistic, abs=1e-6)
            assert row["cells"] == row["cells_above_chance"] == families_and_columns
    assert list(found["method"][:4]) == METHODS[1:] and list(found["meter"].unique()) == [*METERS]


def test_files_are_legible_and_repeatable_to_the_byte(tmp_path):
    from PIL import Image

    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        folder.mkdir()
        make(folder, table())
    for kind in ("csv", "png", "pdf", "svg"):
        assert (first / f"meters.{kind}").read_bytes() == (again / f"meters.{kind}").read_bytes()
    check(code.draw(pandas.read_csv(first / "meters.csv")), TEXT)
    with Image.open(first / "meters.png") as image:
        assert image.size[0] / 300 == pytest.approx(TEXT, abs=0.01)


def test_one_order_by_every_meter_has_tau_one_and_equal_methods_share_a_rank(tmp_path):
    rows = table()
    for place, method in enumerate(METHODS):
        for name in METERS:
            value = -place if name.startswith("auroc") else place
            rows.loc[rows["method"] == method, name] = 50 + value
    found = make(tmp_path, rows)
    assert (found["tau"] == 1).all()
    assert found["rank"].tolist() == [1, 2, 3, 4] * (len(found) // 4)
    text = drawn(found)
    assert "AUROC ↑" in text and "NLL, candidates" in text and "AUROC, candidates ↑" in text
    assert "51.0 (1)" in text and "53.000 (3)" in text and "49.0 (1)" in text
    assert text.count("1.00\n") == 2 * len(METERS)
    rows.loc[rows["method"] == "teacher", "nll"] += 1  # now equal to the next
    found = make(tmp_path, rows)
    assert found[found["meter"] == "nll"]["rank"].tolist()[:4] == [1, 1, 3, 4]


def test_a_method_without_one_of_the_cells_or_values_has_none(tmp_path):
    """It is not compared by its other cells; tau is that of the others."""
    rows = table()
    own = rows["method"] == "distill"
    rows.loc[own & (rows["family"] == "birch"), ["auroc"]] = np.nan
    rows = rows[~(own & (rows["setting"] == "out_of_domain") & (rows["family"] == "alder"))]
    found = make(tmp_path, rows).set_index(["setting", "meter", "method"]).sort_index()
    assert found["value"].isna().sum() == 1 + len(METERS)
    assert np.isnan(found["rank"]["in_domain", "auroc", "distill"])
    values = found["value"]["in_domain"]
    others = [values["auroc"].drop("distill"), -values["ece"].drop("distill")]
    expected = kendalltau(*others).statistic
    assert found["tau"]["in_domain", "auroc"].unique() == pytest.approx(expected)
    assert found["rank"]["out_of_domain", "ece"].max() == 3


def test_one_method_has_no_order(tmp_path):
    found = make(tmp_path, table()[lambda rows: rows["method"].isin(["base", "distill"])])
    assert found["tau"].isna().all() and (found["rank"] == 1).all()
    assert "–" in drawn(found)


def test_dead_models_and_cells_at_chance_are_named(tmp_path):
    rows = table()
    assert "chance" not in drawn(make(tmp_path, rows))
    rows.loc[(rows["method"] == "first_ts") & (rows["benchmark"] == "boolq"), "above_chance"] = (
        False
    )
    rows.loc[rows.index[-1], "constant_output"] = True
    text = drawn(make(tmp_path, rows))
    assert "in-domain, mean of 4 cells; 2 of 16 cells are not above chance" in text
    assert "out-of-domain, mean of 2 cells\n" in text
    assert f"FIRST w/ TS ({ONE_ANSWER})" in text and f"Distill ({ONE_ANSWER})" not in text


def test_an_older_table_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a table1.csv: .*no 'smooth_ece'"):
        make(tmp_path, table().drop(columns="smooth_ece"))
