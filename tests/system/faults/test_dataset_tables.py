"""CSV files of one's own, broken or odd: one line each, or read as a spreadsheet means it."""

import pytest

from first_distill.files import read_json
from tests.system.faults import tried
from tests.system.faults.forked import refusal
from tests.system.faults.test_dataset_entries import REPAIR, prepare

CSV = "id,question,a,b,c,answer\n" + "".join(f"{i},why {i}?,u,v,w,B\n" for i in range(20))
OWN = {"choices": ["a", "b", "c"], "labels": ["A", "B", "C"], "test_share": 0.2}
OWN["splits"] = {"train": "train", "validation": "train", "test": "train"}
NOT_CSV = "not a readable CSV file: mine: rows/q.csv, split train, file q.csv: "
TABLES = {  # name: (content, the line)
    "a line with too many cells": (
        CSV.replace("7,why 7?", "7,why, 7?"),
        f"{NOT_CSV}line 9: 7 cells for 6 columns, texts with ',' need quotes: correct it",
    ),
    "a line with too few cells": (
        CSV.replace("7,why 7?", "7"),
        f"{NOT_CSV}line 9: 5 cells for 6 columns: correct it",
    ),
    "a quote that stays open": (
        CSV.replace("why 7?", '"why 7?'),
        f"{NOT_CSV}line 9: unexpected end of data: correct it",
    ),
    "tabs": (
        CSV.replace(",", "\t"),
        f"{NOT_CSV}its columns are separated by '\\t', not by ',': correct it",
    ),
    "no rows": (
        CSV[:25],
        "no rows in split train: mine: found train (empty): correct `splits`, or the source",
    ),
    "an empty cell": (
        CSV.replace("why 7?", ""),
        f"question is null, not text: mine, split train, row 7, file q.csv: {REPAIR}",
    ),
    "a choice that is missing": (
        CSV.replace("7,why 7?,u,v,w", "7,why 7?,u,,w"),
        f"choice 2 is null, not text: mine, split train, row 7, file q.csv: {REPAIR}",
    ),
    "an answer in another case": (
        CSV.replace("7,why 7?,u,v,w,B", "7,why 7?,u,v,w,b"),
        "answer 'b' is not one of A, B, C: mine, split train, row 7, file q.csv: "
        "correct the entry's `labels`, or the row in the source",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_bad_tables(tmp_path, name):
    content, line = TABLES[name]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/q.csv").write_text(content)
    said = refusal(prepare(tmp_path, {}, {**OWN, "path": "rows/q.csv"}))
    assert said == f"error: {line}"
    tried(f"CSV: {name}", 1, 1, 0, said)


def test_semicolons_and_a_last_choice_that_is_missing(tmp_path):
    """A table as a spreadsheet saves it where commas are decimal points; three choices or two."""
    (tmp_path / "rows").mkdir()
    content = CSV.replace("7,why 7?,u,v,w", "7,why, 7?,u,v,").replace("why, 7", "why 7")
    (tmp_path / "rows/q.csv").write_text("\ufeff" + content.replace(",", ";"))
    assert prepare(tmp_path, {}, {**OWN, "path": "rows/q.csv"})[0] == 0
    parts = read_json(tmp_path / "out/report.json")["splits"]
    assert sum(part["rows"] for part in parts.values()) == 20
