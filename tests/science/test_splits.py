"""Splits never overlap, never change, and a leak of any kind is refused."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.first.data import sources, splits, tables
from scripts.first.errors import UserError
from tests.questions import question
from tests.questions import splits as official_rows


def small(**changes) -> sources.Official:
    return sources.Official({**official_rows(), **changes}, {"kind": "world"})


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
    parts = splits.divide(n, 0.1, 1234)
    found = [
        hashlib.sha256(",".join(map(str, part.tolist())).encode()).hexdigest() for part in parts
    ]
    assert found == [train, validation]


@given(st.integers(2, 3000), st.sampled_from([0.1, 0.05, 0.3, 0.5]), st.integers(0, 2**31))
def test_a_division_is_a_sorted_partition_of_the_stated_size(n, share, seed):
    if int(n * round(1 - share, 2)) == 0:
        return
    train, validation = splits.divide(n, share, seed)
    assert sorted([*train, *validation]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    assert len(train) == n * round(100 * (1 - share)) // 100


@pytest.mark.parametrize(("n", "share"), [(1, 0.1), (5, 0.9), (10, 0.0), (10, 1.0), (10, -0.5)])
def test_a_division_without_rows_on_one_side(n, share):
    with pytest.raises(UserError, match="a part without rows"):
        splits.divide(n, share, 1234)


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
    with pytest.raises(UserError, match="prompt 'Q: why 3.* is in train or validation and in test"):
        tables.build("csqa", small(validation=again))


@pytest.mark.parametrize(("into", "out_of"), [("train", "validation"), ("validation", "train")])
def test_a_division_that_leaks_is_refused(monkeypatch, into, out_of):
    honest = splits.divide

    def leaky(n, share, seed):
        parts = dict(zip(("train", "validation"), honest(n, share, seed), strict=True))
        parts[into] = np.append(parts[into], parts[out_of][0])
        return parts["train"], parts["validation"]

    monkeypatch.setattr(splits, "divide", leaky)
    with pytest.raises(UserError, match="is in train and in validation"):
        tables.build("csqa", small())


def test_validation_that_leaks_into_test_is_refused(monkeypatch):
    monkeypatch.setitem(
        splits.ORIGINS, "csqa", {"train": "train", "validation": "train", "test": "train"}
    )
    with pytest.raises(UserError, match="row 'train/.* and in test"):
        tables.build("csqa", small())


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
        tables.build("csqa", small(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_duplicates_and_subsets_are_counted():
    twice = [question(i) for i in range(40)] + [{**question(7), "id": "again"}]
    part, of_part = tables.build("csqa", small(train=twice), limits={"train": 20, "test": 4})
    sizes = {split: table.num_rows for split, table in part.items()}
    assert sizes == {"train": 20, "validation": 5, "test": 4}
    left = {entry["official_split"]: entry for entry in of_part["left_out"]}
    assert left["train"]["rows"] == 16
    assert left["train"]["reason"] == "random subset asked for: train 20"
    assert left["validation"]["rows"] == 6
    assert left["validation"]["reason"] == "random subset asked for: test 4"
    whole, of_whole = tables.build("csqa", small(train=twice))
    counted = sum(part["duplicate_prompts"] for part in of_whole["splits"].values())
    assert counted + of_whole["shared_prompts"]["train and validation"] == 1
    assert set(part["train"]["id"].to_pylist()) < set(whole["train"]["id"].to_pylist())
