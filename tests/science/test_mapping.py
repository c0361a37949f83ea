"""What an entry finds in a row: paths, labels and answers of every kind."""

import math

import pytest

from first_distill.data import mapping
from first_distill.data.mapping import Unusable
from first_distill.data.prompts import Prompt
from first_distill.errors import UserError

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


def test_a_list_of_labels_may_be_longer_than_the_choices_not_shorter():
    """An answer E could never be right, and the fifth choice of a row would be wrong in each."""
    assert gold("B", list("ABCD"), count=3) == 1
    said = "^5 choices, but `labels` lists 4: row 1: correct the row in the source, or set"
    with pytest.raises(Unusable, match=said) as caught:
        gold("B", list("ABCD"), count=5)
    assert caught.value.reason == "choices without labels"


def test_words_that_yaml_takes_for_booleans():
    said = r"answer 'yes' is not one of true, false: row 1: correct the entry's `labels` \(quote "
    with pytest.raises(UserError, match=said):
        gold("yes", [True, False], count=2)
    with pytest.raises(UserError, match="`labels`, or the row"):
        gold("maybe", [True, False], count=2)


def test_paths():
    raw = {"a.b": "dotted", "a": {"b": "inner", "c": [{"d": 1}, {"d": None}]}, "e": None}
    assert mapping.value(raw, "a.b", "row") == "dotted"
    assert mapping.value(raw, "a.c.d", "row") == [1, None]
    assert mapping.value(raw, "e.f", "row") is None
    assert mapping.column("a.b", ["a.b", "a"]) == "a.b" and mapping.column("a.c", ["a"]) == "a"
    with pytest.raises(UserError, match="no column x: row: it has a.b, a, e: correct the entry"):
        mapping.value(raw, "x", "row")


def test_a_struct_that_lacks_a_key_has_null_there():
    """Where other rows have it; the choices of a row, its labels and its answer likewise."""
    assert mapping.value({"a": {}}, "a.x.y", "row") is None
    assert mapping.value({"a": [{"x": 1}, {}]}, "a.x", "row") == [1, None]
    with pytest.raises(UserError, match="no x at a.x: row: there is text: correct the entry"):
        mapping.value({"a": "b"}, "a.x", "row")
    optional = {"fields": {"note": "meta.note?"}}
    for meta in ({}, None, {"note": None}):
        assert mapping.fields(optional, {"meta": meta}, "row") == {"note": ""}
    required = {"fields": {"note": "meta.note"}}
    with pytest.raises(Unusable, match="meta.note is null, not text: row: correct the row in the"):
        mapping.fields(required, {"meta": {}}, "row")
    with pytest.raises(Unusable, match="choice 2 is null"):
        mapping.choices({"choices": "c.text"}, {"c": [{"text": "u"}, {}]}, "row")
    columns = {"choices": ["m.a", "m.b", "m.c"]}
    assert mapping.choices(columns, {"m": {"a": "u", "b": "v"}}, "row") == ["u", "v"]
    with pytest.raises(Unusable, match="no answer"):
        mapping.gold({"answer": "m.key"}, {"m": {}}, 2, "row")
    rows = [{"m": {"x": "1"}}, {"m": {}}, {"m": None}]
    assert [*mapping.admitted({"where": {"m.x": ""}}, rows, "row")] == [1, 2]


def test_a_key_that_no_row_has():
    """It is an error, optional or not; a key of some rows, in whichever split, is none."""

    def check(path, *metas, name="meta", **entry):
        entry = entry or {"fields": {"note": path}}
        splits = {f"part{i}": [{name: None}, {name: meta}] for i, meta in enumerate(metas)}
        mapping.check_keys(entry, splits, lambda split, i: f"{split} {i}")

    for path in ("meta.note", "meta.note?"):
        check(path, {"other": 1}, {"note": "x"})
        check(path, None)
        check(path, [{}, {"note": "x"}])
        said = "no note at meta.note: part0 1: there is nope: correct the entry"
        with pytest.raises(UserError, match=said):
            check(path, {"nope": 1}, {})
    check("meta.note?", {}, name="meta.note")
    check("meta.note.deep", {"note": {"deep": 1}}, {"note": None})
    with pytest.raises(UserError, match="no deep at meta.note.deep: part1 1: there is an empty st"):
        check("meta.note.deep", {"other": 1}, {"note": {}})
    entries = ({"answer": "meta.a?"}, {"where": {"meta.a?": 1}}, {"id": "meta.a?"})
    for entry in (*entries, {"labels": "meta.a?"}, {"choices": ["meta.a?"]}):
        with pytest.raises(UserError, match=r"no a\? at meta.a\?: part0 1: there is a"):
            check("", {"a": 1}, **entry)


def test_columns_that_end_in_a_question_mark():
    """A path that is a column is that column; else, of a field alone, the last `?` is no part."""
    raw = {"Is it?": "Yes, is it?", "Correct?": "B", "note": None, "A?": "u", "B?": "v"}
    entry = {"fields": {"q": "Is it?", "again": "Is it??", "note": "note?"}, "answer": "Correct?"}
    entry |= {"choices": ["A?", "B?"], "labels": ["A", "B"], "where": {"Correct?": "B"}}
    given = ["Correct?", "A?", "B?", "Is it?", "Is it??", "note?"]
    assert sorted(mapping.paths(entry)) == sorted(given)
    columns = [mapping.column(path, [*raw]) for path in given]
    assert columns == ["Correct?", "A?", "B?", "Is it?", "Is it?", "note"]
    found = mapping.fields(entry, raw, "row")
    assert found == {"q": "Yes, is it?", "again": "Yes, is it?", "note": ""}
    assert mapping.choices(entry, raw, "row") == ["u", "v"]
    assert mapping.gold(entry, raw, 2, "row") == 1
    assert [*mapping.admitted(entry, [raw], "row")] == [0]
    with pytest.raises(Unusable, match=r"Is it\? is null"):
        mapping.fields({"fields": {"q": "Is it?"}}, {"Is it?": None}, "row")
    assert mapping.fields({"fields": {"q": "Is it??"}}, {"Is it?": None}, "row") == {"q": ""}
    with pytest.raises(UserError, match=r"no column note\?: row: it has Is it\?, Correct\?, note"):
        mapping.gold({"answer": "note?"}, raw, 2, "row")


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
