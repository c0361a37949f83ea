"""An entry of one's own and rows that do not fit it: one line each, with file, split and row."""

import json

import datasets  # noqa: F401  (before the scripts fork)
import pytest
import yaml

from first_distill.files import read_json
from tests.system.faults import tried
from tests.system.faults.forked import refusal, script

PROMPT = {
    "candidates": "upper",
    "text": "Q: {{ question }}\n{% for choice in choices %}({{ choice.letter }}) {{ choice.text }}"
    "\n{% endfor %}A: (",
    "response": "{{ answer }}).",
}
ENTRY = {
    "splits": {"train": "train", "validation": "train", "test": "test"},
    "validation_share": 0.1,
    "id": "id",
    "fields": {"question": "question"},
    "choices": "choices.text",
    "labels": "choices.label",
    "answer": "answer",
    "prompt": PROMPT,
}
NUMBERED = {"labels": None}  # the default: 0, 1, 2
NOTED = {"prompt": {**PROMPT, "text": "{{ note }}" + PROMPT["text"]}}


def rows() -> dict[str, list[dict]]:
    """{split: rows}: 20 for training, 10 tests, 6 without answers."""
    found = {}
    for split, count in (("train", 20), ("test", 10), ("blind", 6)):
        found[split] = [
            {
                "id": f"{split}{i}",
                "question": f"why {split} {i}?",
                "choices": {"text": ["u", "v", "w"], "label": ["A", "B", "C"]},
                "answer": (None, "", "-1", -1, None, None)[i] if split == "blind" else "B",
                "topic": "x" if i else "y",
                "note": None,
            }
            for i in range(count)
        ]
    return found


def row(split: str, number: int, **fields):
    """Rows with one changed."""
    found = rows()
    found[split][number] = {**found[split][number], **fields}
    return found


def chosen(text, label=("A", "B", "C")):
    """Rows with other choices in one of them."""
    return row("train", 3, choices={"text": text, **({"label": label} if label != "" else {})})


def numbered(answer):
    """Rows whose answers are integers, one of them this."""
    found = {split: [{**own, "answer": 1} for own in part] for split, part in rows().items()}
    found["train"][3]["answer"] = answer
    return found


def prepare(folder, found: dict, changes: dict) -> tuple[int, str]:
    """Run scripts.data on rows in files of JSON lines, with a changed entry."""
    for split, part in found.items():
        path = folder / f"rows/{split}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(own) + "\n" for own in part))
    files = [{"split": split, "path": f"{split}.jsonl"} for split in found]
    card = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": files}]})
    if found:
        (folder / "rows/README.md").write_text(f"---\n{card}---\n")
    entry = {"path": "rows", **ENTRY, **changes}
    entry = json.dumps({key: own for key, own in entry.items() if own is not None})
    words = ("--dataset", "mine", "--output-dir", "out", "--entry")
    return script(folder, "data", "", *words, entry)


PLACE = "mine, split train, row 3, file train.jsonl"
REPAIR = "correct the row in the source, or set `unusable: drop`"
ROW, UVW, FIRST = f"{PLACE}: {REPAIR}", ["u", "v", "w"], PLACE.replace("3", "0")
LABELS = f"{PLACE}: correct the entry's `labels`, or the row in the source"
FILE = "mine: rows, split train, file train.jsonl"
COLUMNS = "it has id, question, choices, answer, topic, note: correct the entry"
UNLABELLED = (
    "no answer (unlabelled row): mine, split test, row 4, file test.jsonl: give it one, use "
)
BAD = {  # name: (rows, changes of the entry, the whole line)
    "labels that are null": (chosen(UVW, None), {}, f"3 choices, but choices.label is null: {ROW}"),
    "labels that are fewer": (
        chosen(UVW, ["A", None]),
        {},
        f"3 choices, but choices.label is A, null: {ROW}",
    ),
    "no labels": (
        chosen(UVW, ""),
        {},
        f"3 choices, but choices.label is null: {ROW}",
    ),
    "an answer that is null": (
        row("test", 4, answer=None),
        {},
        f"{UNLABELLED}a labelled split, or set `unusable: drop`",
    ),
    "an answer that is empty": (
        row("test", 4, answer=""),
        {},
        f"{UNLABELLED}a labelled split, or set `unusable: drop`",
    ),
    "an answer of -1": (
        row("test", 4, answer=-1),
        {},
        f"{UNLABELLED}a labelled split, or set `unusable: drop`",
    ),
    "an answer that is no label": (
        row("train", 3, answer="F"),
        {},
        f"answer 'F' is not one of A, B, C: {LABELS}",
    ),
    "a number that is no label": (
        numbered(3),
        NUMBERED,
        f"answer 3 is not one of 0, 1, 2: {LABELS}",
    ),
    "no such column": (rows(), {"answer": "key"}, f"no column key: {FILE}: {COLUMNS}"),
    "no such key": (
        rows(),
        {"choices": "choices.texts"},
        f"no texts at choices.texts: {FIRST}: there is text, label: correct the entry",
    ),
    "no such field": (
        rows(),
        {"prompt": {**PROMPT, "text": "{{ nope }}"}},
        f"prompt of mine: text: 'nope' is undefined: {FIRST}: correct the template",
    ),
    "no such path": (
        rows(),
        {"path": "questions.csv"},
        "no such file or folder: mine: path questions.csv: correct the entry",
    ),
    "no such split": (
        rows(),
        {"splits": {"train": "train", "validation": "train", "test": "tests"}},
        "no rows in split tests: mine: found train, test, blind: correct `splits`, or the source",
    ),
    "a question in two splits": (
        row("test", 5, question="why train 7?"),
        {},
        "not disjoint: prompt 'Q: why train 7?\\n(A) u\\n(B) v\\n(C) w\\nA: (' is in train "
        "(train/000007) and in test (test/000005): mine: correct the source, or set `duplicates: "
        "drop`",
    ),
    "a choice that is null": (chosen(["u", None, "w"]), {}, f"choice 2 is null, not text: {ROW}"),
    "a question that is null": (
        row("train", 3, question=None),
        {},
        f"question is null, not text: {ROW}",
    ),
    "a field that is null": (
        rows(),
        {**NOTED, "fields": {"question": "question", "note": "note"}},
        f"note is null, not text: {FIRST}: {REPAIR}",
    ),
    "more choices than letters": (
        chosen(["u"] * 27, [*map(str, range(27))]),
        {},
        f"27 choices: {PLACE}: the prompt has 26 candidates: {REPAIR}, or correct the prompt",
    ),
    "where nothing is": (
        rows(),
        {"where": {"topic": ["z", 0]}},
        "no rows left in split train, validation: mine: none has the values of `where`, or all "
        "are unusable: correct "
        "the entry",
    ),
    "more rows than there are": (
        rows(),
        {"rows": {"train": 100}},
        "a subset of 100 rows of mine, split train: of 18: use a number from 1 to that",
    ),
    "labels that do not print": (
        chosen(UVW, ["\x1b[31m\n\u2028", "b" * 200, "C "]),
        {},
        f"answer 'B' is not one of \\x1b[31m, {'b' * 60}, C: {LABELS}",
    ),
    "columns that do not print": (
        row("train", 3, **{"\x1b[2J\n": 1, " wide ": 2}),
        {"answer": "key"},
        f"no column key: {FILE}: it has id, question, choices, answer, topic, note, '\\x1b[2J\\n', "
        "' wide ': correct the entry",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_and_entries(tmp_path, name):
    found, changes, line = BAD[name]
    said = refusal(prepare(tmp_path, found, changes))
    assert said == f"error: {line}" and said.isprintable()
    assert not (tmp_path / "out").exists()
    tried(f"entry: {name}", 1, 1, 0, said)


@pytest.mark.parametrize("answer", [0, "0", 0.0, "0.0"])
def test_label_0_is_a_label(tmp_path, answer):
    """It is the first choice, whichever type a file gives it; only then is -1 or null no label."""
    assert prepare(tmp_path, numbered(answer), NUMBERED)[0] == 0
    counts = read_json(tmp_path / "out/report.json")["splits"]
    found = [counts[split]["answers"]["counts"]["A"] for split in ("train", "validation", "test")]
    assert sum(found) == 1 and found[2] == 0


def test_structs_that_lack_a_key(tmp_path):
    """With `unusable: drop` such rows are counted, and an optional text of them is empty."""
    found = chosen(UVW, "")
    for i, own in enumerate(found["train"]):
        own["note"] = {"text": f"note {i} "} if i < 15 else {}
    optional = {**NOTED, "fields": {"question": "question", "note": "note.text?"}}
    found["test"] = [{**own, "note": None} for own in found["test"]]
    assert prepare(tmp_path, found, {**optional, "unusable": "drop"})[0] == 0
    report = read_json(tmp_path / "out/report.json")
    left = [(own["official_split"], own["rows"], own["reason"]) for own in report["left_out"]]
    assert ("train", 1, "unusable: choices without labels") in left
    assert sum(part["rows"] for part in report["splits"].values()) == 29


def test_columns_that_end_in_a_question_mark(tmp_path):
    (tmp_path / "rows").mkdir()
    rows = "".join(f"why {i}?,{'ab'[i % 2]}\n" for i in range(30))
    (tmp_path / "rows/own.csv").write_text("Is it?,Correct?\n" + rows)
    words = {"text": "{{ q }}", "response": "{{ answer }}", "candidates": ["u", "v"]}
    changes = dict.fromkeys(("id", "choices"), None) | {"path": "rows/own.csv", "prompt": words}
    changes |= {"splits": dict.fromkeys(ENTRY["splits"], "train"), "test_share": 0.2}
    changes |= {"fields": {"q": "Is it?"}, "labels": ["a", "b"], "answer": "Correct?"}
    assert prepare(tmp_path, {}, changes) == (0, "")
    line = "no column Corect?: mine: rows/own.csv, split train, file own.csv: it has Is it?, Correc"
    assert refusal(prepare(tmp_path, {}, {**changes, "answer": "Corect?"})).startswith(
        f"error: {line}"
    )


def test_what_was_left_out(tmp_path):
    """Null, empty and -1 are no answers; `where`, `duplicates` and `rows` are counted one by one.

    In the report and in the data report's page.
    """
    found = row("test", 5, question="why train 7?")
    found["odd"] = [{"other": 1}] * 4
    optional = {**NOTED, "fields": {"question": "question", "note": "note?"}}
    changes = {"where": {"topic": "x"}, "duplicates": "drop", "rows": {"train": 10, "test": 5}}
    assert prepare(tmp_path, found, {**optional, **changes})[0] == 0
    report = read_json(tmp_path / "out/report.json")
    sizes = {split: part["rows"] for split, part in report["splits"].items()}
    # 20 rows of train: one of another topic, then 17 and 2, one of either dropped.
    assert sizes["train"] == 10 and sizes["test"] == 5
    left = [(own["official_split"], own["rows"], own["reason"]) for own in report["left_out"]]
    drawn = 20 - 1 - 1 - 10 - sizes["validation"]
    assert sorted(left, key=str) == [
        ("blind", 6, "official split blind is not used: unlabelled"),
        ("odd", 4, "official split odd is not used: unlabelled"),
        ("test", 1, "not among the values of where"),
        ("test", 4, "random subset asked for: test 5"),
        ("train", 1, "not among the values of where"),
        ("train", 1, "question stands in another split"),
        ("train", drawn, "random subset asked for: train 10"),
    ]
    words = "data-report --reports out/report.json --output-prefix page"
    assert script(tmp_path, "artifacts", words)[0] == 0
    page = (tmp_path / "page.md").read_text()
    assert "- mine: 6 rows of official split blind: official split blind is not used: unl" in page
    assert "- mine: 4 rows of official split odd: official split odd is not used" in page
    assert f"- mine: {drawn} rows of official split train: random subset asked for" in page
