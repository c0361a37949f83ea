"""Tables of official rows: kinds of files, what people do to them, splits of several files."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from first_distill.data import prepare, readers, sources
from first_distill.errors import UserError

ENTRY = {
    "splits": {"train": "train", "validation": "validation", "test": "test"},
    "fields": {"question": "question"},
    "choices": ["a", "b"],
    "answer": "answer",
    "prompt": {"candidates": "upper", "text": "{{ question }}\n", "response": "{{ answer }}"},
}
FILE = "{}-0000{}-of-00002.parquet"
PATHS = ("question", "a", "b", "answer")


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, wanted=PATHS) -> list[dict]:
    return readers.read_table(path, wanted, "quiz, file x")


def refused(path: Path, wanted=PATHS) -> str:
    with pytest.raises(UserError) as caught:
        read(path, wanted)
    assert "\n" not in str(caught.value) and "quiz, file x" in str(caught.value)
    return str(caught.value)


# Text files --------------------------------------------------------------------------------------

ROW = {"question": "why?", "a": "1", "b": "no", "answer": "0"}
CSV = {
    "plain": ("question,a,b,answer\nwhy?,1,no,0\n", [ROW]),
    "no newline at the end": ("question,a,b,answer\nwhy?,1,no,0", [ROW]),
    "byte order mark": ("\ufeffquestion,a,b,answer\nwhy?,1,no,0\n", [ROW]),
    "of another system": ("question,a,b,answer\r\nwhy?,1,no,0\r\n", [ROW]),
    "columns that are not read": ("x,answer,b,a,question,y\n1,0,no,1,why?,2\n", [ROW]),
    "quotes": ('"question",a,b,answer\n"say ""hi"", then",1,no,0\n', 'say "hi", then'),
    "newlines in a cell": (
        'question,a,b,answer\n"one\ntwo\r\n\nthree",1,no,0\n',
        "one\ntwo\r\n\nthree",
    ),
    "spaces and other scripts": (
        "question,a,b,answer\n  où? \u2028 漢,1,no,0\n",
        "  où? \u2028 漢",
    ),
    "quote within a word": ('question,a,b,answer\n5" or 6",1,no,0\n', '5" or 6"'),
    "empty cells": ('question,a,b,answer\nwhy?,,"",0\n', [{**ROW, "a": None, "b": None}]),
    "empty lines": ("question,a,b,answer\n\nwhy?,1,no,0\n\n\n", [ROW]),
    "semicolons and a comma": ('"x, y";question;a;b;answer\n"1, 2";why?;1;no;0\n', [ROW]),
    "semicolons and an unquoted comma": ("x, y;question;a;b;answer\n1;why?;1;no;0\n", [ROW]),
    "semicolons": ("question;a;b;answer\nwhy?;1;no;0\n", [ROW]),
    "a semicolon in a comma's file": ("question,a,b,answer\nwhy; oh why,1,no,0\n", "why; oh why"),
    "no rows": ("question,a,b,answer\n", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize("name", CSV)
def test_csv(tmp_path, name):
    content, expected = CSV[name]
    expected = [{**ROW, "question": expected}] if isinstance(expected, str) else expected
    assert read(write(tmp_path / "rows.csv", content)) == expected
    assert read(write(tmp_path / "ROWS.CSV", content)) == expected


def test_tsv(tmp_path):
    path = write(tmp_path / "rows.tsv", "question\ta\tb\tanswer\nwhy, oh\t1;2\tno\t0\n")
    assert read(path) == [{"question": "why, oh", "a": "1;2", "b": "no", "answer": "0"}]


LINES = [
    {"question": "a\u2028b\nc", "a": 1, "b": None, "answer": False, "x": [1]},
    {"question": "d"},
]
JSON = {
    "lines": "\n".join(map(json.dumps, LINES)) + "\n",
    "lines as they are": "\n".join(json.dumps(row, ensure_ascii=False) for row in LINES),
    "lines of another system": "\ufeff" + "\r\n\r\n".join(map(json.dumps, LINES)) + "\r\n",
    "a list": json.dumps(LINES, indent=2),
}


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize("name", JSON)
def test_json(tmp_path, name, suffix):
    """Types are kept; a key that a row lacks is null."""
    found = read(write(tmp_path / f"rows.{suffix}", JSON[name]))
    first = {"question": "a\u2028b\nc", "a": 1, "b": None, "answer": False}
    assert found == [first, {"question": "d", "a": None, "b": None, "answer": None}]
    assert read(write(tmp_path / f"none.{suffix}", "")) == []


HEAD = "question,a,b,answer\n"
REFUSED = {
    "short.csv": (HEAD + "why?,1,no,0\nwhy?,1,no\n", "line 3: 3 cells for 4 columns"),
    "long.csv": (HEAD + '"one\ntwo",1,no,0,\n', "line 3: 5 cells for 4 columns"),
    "twice.csv": ("question,a,a,answer\n", "a column stands twice in question, a, a, answer"),
    "open.csv": (HEAD + '"why?,1,no,0\n', "not a readable CSV file: "),
    "latin.csv": ((HEAD + "où?,1,no,0\n").encode("latin-1"), "not a readable CSV file: "),
    "lacks.csv": (
        "question,a,b,Answer\nw,1,2,0\n",
        "no column answer: quiz, file x: it has questi",
    ),
    "header.csv": ("q,a,b,answer\n", "no column question: quiz, file x: it has q, a, b, answer"),
    "short.tsv": (HEAD.replace(",", "\t") + "why?\t1\n", "not a readable TSV file: "),
    "broken.jsonl": ('{"question": "x"}\n{"question": \n', "line 2: Expecting value"),
    "numbers.jsonl": ("1\n2\n", "not a readable JSON file: quiz, file x: a row is no object"),
    "lists.json": ("[[1], [2]]", "a row is no object of names and values"),
    "lacks.jsonl": (
        '{"question": "x", "a": "y", "b": "z"}\n',
        "no column answer: quiz, file x: it",
    ),
    "page.parquet": (b"<!DOCTYPE html>", "not a readable Parquet file: "),
    "book.xlsx": (
        b"PK",
        "not a table: quiz, file x: .xlsx: use .parquet, .csv, .tsv, .jsonl, .json",
    ),
    "rows": (b"x", "not a table: quiz, file x: no suffix: use .parquet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_files_are_one_line(tmp_path, name):
    content, message = REFUSED[name]
    assert message in refused(write(tmp_path / name, content))


def test_half_a_character_is_named_with_its_row(tmp_path):
    """JSON may hold one; no file of text could."""
    lines = [
        {"question": text, "a": "x", "b": "y", "answer": 0} for text in ("ok \U0001f600", "\ud83d")
    ]
    write(tmp_path / "q.jsonl", "\n".join(map(json.dumps, lines)))
    entry = ENTRY | {"path": str(tmp_path / "q.jsonl"), "splits": {"test": "train"}}
    with pytest.raises(
        UserError, match="question has half of a surrogate pair: quiz, split train, r"
    ):
        prepare.load("quiz", entry)


# Parquet, and splits of several files ------------------------------------------------------------


def table(n: int, start: int = 0, **types) -> pa.Table:
    """n questions, some columns of other types."""
    numbers = range(start, start + n)
    columns = {"question": [f"why {i}?" for i in numbers], "a": ["x"] * n, "b": ["y"] * n}
    columns = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    columns["answer"] = pa.array([i % 2 for i in numbers], pa.int64())
    for name, make in types.items():
        columns[name] = make(columns[name])
    return pa.table(columns)


def category(column: pa.Array) -> pa.Array:
    return column.dictionary_encode()


def view(column: pa.Array) -> pa.Array:
    return column.cast(pa.string_view())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array([4_000_000], pa.date32()), "date value out of range"),
        (pa.array([1], pa.timestamp("s", tz="No/Where")), "No/Where"),
    ],
)
def test_dates_that_python_has_not(tmp_path, values, reason):
    pq.write_table(pa.table({"day": values}), tmp_path / "q.parquet")
    assert reason in refused(tmp_path / "q.parquet", ["day"])


def folder(root: Path, **files) -> Path:
    """A folder of Parquet files; `train_1` is the second file of a split."""
    for name, content in files.items():
        split, _, part = name.partition("_")
        path = write(root / "data" / FILE.format(split, part or 0), b"")
        pq.write_table(content, path)
    return root


def load(root: Path, **changes):
    return prepare.load("quiz", {**ENTRY, "path": str(root), **changes})


def plain(root: Path) -> dict:
    """Tables and report of three plain splits."""
    parts = {"train": table(9), "validation": table(4, 20), "test": table(5, 40)}
    return load(folder(root, **parts))


@pytest.mark.parametrize("make", [category, view])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_column_of_another_type_in_one_split(tmp_path, split, make):
    """A category or a string_view reads as the text that it stands for: the same tables."""
    parts = {"train": table(9), "validation": table(4, 20), "test": table(5, 40)}
    n, start = parts[split].num_rows, {"train": 0, "test": 40}[split]
    parts[split] = table(n, start, question=make, b=make)
    found, report = load(folder(tmp_path / "other", **parts))
    expected, plainly = plain(tmp_path / "plain")
    assert found == expected
    assert report["official_splits"] == plainly["official_splits"]


def test_categories_as_answers(tmp_path):
    letters = {"answer": lambda numbers: category(pa.array(["BA"[i.as_py()] for i in numbers]))}
    parts = {"train": table(9, **letters), "validation": table(4, 20, **letters)}
    found, _ = load(folder(tmp_path, **parts, test=table(5, 40, **letters)), labels=["B", "A"])
    assert found["test"]["answer"].to_pylist() == ["A", "B", "A", "B", "A"]


def test_empty_files(tmp_path):
    """An empty shard, whose columns have no types; and a split that is empty altogether."""
    empty = pa.table({name: pa.nulls(0) for name in (*PATHS, "topic")})
    parts = {"train_0": empty, "train_1": table(9), "validation": table(4, 20)}
    found, _ = load(folder(tmp_path, **parts, test=table(5, 40), more=empty))
    assert found == plain(tmp_path / "plain")[0]
    folder(tmp_path, test=empty)
    with pytest.raises(
        UserError, match="no rows in split test: quiz: found train, validation, tes"
    ):
        load(tmp_path)


def test_rows_of_two_files_are_named_by_file_and_line(tmp_path):
    bad = table(4, 5, answer=lambda own: pa.array([0, 1, 7, 0]))
    parts = {"train_0": table(5), "train_1": bad, "validation": table(4, 20), "test": table(5, 40)}
    folder(tmp_path, **parts)
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    files = [f"data/{FILE.format('train', part)}" for part in (0, 1)]
    place = f"quiz, split train, row 7, file {files[1]} row 2: "
    assert f"answer 7 is not one of 0, 1: {place}" in str(caught.value)
    folder(tmp_path, train_1=table(4, 5))
    found, report = load(tmp_path)
    assert found == plain(tmp_path / "plain")[0]
    others = [f"data/{FILE.format(split, 0)}" for split in ("test", "validation")]
    assert [*report["source"]["files"]] == sorted([*files, *others])
    official = sources.from_files("quiz", {**ENTRY, "path": str(tmp_path)})
    names = [official.place("quiz", "train", i) for i in (0, 4, 5, 8)]
    assert names == [
        f"quiz, split train, row 0, file {files[0]}",
        f"quiz, split train, row 4, file {files[0]}",
        f"quiz, split train, row 5, file {files[1]} row 0",
        f"quiz, split train, row 8, file {files[1]} row 3",
    ]


UNUSED = {
    "unlabelled": (table(3, 60, answer=lambda own: pa.array([-1, -1, -1])), 3, ": unlabelled"),
    "null answers": (table(3, 60, answer=lambda own: pa.nulls(3, pa.int64())), 3, ": unlabelled"),
    "partly labelled": (table(3, 60, answer=lambda own: pa.array([-1, None, 0])), 3, ""),
    "label 0": (table(3, 60, answer=lambda own: pa.array([0, 0, 0])), 3, ""),
    "other answers": (table(3, 60, answer=lambda own: pa.array([7, 7, 7])), 3, ""),
    "no such column": (table(3, 60).drop_columns(["answer"]), 3, ": unlabelled"),
    "no question": (table(3, 60).drop_columns(["question"]), 3, ""),
    "a test question": (table(3, 40), 3, ""),
    "broken": (b"<!DOCTYPE html>", None, ""),
}


@pytest.mark.parametrize("name", UNUSED)
def test_splits_that_are_not_used_are_counted_and_not_checked(tmp_path, name):
    content, rows, why = UNUSED[name]
    plain(tmp_path / "q")
    if isinstance(content, bytes):
        write(tmp_path / "q/data" / FILE.format("challenge", 0), content)
    else:
        folder(tmp_path / "q", challenge=content)
    found, report = load(tmp_path / "q")
    assert found == plain(tmp_path / "plain")[0]
    reason = f"official split challenge is not used{why}"
    left = {part["official_split"]: part for part in report["left_out"]}
    assert left == {"challenge": {"official_split": "challenge", "rows": rows, "reason": reason}}
    names = [f"data/{FILE.format(split, 0)}" for split in ("test", "train", "validation")]
    assert [*report["source"]["files"]] == names and "files_not_read" not in report["source"]


def test_tables_that_belong_to_no_split_are_named(tmp_path):
    plain(tmp_path)
    for name in ("notes.md", "extra.csv", "data/more.parquet"):
        write(tmp_path / name, "question\n")
    assert load(tmp_path)[1]["source"]["files_not_read"] == ["data/more.parquet", "extra.csv"]
