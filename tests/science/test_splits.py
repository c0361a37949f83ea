"""Splits never overlap, never change, and a leak of any kind is refused."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from first_distill.data import splits
from first_distill.errors import UserError
from tests.questions import LAYOUTS, build, official, question


@pytest.mark.parametrize(
    ("n", "train", "validation"),
    [
        (
            9741,
            "25b04a3ba75d8e90a9dc529403d0309968bb4c0c16afd278f5007ccaad7b2cbf",
            "295f464a38059fee2152fa5f2d651f6f03dee80583bb5b83b428fd114352fbf0",
        ),
        (
            52002,
            "8f3ef044629f10ff6ac0ffe4900166e18e39574a96093738e109876eb868b893",
            "6f38421460596f1efea1075bae2b310e79fbdfe3f8f68483724f2789c024c1a0",
        ),
    ],
)
def test_the_90_10_division_never_changes(n, train, validation):
    parts = splits.divide(n, {"train": None, "validation": 0.1}, 1234)
    found = {
        split: hashlib.sha256(",".join(map(str, part.tolist())).encode()).hexdigest()
        for split, part in parts.items()
    }
    assert found == {"train": train, "validation": validation}


@given(st.integers(2, 3000), st.sampled_from([0.1, 0.05, 0.3, 0.5]), st.integers(0, 2**31))
def test_a_division_is_a_sorted_partition_of_the_stated_size(n, share, seed):
    if int(n * round(1 - share, 2)) == 0:
        return
    parts = splits.divide(n, {"train": None, "validation": share}, seed)
    train, validation = parts["train"], parts["validation"]
    assert sorted([*train, *validation]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    assert len(train) == n * round(100 * (1 - share)) // 100


PERCENT = st.integers(1, 90)


@given(st.integers(3, 3000), PERCENT, PERCENT, st.integers(0, 2**31))
def test_three_parts_of_one_split(n, validation, test, seed):
    """Sizes in integers; and the test split is the same whatever is held out for validation."""
    left, before_test = (100 - validation - test) * n // 100, (100 - test) * n // 100
    shares = {"train": None, "validation": validation / 100, "test": test / 100}
    sizes = [left, before_test - left, n - before_test]
    if min(sizes) <= 0:
        with pytest.raises(UserError, match=f"a part without rows: {n} rows with validation sha"):
            splits.divide(n, shares, seed)
        return
    parts = splits.divide(n, shares, seed)
    assert [*parts] == ["train", "validation", "test"]
    assert [len(part) for part in parts.values()] == sizes
    assert sorted(i for part in parts.values() for i in part) == list(range(n))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts.values())
    two = splits.divide(n, {"train": None, "test": test / 100}, seed)
    assert two["test"].tolist() == parts["test"].tolist()
    assert two["train"].tolist() == sorted([*parts["train"], *parts["validation"]])


@pytest.mark.parametrize(("n", "share"), [(1, 0.1), (5, 0.9), (10, 0.0), (10, 1.0), (10, -0.5)])
def test_a_division_without_rows_on_one_side(n, share):
    with pytest.raises(UserError, match="a part without rows"):
        splits.divide(n, {"train": None, "validation": share}, 1234)


@settings(max_examples=20)
@given(st.sampled_from([*LAYOUTS]), st.integers(0, 2**31))
def test_every_layout_uses_every_row_of_its_official_splits_once(name, seed):
    *origins, changes = LAYOUTS[name]
    names = dict(zip(splits.SPLITS, origins, strict=True))
    rows = official(test=[question(i) for i in range(50, 55)])
    for origin in rows.splits.keys() - {*origins}:
        del rows.splits[origin]
    made, report = build(rows, seed, splits=names, **changes)
    ids = [own for table in made.values() for own in table["id"].to_pylist()]
    sizes = {"train": 40, "validation": 10, "test": 5}
    assert sorted(ids) == sorted(f"{o}/{i:06d}" for o in {*origins} for i in range(sizes[o]))
    for split, table in made.items():
        assert table.num_rows > 0
        assert {own.split("/")[0] for own in table["id"].to_pylist()} == {names[split]}
    assert report["division"]["seed"] == seed and report["left_out"] == []


def test_subsets_are_ordered_nested_and_independent():
    rows = np.arange(100, 300)
    small, large = splits.subset(rows, 20, 7, 1), splits.subset(rows, 50, 7, 1)
    assert set(small) < set(large) < set(rows)
    assert (np.diff(large) > 0).all()
    assert len(large) == 50
    assert set(large) != set(splits.subset(rows, 50, 7, 2))
    assert set(large) != set(splits.subset(rows, 50, 8, 1))
    assert splits.subset(rows, None, 7, 1) is rows
    assert splits.subset(rows, 200, 7, 1).tolist() == rows.tolist()
    for limit in (0, -1, 201):
        with pytest.raises(UserError, match="of 200: use a number"):
            splits.subset(rows, limit, 7, 1)


def test_a_test_question_that_was_trained_on_is_refused():
    again = [{**question(3), "id": "other"}]
    with pytest.raises(
        UserError, match=r"'Q: why 3.* is in \w+ \(train/000003\) and in test \(valida"
    ):
        build(official(validation=again))


@pytest.mark.parametrize("out_of", ["train", "validation"])
def test_a_division_that_leaks_into_test_is_refused(monkeypatch, out_of):
    honest = splits.divide

    def leaky(n, shares, seed, what):
        parts = honest(n, shares, seed, what)
        parts["test"] = np.append(parts["test"], parts[out_of][0])
        return parts

    monkeypatch.setattr(splits, "divide", leaky)
    with pytest.raises(UserError, match=rf"prompt .* is in {out_of} \(train/.* and in test \(tra"):
        build(official(), splits=dict.fromkeys(splits.SPLITS, "train"), test_share=0.25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": [question(1), question(1)]}, "id 'q1' is in csqa, split train, row 0 and"),
        ({"validation": [question(5)]}, "row 5 and in csqa, split validation, row 0"),
        ({"validation": []}, "no rows in split validation: csqa"),
        ({"train": [question(1)]}, "a part without rows"),
    ],
)
def test_bad_data_is_one_line(changes, message):
    with pytest.raises(UserError) as caught:
        build(official(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_duplicates_and_subsets_are_counted():
    twice = [question(i) for i in range(40)] + [{**question(7), "id": "again"}]
    part, of_part = build(official(train=twice), rows={"train": 20, "test": 4})
    sizes = {split: table.num_rows for split, table in part.items()}
    assert sizes == {"train": 20, "validation": 5, "test": 4}
    left = {entry["official_split"]: entry for entry in of_part["left_out"]}
    assert left["train"]["rows"] == 16
    assert left["train"]["reason"] == "random subset asked for: train 20"
    assert left["validation"]["rows"] == 6
    assert left["validation"]["reason"] == "random subset asked for: test 4"
    whole, of_whole = build(official(train=twice))
    counted = sum(part["duplicate_prompts"] for part in of_whole["splits"].values())
    assert counted + of_whole["shared_prompts"]["train and validation"] == 1
    assert set(part["train"]["id"].to_pylist()) < set(whole["train"]["id"].to_pylist())


def test_a_share_of_the_training_rows_is_nested_and_leaves_the_others_alone():
    """Of what the split would have: after the division, and after a limit of its own."""
    tables = {share: build(official(), train_share=share)[0] for share in (0.5, 0.25)}
    tables[1], of_all = build(official())
    ids = {share: {*own["train"]["id"].to_pylist()} for share, own in tables.items()}
    assert [len(ids[share]) for share in (1, 0.5, 0.25)] == [36, 18, 9]
    assert ids[0.25] < ids[0.5] < ids[1]
    for split in ("validation", "test"):
        assert tables[0.25][split].equals(tables[1][split])
    limited = {"rows": {"train": 20}}
    few, report = build(official(), train_share=0.25, **limited)
    assert few["train"].num_rows == 5
    assert {*few["train"]["id"].to_pylist()} < {
        *build(official(), **limited)[0]["train"]["id"].to_pylist()
    }
    left = [own for own in report["left_out"] if own not in of_all["left_out"]]
    assert [(own["rows"], own["reason"]) for own in left] == [
        (31, "random subset asked for: train 5")
    ]
    assert build(official(), train_share=0.001)[0]["train"].num_rows == 1
