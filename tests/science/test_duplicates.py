"""Which rows are used: `where`, ids, and questions that stand in two splits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from first_distill.data import sources, splits
from first_distill.errors import UserError
from tests.questions import LAYOUTS, build, official, question


def brute(values: dict[str, list[int]], later: set[str]) -> set:
    """(value, split, row, later split, row): every row whose value the last later split has."""
    found, order = set(), ["train", "validation", "test"]
    for split, own in values.items():
        for i, value in enumerate(own):
            behind = [s for s in order[order.index(split) + 1 :] if s in later and s in values]
            if having := [s for s in behind if value in values[s]]:
                found.add((value, split, i, having[-1], values[having[-1]].index(value)))
    return found


VALUES = st.dictionaries(
    st.sampled_from(splits.SPLITS), st.lists(st.integers(0, 6), max_size=6), min_size=1
)


@given(VALUES, st.sets(st.sampled_from(["validation", "test"])))
def test_values_that_two_splits_have_against_brute_force(values, later):
    rows = {split: range(len(own)) for split, own in values.items()}
    found = [*splits.shared(rows, values, tuple(later))]
    assert len(found) == len({*found}) and {*found} == brute(values, later)


def asked(numbers: list[int], name: str) -> list[dict]:
    """Rows that ask these questions, each under an id of its own."""
    return [{**question(n), "id": f"{name}{i}"} for i, n in enumerate(numbers)]


NUMBERS = st.lists(st.integers(0, 30), min_size=8, max_size=25)


@settings(max_examples=60)
@given(NUMBERS, NUMBERS, st.sampled_from(["validation of train", "test of validation"]))
def test_dropped_duplicates(train, validation, name):
    """What stands later stays: no test question is lost, none is in two splits, all are counted."""
    *origins, changes = LAYOUTS[name]
    names = dict(zip(splits.SPLITS, origins, strict=True))
    rows = {"train": asked([*train, *range(40, 48)], "t")}
    rows["validation"] = asked([*validation, *range(50, 58)], "v")
    changes = {**changes, "splits": names, "duplicates": "drop"}
    made, report = build(sources.Official(rows, {}), 5, **changes)
    texts = {split: table["prompt"].to_pylist() for split, table in made.items()}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not {*texts[one]} & {*texts[other]}
    everything = {row["question"] for part in rows.values() for row in part}
    found = [text.split("\n")[0].removeprefix("Q: ") for part in texts.values() for text in part]
    assert {*found} == everything  # each question is kept, in one split
    n = len(rows["validation"])
    assert len(texts["test"]) == (n if name == "validation of train" else n - 6 * n // 10)
    for origin, own in rows.items():
        kept = sum(made[split].num_rows for split in names if names[split] == origin)
        left = [part for part in report["left_out"] if part["official_split"] == origin]
        assert sum(part["rows"] for part in left) == len(own) - kept
        assert {part["reason"] for part in left} <= {"question stands in another split"}


def test_a_repeated_test_question_is_refused_unless_it_may_be_dropped():
    rows = official(validation=asked([3, 60, 61], "v"))
    with pytest.raises(UserError, match="not disjoint: prompt 'Q: why 3.*set `duplicates: drop`"):
        build(rows)
    made, report = build(rows, duplicates="drop")
    assert made["test"].num_rows == 3 and made["train"].num_rows + made["validation"].num_rows == 39
    reason = "question stands in another split"
    assert {"official_split": "train", "rows": 1, "reason": reason} in report["left_out"]
    assert report["shared_prompts"] == dict.fromkeys(report["shared_prompts"], 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": {"id": "q3"}}, "a part without rows: 1 rows of csqa, split train, with valid"),
        ({"where": {"id": ["q3", "q4", "q41"]}, "rows": {"test": 2}}, "a subset of 2 rows of csqa"),
        ({"where": {"id": ["q3", "q4"]}}, "no rows left in split test: csqa: "),
        ({"rows": {"train": 37}}, "a subset of 37 rows of csqa, split train: of 36: use a number"),
    ],
)
def test_a_split_without_rows_is_one_line(changes, message):
    with pytest.raises(UserError) as caught:
        build(official(), **changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_split_whose_questions_are_all_dropped_is_refused():
    rows = official(validation=asked([*range(40)], "v"))
    with pytest.raises(UserError, match="no rows left in split train, validation: csqa: "):
        build(rows, duplicates="drop")


def test_where_admits_rows_by_their_values():
    """Text, numbers and booleans alike; all of several keys; the counts say what was left out."""
    topics = ["a", "b", "c", None]
    rows = [{**question(i), "topic": topics[i % 4], "level": i % 3} for i in range(60)]
    rows = official(train=rows[:40], validation=rows[40:])
    where = {"topic": ["a", ""], "level": "1"}
    made, report = build(rows, where=where)
    kept = {i for i in range(60) if i % 4 in (0, 3) and i % 3 == 1}
    found = {
        int(own.split("/")[1]) + 40 * own.startswith("validation/")
        for table in made.values()
        for own in table["id"].to_pylist()
    }
    assert found == kept
    left = {part["official_split"]: part for part in report["left_out"]}
    assert left["train"] == {
        "official_split": "train",
        "rows": 40 - sum(i < 40 for i in kept),
        "reason": "not among the values of where",
    }
    assert left["validation"]["rows"] == 20 - sum(i >= 40 for i in kept)


def test_integer_ids_and_missing_ones():
    rows = [{**question(i), "id": i} for i in range(50)]
    _, report = build(official(train=rows[:40], validation=rows[40:]))
    assert report["official_ids"] == {"unique": 50, "duplicate": 0}
    rows[7]["id"] = 6
    with pytest.raises(UserError, match="not disjoint: id '6' is in csqa, split train, row 6 and"):
        build(official(train=rows[:40], validation=rows[40:]))
    rows[7]["id"] = None
    with pytest.raises(UserError, match="id is null, not text: csqa, split train, row 7"):
        build(official(train=rows[:40], validation=rows[40:]))
    made, report = build(official(train=rows[:40], validation=rows[40:]), id=None)
    assert report["official_ids"] is None and made["test"].num_rows == 10


def test_unusable_rows_are_refused_unless_they_may_be_dropped():
    """They are counted by reason; what is divided and drawn are the others."""
    rows = [question(i) for i in range(50)]
    choices = rows[0]["choices"]
    rows[3] |= {"answerKey": None}
    rows[4] |= {"answerKey": "-1"}
    rows[5] |= {"answerKey": ""}
    rows[6] |= {"choices": {**choices, "text": ["v", "w", "x", "y", None]}}
    rows[7] |= {"choices": {**choices, "text": ["v", "w", "", "y", "z"]}}
    rows[8] |= {"choices": {**choices, "label": None}}
    rows[9] |= {"question": " "}
    rows[41] |= {"choices": {"label": ["B"], "text": ["v"]}}
    content = official(train=rows[:40], validation=rows[40:])
    with pytest.raises(UserError, match="no answer .* train, row 3.*or set `unusable: drop`"):
        build(content)
    made, report = build(content, unusable="drop", rows={"test": 8})
    assert made["train"].num_rows + made["validation"].num_rows == 33
    assert made["validation"].num_rows == 33 - int(0.9 * 33) and made["test"].num_rows == 8
    used = {own for table in made.values() for own in table["id"].to_pylist()}
    assert not used & {"validation/000001", *(f"train/{i:06d}" for i in range(3, 10))}
    left = {(p["official_split"], p["reason"]): p["rows"] for p in report["left_out"]}
    del left["test", "official split test is not used: unlabelled"]
    assert left == {
        ("train", "unusable: no answer"): 3,
        ("train", "unusable: not text"): 1,
        ("train", "unusable: empty text"): 2,
        ("train", "unusable: choices without labels"): 1,
        ("validation", "unusable: fewer than two choices"): 1,
        ("validation", "random subset asked for: test 8"): 1,
    }
    rows[5] |= {"answerKey": "F"}  # the labels may be wrong, and then others are found by chance
    with pytest.raises(UserError, match="answer 'F' is not one of .*correct the entry's `labels`"):
        build(official(train=rows[:40], validation=rows[40:]), unusable="drop")
    with pytest.raises(UserError, match="no rows left in split test: csqa: .*all are dropped"):
        build(official(validation=[rows[41]]), unusable="drop")


def test_an_id_that_is_null_is_dropped_as_unusable():
    rows = [question(i) for i in range(50)]
    rows[7]["id"] = None
    _, report = build(official(train=rows[:40], validation=rows[40:]), unusable="drop")
    assert report["official_ids"]["unique"] == 49
    assert report["left_out"][0] == {
        "official_split": "train",
        "rows": 1,
        "reason": "unusable: not text",
    }


def test_a_question_of_train_that_stands_in_validation_is_refused():
    rows = asked([*range(30), *range(30)], "t")
    with pytest.raises(UserError, match=r"is in train \(train/0000\d\d\) and in validation"):
        build(official(train=rows))


def test_subsets_of_two_splits_are_drawn_apart():
    """One seed, but a stream for each split: otherwise both would have rows of the same numbers."""
    rows = official(train=asked([*range(100)], "t"), validation=asked([*range(100, 200)], "v"))
    names = {"train": "train", "validation": "validation", "test": "validation"}
    changes = {"splits": names, "test_share": 0.5, "rows": {"train": 50, "test": 25}}
    made, _ = build(rows, **changes)
    split = {name: table["id"].to_pylist() for name, table in made.items()}
    whole = build(rows, **{**changes, "rows": {}})[0]
    places = [
        {whole[name]["id"].to_pylist().index(own) for own in split[name]}
        for name in ("train", "test")
    ]
    assert len(places[1] & set(range(50))) == 25 and not places[1] <= places[0]


def test_a_row_is_named_with_its_file():
    files = {"train": [("a.csv", 3), ("b.csv", 0), ("c.csv", 4), ("d.csv", 5)]}
    found = sources.Official({}, {}, {}, files)
    places = [
        found.place("mine", "train", i).removeprefix("mine, split train, ") for i in range(12)
    ]
    assert places[2] == "row 2, file a.csv"
    assert places[3] == "row 3, file c.csv row 0"
    assert places[6] == "row 6, file c.csv row 3"
    assert places[11] == "row 11, file d.csv row 4"
