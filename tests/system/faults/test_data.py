"""Bad data: the real `python -m scripts.data` on hostile mirrors.

Refused in one line that names the file, the row or the field, with nothing that looks finished; or
taken byte for byte, and counted in the report. tests/science/test_prompts.py has more bad rows.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from first_distill.errors import UserError
from first_distill.files import read_json, read_parquet
from scripts import data
from tests.questions import FILE, entry, make_mirror, question, splits, write_split
from tests.system.faults import WHOLE, tried
from tests.system.faults.forked import refusal, script

HTML = b"<!DOCTYPE html><html><body>Sign in to continue</body></html>"


def words(folder) -> list[str]:
    line = ["--dataset", "csqa", "--entry", json.dumps(entry("csqa"))]
    return [*line, "--mirror", f"{folder}/mirror", "--output-dir", f"{folder}/out"]


def refused(folder, command: bool) -> str:
    """The one line of a refusal: of the real command, or of the same function in this process."""
    if command:
        line = refusal(script(folder, "data", "", *words(folder)))
    else:
        with pytest.raises(UserError) as caught:
            data.main(words(folder))
        line = "error: " + str(caught.value)
    assert "\n" not in line and not (folder / "out").exists()
    return line


def row(split: str, number: int, **fields):
    """Splits with one row changed."""
    rows = splits()[split]
    rows[number] = {**rows[number], **fields}
    return {split: rows}


ROWS = {
    "label outside the choices": (row("train", 3, answerKey="F"), "answer 'F'", "train, row 3"),
    "duplicate id": (row("train", 3, id="q4"), "id 'q4' is in csqa", "split train, row 4"),
    "null id": (row("train", 3, id=None), "id is null", "split train, row 3"),
    "test question in training": (
        row("validation", 1, question="why 7?"),
        "not disjoint",
        "why 7?",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_bad_rows(tmp_path, name):
    changed, what, where = ROWS[name]
    make_mirror(tmp_path / "mirror", changed)
    line = refused(tmp_path, WHOLE or name == "label outside the choices")
    assert what in line and where in line, line
    tried(f"data: {name}", 1, 1, 0, line[:160])


def renamed(rows: list[dict]) -> list[dict]:
    return [{("answer_key" if k == "answerKey" else k): v for k, v in r.items()} for r in rows]


def not_utf8(place) -> None:
    table = pa.Table.from_pylist(splits()["train"])
    texts = [b"\xff\xfe" if i == 3 else b"why %d?" % i for i in range(len(table))]
    column = pa.Array.from_buffers(pa.string(), len(texts), pa.array(texts, pa.binary()).buffers())
    table = table.set_column(table.schema.get_field_index("question"), "question", column)
    pq.write_table(table, place / FILE.format("train"))


def rewrite(split: str, change):
    """An edit of one split's rows."""

    def edit(place):
        write_split(place, split, change(splits()[split]))

    return edit


def content(change, name: str = FILE.format("train")):
    """An edit of one file's bytes."""

    def edit(place):
        path = place / name
        path.write_bytes(change(path.read_bytes() if path.is_file() else b""))

    return edit


TRAIN = "split train, file data/train-00000-of-00001.parquet"
BROKEN = f"not a readable Parquet file: csqa: |{TRAIN}"
SUMS = "../../../SHA256SUMS"
NUMBERS = rewrite("train", lambda rows: [{**r, "question": i / 4} for i, r in enumerate(rows)])
FILES = {
    "column renamed": (
        rewrite("train", renamed),
        f"no column answerKey: csqa: |{TRAIN}: it has id, ",
    ),
    "column of another type": (NUMBERS, "question is float, not text: csqa, split train, row 0"),
    "not UTF-8": (not_utf8, f"{BROKEN}|'utf-8' codec"),
    "a download that is HTML": (content(lambda _: HTML), BROKEN),
    "parquet cut short": (content(lambda t: t[: len(t) // 2]), BROKEN),
    "split gone": (lambda place: (place / FILE.format("train")).unlink(), "no rows in split train"),
    "card that is no YAML": (content(lambda _: b"---\nconfigs: [\n---\n", "../README.md"), "csqa"),
    "checksums that are binary": (content(lambda _: bytes(range(256)), SUMS), "SHA256SUMS, line 1"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files(tmp_path, name):
    edit, parts = FILES[name]
    edit(make_mirror(tmp_path / "mirror"))
    line = refused(tmp_path, WHOLE or name == "a download that is HTML")
    assert all(part in line for part in parts.split("|")), line
    tried(f"data: {name}", 1, 1, 0, line.replace(str(tmp_path), "")[:160])


UNUSUAL = {
    "over_20000_characters": "long " * 20_000 + "why?",
    "right_to_left": "\u05e9\u05dc\u05d5\u05dd \u202e\u0639\u0631\u0628\u064a?",
    "combining_characters": "Zu\u0308rich a\u0301\u0302\u0303?",
    "control_characters": "a\0b\0?",
    "special_token_text": "is </s> or <s> or <unk> it?",
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_texts_are_kept_and_counted(tmp_path, kind):
    make_mirror(tmp_path / "mirror", row("validation", 3, question=UNUSUAL[kind]))
    assert data.main(words(tmp_path)) == 0
    test = read_parquet(tmp_path / "out" / "test.parquet").to_pylist()
    assert test[3]["prompt"].startswith(f"Q: {UNUSUAL[kind]}\nAnswer Choices:\n")
    parts = read_json(tmp_path / "out" / "report.json")["splits"]
    assert parts["test"]["unusual_texts"] == {kind: 1}
    assert "unusual_texts" not in parts["train"] | parts["validation"]
    tried(f"data: {kind}", 1, 1, 0, f"report.json: unusual_texts: {kind} 1")


@pytest.mark.parametrize("name", ["challenge-00000-of-00001.parquet", "challenge.parquet"])
def test_an_added_split_is_reported(tmp_path, name):
    """A split that the method does not use, or a file that belongs to none."""
    place = make_mirror(tmp_path / "mirror")
    more = pa.Table.from_pylist([question(i, "B") for i in range(60, 65)])
    pq.write_table(more, place / name)
    assert data.main(words(tmp_path)) == 0
    report = read_json(tmp_path / "out" / "report.json")
    left = {part["official_split"]: part for part in report["left_out"]}
    if name == "challenge.parquet":
        assert report["source"]["files_not_read"] == [f"data/{name}"] and [*left] == ["test"]
    else:
        assert left["challenge"]["rows"] == 5 and "not used" in left["challenge"]["reason"]
        assert "files_not_read" not in report["source"]
    assert "challenge" not in json.dumps(report["splits"])
    tried(f"data: an added split, {name}", 1, 1, 0, "named in report.json")
