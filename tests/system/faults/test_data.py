"""Bad data: the real `python -m scripts.data prepare` on hostile mirrors, and who reads its rows.

Refused in one line that names the file, the row or the field, with nothing that looks finished; or
taken byte for byte, and counted in the report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts import data
from scripts.first.errors import UserError
from scripts.first.files import read_json, read_parquet
from tests.system.faults import WHOLE, tried
from tests.system.workflow.copies import ROOT

REPO, NAME = "tau/commonsense_qa", "{}-00000-of-00001.parquet"
HTML = b"<!DOCTYPE html><html><body>Sign in to continue</body></html>"


def question(i: int, key: str) -> dict:
    choices = {"label": list("ABCDE"), "text": list("vwxyz")}
    row = {"id": f"q{i}", "question": f"why {i}?", "question_concept": "why"}
    return {**row, "choices": choices, "answerKey": key}


def splits() -> dict[str, list[dict]]:
    numbers = {"train": range(40), "validation": range(40, 50), "test": range(50, 55)}
    return {s: [question(i, "" if s == "test" else "B") for i in n] for s, n in numbers.items()}


def make_mirror(folder, changed: dict[str, list[dict]]):
    place = folder / "mirror" / REPO / "data"
    place.mkdir(parents=True)
    for split, rows in {**splits(), **changed}.items():
        pq.write_table(pa.Table.from_pylist(rows), place / NAME.format(split))
    return place


def words(folder) -> list[str]:
    mirror = ["--source-kind", "mirror", "--mirror", str(folder / "mirror"), "--repo", REPO]
    return ["prepare", "--dataset", "csqa", *mirror, "--output-dir", str(folder / "out")]


def said(folder, command: bool) -> str:
    """The one line of a refusal: of the real command, or of the same function without a process."""
    if not command:
        with pytest.raises(UserError) as caught:
            data.main(words(folder))
        line = "error: " + " ".join(str(caught.value).split())
    else:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.data", *words(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ") and not (folder / "out").exists()
    return line


def row(split: str, number: int, **fields):
    """Splits with one row changed."""
    rows = splits()[split]
    rows[number] = {**rows[number], **fields}
    return {split: rows}


def choices(labels: str, texts) -> dict:
    return {"choices": {"label": list(labels), "text": list(texts)}}


ROWS = {
    "missing answer": (row("train", 3, answerKey=None), "no answer", "split train, row 3"),
    "empty answer": (row("validation", 2, answerKey=""), "no answer", "split validation, row 2"),
    "label outside the choices": (row("train", 3, answerKey="F"), "answer 'F'", "train, row 3"),
    "lower-case label": (row("train", 3, answerKey="b"), "answer 'b'", "train, row 3"),
    "duplicate id": (row("train", 3, id="q4"), "duplicate id 'q4'", "split train, row 4"),
    "duplicate id across splits": (row("train", 3, id="q44"), "duplicate id 'q44'", "row 4"),
    "null id": (row("train", 3, id=None), "no id", "split train, row 3"),
    "empty id": (row("test", 3, id=" "), "no id", "split test, row 3"),
    "empty question": (row("train", 3, question=""), "empty question", "train, row 3"),
    "blank question": (row("train", 3, question=" \n"), "empty question", "train, row 3"),
    "invisible question": (row("train", 3, question="\u200b\u2060"), "empty question", "row 3"),
    "null question": (row("train", 3, question=None), "question is NoneType", "train, row 3"),
    "no choices": (row("train", 3, **choices("", "")), "0 choices", "split train, row 3"),
    "null choices": (row("train", 3, choices=None), "choices lack label", "train, row 3"),
    "four choices": (row("train", 3, **choices("ABCD", "vwxy")), "4 choices", "train, row 3"),
    "choices in another order": (row("train", 3, **choices("BACDE", "vwxyz")), "B, A", "row 3"),
    "empty choice": (
        row("train", 3, **choices("ABCDE", ["v", "", *"xyz"])),
        "choice B is empty",
        "",
    ),
    "test question in training": (
        row("validation", 1, question="why 7?"),
        "not disjoint",
        "why 7?",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_bad_rows(tmp_path, name):
    changed, what, where = ROWS[name]
    make_mirror(tmp_path, changed)
    line = said(tmp_path, WHOLE or name == "label outside the choices")
    assert what in line and where in line, line
    tried(f"data: {name}", 1, 1, 0, line[:160])


def renamed(rows: list[dict]) -> list[dict]:
    return [{("answer_key" if k == "answerKey" else k): v for k, v in r.items()} for r in rows]


def no_utf8(place) -> None:
    table = pa.Table.from_pylist(splits()["train"])
    texts = [b"\xff\xfe" if i == 3 else b"why %d?" % i for i in range(len(table))]
    column = pa.Array.from_buffers(pa.string(), len(texts), pa.array(texts, pa.binary()).buffers())
    table = table.set_column(table.schema.get_field_index("question"), "question", column)
    pq.write_table(table, place / NAME.format("train"))


def rewrite(split: str, change):
    """An edit of one split's rows."""

    def edit(place):
        rows = change(splits()[split])
        pq.write_table(pa.Table.from_pylist(rows), place / NAME.format(split))

    return edit


def content(change, name: str = NAME.format("train")):
    """An edit of one file's bytes."""

    def edit(place):
        path = place / name
        path.write_bytes(change(path.read_bytes() if path.is_file() else b""))

    return edit


TRAIN = "split train, file data/train-00000-of-00001.parquet"
FILES = {
    "column renamed": (rewrite("train", renamed), f"no column answerKey: csqa: |{TRAIN}"),
    "column renamed in the test set": (
        rewrite("validation", renamed),
        "no column answerKey|split validation, file data/validation",
    ),
    "column of another type": (
        rewrite("train", lambda rows: [{**r, "question": i} for i, r in enumerate(rows)]),
        "cannot read the dataset: csqa: |type int64",
    ),
    "no UTF-8": (no_utf8, "cannot read the dataset: csqa: |'utf-8' codec"),
    "a parquet that is not one": (content(lambda _: b"hello" * 50), f"not a Parquet file: csqa: |{TRAIN}"),
    "a download that is HTML": (content(lambda _: HTML), f"not a Parquet file: csqa: |{TRAIN}"),
    "parquet with its ends alone": (content(lambda _: b"PAR1" + bytes(99) + b"PAR1"), TRAIN),
    "parquet cut short": (content(lambda t: t[: len(t) // 2]), TRAIN),
    "parquet emptied": (content(lambda _: b""), TRAIN),
    "split gone": (lambda place: (place / NAME.format("train")).unlink(), "no rows in split train"),
    "card that is no YAML": (content(lambda _: b"---\nconfigs: [\n---\n", "../README.md"), "csqa"),
    "card that is binary": (content(lambda _: bytes(range(256)), "../README.md"), "csqa"),
    "checksums of nothing": (
        content(lambda _: b"garbage\n", "../../../SHA256SUMS"),
        "SHA256SUMS, line 1",
    ),
    "checksums that are binary": (
        content(lambda _: bytes(range(256)), "../../../SHA256SUMS"),
        "SHA256SUMS, line 1",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files(tmp_path, name):
    edit, parts = FILES[name]
    edit(make_mirror(tmp_path, {}))
    line = said(tmp_path, WHOLE or name == "a download that is HTML")
    assert all(part in line for part in parts.split("|")), line
    tried(f"data: {name}", 1, 1, 0, line.replace(str(tmp_path), "")[:160])


UNUSUAL = {
    "a 100,000-character question": ("long " * 20_000 + "why?", "over_20000_characters"),
    "right-to-left text": (
        "\u05e9\u05dc\u05d5\u05dd \u202e\u0639\u0631\u0628\u064a?",
        "right_to_left",
    ),
    "combining characters": ("Zu\u0308rich a\u0301\u0302\u0303?", "combining_characters"),
    "NUL bytes": ("a\0b\0?", "control_characters"),
    "special-token text": ("is </s> or <s> or <unk> it?", "special_token_text"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_texts_are_kept_and_counted(tmp_path, name):
    text, kind = UNUSUAL[name]
    make_mirror(tmp_path, row("validation", 3, question=text))
    assert data.main(words(tmp_path)) == 0
    test = read_parquet(tmp_path / "out" / "test.parquet").to_pylist()
    assert test[3]["prompt"].startswith(f"Q: {text}\nAnswer Choices:\n") and len(test) == 10
    parts = read_json(tmp_path / "out" / "report.json")["splits"]
    assert parts["test"]["unusual_texts"] == {kind: 1}
    assert "unusual_texts" not in parts["train"] | parts["validation"]
    tried(f"data: {name}", 1, 1, 0, f"report.json: unusual_texts: {kind} 1")


ADDED = {"challenge-00000-of-00001.parquet": "left_out", "challenge.parquet": "files_not_read"}


@pytest.mark.parametrize("name", ADDED)
def test_an_added_split_is_told(tmp_path, name):
    """A split that the method does not use, or a file that is of none: the report says so."""
    place = make_mirror(tmp_path, {})
    more = pa.Table.from_pylist([question(i, "B") for i in range(60, 65)])
    pq.write_table(more, place / name)
    assert data.main(words(tmp_path)) == 0
    report = read_json(tmp_path / "out" / "report.json")
    left = {part["official_split"]: part for part in report["left_out"]}
    if ADDED[name] == "left_out":
        assert left["challenge"]["rows"] == 5 and "not used" in left["challenge"]["reason"]
        assert "files_not_read" not in report["source"]
    else:
        assert report["source"]["files_not_read"] == [f"data/{name}"] and [*left] == ["test"]
    assert "challenge" not in json.dumps(report["splits"])
    tried(f"data: an added split, {name}", 1, 1, 0, f"report.json: {ADDED[name]}")
