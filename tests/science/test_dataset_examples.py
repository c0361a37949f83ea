"""Each entry of the pages on datasets reads rows of its repository's schema as the page says.

What is expected is made here from the rows that were written, by plain Python.
"""

import csv
import io
import json
import re

import numpy as np
import pytest

from first_distill.data import prepare
from first_distill.files import read_json, read_parquet
from tests.dataset_files import MAKERS, PAGE, entry_of_page, page_files

LETTERS = "ABCDE"
PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\nRead the input passage and answer the question: {}? Your "
    "answer should be Yes or No.\n\n### Input:\n{}\n\n### Response:\n"
)


def choice(question: str, texts: list[str], right: int) -> dict:
    """A lettered question."""
    lines = "".join(f"({a}) {b}\n" for a, b in zip(LETTERS, texts, strict=False))
    letter = LETTERS[right]
    content = {"prompt": f"Q: {question}\nAnswer Choices:\n{lines}A: The answer is ("}
    return {**content, "candidates": [*LETTERS[: len(texts)]], "answer": letter}


def words(prompt: str, candidates: list[str], right: int) -> dict:
    """A question whose candidates are words."""
    return {"prompt": prompt, "candidates": candidates, "answer": candidates[right]}


EXPECTED = {  # dataset: a uniform row from an official one
    "arc_challenge": lambda row: choice(
        row["question"], row["choices"]["text"], row["choices"]["label"].index(row["answerKey"])
    ),
    "mmlu": lambda row: choice(row["question"], row["choices"], row["answer"]),
    "piqa": lambda row: choice(row["goal"], [row["sol1"], row["sol2"]], row["label"]),
    "superglue_boolq": lambda row: words(
        PREAMBLE.format(row["question"], row["passage"]), ["Yes", "No"], 1 - row["label"]
    ),
    "reviews": lambda row: words(
        f"Review: {row['text']}\nSentiment:",
        [" negative", " positive"],
        row["label"],
    ),
    "questions": lambda row: choice(
        row["question"], [row[letter] for letter in "abcd"], "ABCD".index(row["answer"])
    ),
}


def parts(n: int, *ends: int) -> list[list[int]]:
    """range(n) divided at random by the scale's seed; the parts end at `ends` and n."""
    order = np.random.default_rng(1234).permutation(n).tolist()
    return [sorted(order[a:b]) for a, b in zip((0, *ends), (*ends, n), strict=True)]


TRAIN, VALIDATION = parts(60, 54)  # 10 % of 60 rows
OF_CSV = parts(60, 42, 48)  # 70, 10 and 20 %
ROWS = {  # dataset: {split: (official split, its rows)}
    "arc_challenge": {
        "train": ("train", range(60)),
        "validation": ("validation", range(40)),
        "test": ("test", range(50)),
    },
    "mmlu": {
        "train": ("auxiliary_train", [i for i in range(60) if i != 7]),
        "validation": ("validation", [i for i in range(40) if i != 9]),
        "test": ("test", range(50)),
    },
    "piqa": {
        "train": ("train", TRAIN),
        "validation": ("train", VALIDATION),
        "test": ("validation", range(40)),
    },
    "questions": dict(
        zip(("train", "validation", "test"), (("train", part) for part in OF_CSV), strict=True)
    ),
}
ROWS["superglue_boolq"] = ROWS["piqa"]
ROWS["reviews"] = ROWS["arc_challenge"]
UNLABELLED = "official split test is not used: unlabelled"
LEFT_OUT = {
    "mmlu": {
        ("auxiliary_train", 1, "question stands in another split"),
        ("validation", 1, "question stands in another split"),
        ("dev", 10, "official split dev is not used"),
    },
    "piqa": {("test", 45, UNLABELLED)},
    "superglue_boolq": {("test", 45, UNLABELLED)},
}


def load(folder, name: str, monkeypatch, /, **changes):
    """({split: rows}, report, what was written) of an entry of the page, from a mirror."""
    monkeypatch.chdir(folder)
    written = MAKERS[name](folder)
    entry = {**entry_of_page(name), **changes}
    entry["rows"] = {split: n for split, n in entry["rows"].items() if n < 100}
    tables, report = prepare.load(name, entry, mirror=folder)
    return {split: table.to_pylist() for split, table in tables.items()}, report, written


def test_the_page_has_these_entries():
    assert page_files().keys() == MAKERS.keys() == EXPECTED.keys() == ROWS.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_rows_prompts_candidates_and_answers(tmp_path, monkeypatch, name):
    found, report, written = load(tmp_path, name, monkeypatch)
    assert found.keys() == ROWS[name].keys()
    for split, (official, numbers) in ROWS[name].items():
        assert [row["id"] for row in found[split]] == [f"{official}/{i:06d}" for i in numbers]
        for row, i in zip(found[split], numbers, strict=True):
            expected = EXPECTED[name](written[official][i])
            ending = ")." if expected["prompt"].endswith("(") else ""
            assert row["response"] == expected["answer"] + ending
            assert {key: row[key] for key in expected} == expected
            passage = written[official][i].get("passage", "")
            span = row["prompt"][max(row["shorten_start"], 0) : max(row["shorten_end"], 0)]
            assert span == passage
    left = {(part["official_split"], part["rows"], part["reason"]) for part in report["left_out"]}
    assert left == LEFT_OUT.get(name, set())
    for split, rows in found.items():
        chances = [1 / len(row["candidates"]) for row in rows]
        described = report["splits"][split]["answers"]
        assert described["chance_share"] == pytest.approx(sum(chances) / len(chances), rel=1e-12)
        answers = [row["answer"] for row in rows]
        assert {a: n for a, n in described["counts"].items() if n} == {
            a: answers.count(a) for a in {*answers}
        }


def test_three_to_five_choices_and_both_kinds_of_labels(tmp_path, monkeypatch):
    """The rows of ARC that the test above compares do vary."""
    found, report, written = load(tmp_path, "arc_challenge", monkeypatch)
    for split, rows in found.items():
        assert {len(row["candidates"]) for row in rows} == {3, 4, 5}
        assert {row["choices"]["label"][0] for row in written[split]} == {"A", "1"}
    assert len(report["source"]["files"]) == 9  # three shards a split, none of ARC-Easy


def test_some_rows_of_mmlu_drawn_after_the_duplicates(tmp_path, monkeypatch):
    """As the page's entry draws 8,000: from what is left of training, and counted."""
    found, report, _ = load(tmp_path, "mmlu", monkeypatch, rows={"train": 20})
    numbers = [int(row["id"].split("/")[1]) for row in found["train"]]
    assert len(numbers) == 20 and numbers == sorted(numbers) and 7 not in numbers
    left = {(part["official_split"], part["rows"], part["reason"]) for part in report["left_out"]}
    assert left == {*LEFT_OUT["mmlu"], ("auxiliary_train", 39, "random subset asked for: train 20")}


def test_a_subject_of_mmlu_that_is_only_tested(tmp_path, monkeypatch):
    """`name: anatomy` with `splits: {test: test}`, as the page has it in running text."""
    changes = {"name": "anatomy", "splits": {"test": "test"}, "rows": {}}
    found, report, written = load(tmp_path, "mmlu", monkeypatch, **changes)
    own = [row for row in written["test"] if row["subject"] == "anatomy"]
    assert [row["prompt"] for row in found["test"]] == [EXPECTED["mmlu"](r)["prompt"] for r in own]
    assert found.keys() == {"test"} and 10 < len(own) < 40
    assert {part["official_split"] for part in report["left_out"]} == {"validation", "dev"}


def test_the_shipped_entry_reads_the_same(tmp_path, monkeypatch):
    """`movie`, of config/datasets.yaml, gives the rows of the page's `reviews`."""
    found, report, _ = load(tmp_path, "reviews", monkeypatch)
    shipped = {**entry_of_page("reviews", "movie"), "rows": {}}
    del shipped["mirror"]
    tables, again = prepare.load("movie", shipped, mirror=tmp_path)
    assert {split: table.to_pylist() for split, table in tables.items()} == found
    assert again["splits"] == report["splits"]


def test_the_table_of_the_page_in_its_files(tmp_path, monkeypatch):
    """The CSV that the page shows, read as it stands there: a quoted comma is one cell."""
    page = PAGE.read_text(encoding="utf-8")
    text = re.search(r"^```csv\n(.*?)^```", page, flags=re.M | re.S)[1]
    (tmp_path / "questions.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    entry = {**entry_of_page("questions"), "splits": {"test": "train"}}
    del entry["test_share"]
    (table,) = prepare.load("questions", entry)[0].values()
    rows = [*csv.DictReader(io.StringIO(text))]
    assert [row["prompt"] for row in table.to_pylist()] == [
        EXPECTED["questions"](row)["prompt"] for row in rows
    ]
    assert table["answer"].to_pylist() == [row["answer"] for row in rows] == ["A", "C"]


def test_a_folder_and_answers_that_are_texts(tmp_path, monkeypatch):
    """`train.jsonl` and `test.jsonl` in a folder; `labels` is the path of `choices`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quiz").mkdir()
    rows = [
        {
            "question": f"why {i}?",
            "options": [f"v{i}", f"w{i}", f"x{i}"],
            "answer": f"{'vwx'[i % 3]}{i}",
        }
        for i in range(50)
    ]
    for split, part in (("train", rows[:30]), ("test", rows[30:])):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (tmp_path / f"quiz/{split}.jsonl").write_text(text)
    entry = {"path": "quiz", "choices": "options", "labels": "options", "answer": "answer"}
    entry |= {"splits": {"train": "train", "validation": "train", "test": "test"}}
    entry |= {"fields": {"question": "question"}, "prompt": entry_of_page("questions")["prompt"]}
    tables, _ = prepare.load("quiz", entry)
    assert tables["train"].num_rows + tables["validation"].num_rows == 30
    found = tables["test"].to_pylist()
    assert [row["answer"] for row in found] == ["ABC"[i % 3] for i in range(30, 50)]
    assert found[0]["prompt"] == choice("why 30?", rows[30]["options"], 0)["prompt"]


def test_one_command_writes_them(tmp_path, monkeypatch):
    """What the rule runs: tables, and a report whose counts are the tables'."""
    monkeypatch.chdir(tmp_path)
    MAKERS["questions"](tmp_path)
    prepare.prepare(tmp_path / "out", "questions", entry=entry_of_page("questions"))
    report = read_json(tmp_path / "out/report.json")
    sizes = {s: read_parquet(tmp_path / f"out/{s}.parquet").num_rows for s in report["splits"]}
    assert sizes == {"train": 42, "validation": 6, "test": 12}
    assert {s: part["rows"] for s, part in report["splits"].items()} == sizes
