"""Real rows through every rule, on reduced training and test sets."""

import json

import pandas
import pytest

pytestmark = pytest.mark.slow


def test_table_and_flags(smoke_run):
    """Table 1 shows n, chance, majority and mass; what cannot be decided is called undecided."""
    table = pandas.read_csv(smoke_run / "results/smoke/tables/table1.csv")
    assert set(table["benchmark"]) == {"csqa", "boolq", "obqa"}
    assert table[["chance", "majority", "candidate_mass", "ece_candidates"]].notna().all().all()
    assert (table["n_questions"] > 0).all()
    claims = json.loads((smoke_run / "results/smoke/claims.json").read_text())
    assert any(claim["verdict"] == "undecided" for claim in claims)


@pytest.mark.parametrize(
    ("dataset", "rows"), [("csqa", 9741), ("boolq", 9427), ("obqa", 4957), ("alpaca", 52002)]
)
def test_report_counts_real_rows(smoke_run, dataset, rows):
    """The reduced run still reads the whole official files."""
    report = json.loads((smoke_run / f"results/smoke/data/{dataset}/report.json").read_text())
    assert report["official_splits"]["train"]["rows"] == rows
