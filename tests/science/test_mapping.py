"""What an entry finds in a row: paths, labels and answers of every kind."""

import math

import pytest

from scripts.first.data import mapping
from scripts.first.data.mapping import Unusable
from scripts.first.data.prompts import Prompt
from scripts.first.errors import UserError

LETTERS = {"choices": ["a", "b", "c", "d"], "labels": list("ABCD"), "answer": "answer"}


def gold(answer, labels=None, count=3, **entry) -> int:
    entry = {"answer": "answer", "labels": labels, "choices": "x", **entry}
    return mapping.gold({k: v for k, v in entry.items() if v}, {"answer": answer}, count, "row 1")


@pytest.mark.parametrize(
    ("answer", "labels", "index"),
    [
        (0, None, 0),
        ("0", None, 0),
        (2, None, 2),
        (2.0, None, 2),
        ("2.0", None, 2),
        ("B", ["A", "B", "C"], 1),
        (" B ", ["A", "B", "C"], 1),
        ("B", ["A ", "B ", "C "], 1),
        (1, [1, 2, 3], 0),
        ("3", [1, 2, 3], 2),
        (-1, [-1, 0, 1], 0),
        (False, [True, False, None], 1),
        ("TRUE", [False, True, None], 1),
        ("None", ["One", "None", "Two"], 1),
        ("nan", ["x", "y", "nan"], 2),
        ("007", ["7", "007", "0"], 1),
    ],
)
def test_an_answer_is_found_among_the_labels(answer, labels, index):
    assert gold(answer, labels) == index


@pytest.mark.parametrize("answer", [None, math.nan, "", -1, "-1"])
@pytest.mark.parametrize("labels", [None, ["None", "nan", "x"]])
def test_no_answer_is_no_label(answer, labels):
    with pytest.raises(Unusable, match="no answer") as caught:
        gold(answer, labels)
    assert caught.value.reason == "no answer"


@pytest.mark.parametrize(
    ("answer", "labels"),
    [("a", ["A", "B", "C"]), (3, None), (True, None), ("D", ["A", "B", "C", "D"]), (1, ["x"] * 3)],
)
def test_an_answer_that_is_no_label(answer, labels):
    """Letters keep their case; a fourth label is none where a row has three choices.

    Such a row is never dropped: with labels that are wrong for all rows, some find another choice.
    """
    with pytest.raises(UserError, match="answer|stands twice") as caught:
        gold(answer, labels)
    assert isinstance(caught.value, Unusable) is (labels == ["x"] * 3)


@pytest.mark.parametrize(("answer", "index"), [(False, 0), (True, 1), ("true", 1), ("False", 0)])
def test_booleans_choose_of_two(answer, index):
    """Of two choices; of words such as Yes and No either may be true, so they need labels."""
    assert gold(answer, count=2) == index
    with pytest.raises(UserError, match="is not one of 0, 1: .*correct the entry's `labels`"):
        gold(answer, count=2, choices=None)


def test_paths():
    raw = {"a.b": "dotted", "a": {"b": "inner", "c": [{"d": 1}, {"d": None}]}, "e": None}
    assert mapping.value(raw, "a.b", "row") == "dotted"
    assert mapping.value(raw, "a.c.d", "row") == [1, None]
    assert mapping.value(raw, "e.f", "row") is None
    assert mapping.column("a.b", ["a.b", "a"]) == "a.b" and mapping.column("a.c", ["a"]) == "a"
    with pytest.raises(UserError, match="no x at a.x: row: there is b, c: correct the entry"):
        mapping.value(raw, "a.x", "row")


def test_columns_of_choices():
    """Trailing ones may be empty; one in the middle is never left out, which would shift labels."""
    row = {"a": "one", "b": "two", "c": 3, "d": None}
    assert mapping.choices(LETTERS, row, "row") == ["one", "two", "3"]
    for empty in (None, "", " "):
        with pytest.raises(Unusable, match="choice 2|empty"):
            mapping.choices(LETTERS, {**row, "b": empty}, "row")


def test_templates_know_the_row_alone():
    """No global of Jinja2, and nothing random."""
    entry = {"fields": {"q": "q"}, "prompt": {"text": "{{ q }}", "response": "{{ q }}"}}
    row = Prompt(entry, "mine").row({"q": "{{ 7 * 7 }}"}, "row 1")
    assert row.prompt == row.response == "{{ 7 * 7 }}"
    for text in ("{{ q }} {{ dict }}", "{{ range(3) }}", "{{ lipsum() }}", "{{ q | random }}"):
        prompt = {"text": text, "response": "{{ q }}"}
        with pytest.raises(UserError, match="prompt of mine: .*correct the template"):
            Prompt({**entry, "prompt": prompt}, "mine").row({"q": "x"}, "row 1")
