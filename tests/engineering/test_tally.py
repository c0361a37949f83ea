"""Stages, counts and the time that is left, against times worked out by hand."""

import re

import pytest

from first_distill import ROOT
from first_distill.runtime.tally import TARGETS, Tally, spoken, stages


def tally(**counts):
    """A run of rules that are stages of their own, which begins at 100 s."""
    found = Tally(stages={"all": TARGETS, "a": "one", "b": "one", "c": "two"})
    found.plan({**counts, "total": sum(counts.values())}, 100.0)
    return found


def run(found, number, rule, start, end=None):
    found.begin(number, start)
    found.describe(number, rule, rule)
    if end is not None:
        found.finish(number, end)


def test_every_rule_has_the_stage_of_its_file():
    """By another reading of the rules; the order is that of the Snakefile."""
    found, rules = stages(), {}
    for path in (ROOT / "rules").glob("*.smk"):
        for line in path.read_text().splitlines():
            words = re.sub(r"[:]", " ", line).split()
            if line[:5] == "rule ":
                rules[words[1]] = path.stem
            elif line[:9] == "use rule " and "as" in words:
                rules[words[words.index("as") + 1]] = path.stem
    assert rules == {rule: stage for rule, stage in found.items() if stage != TARGETS}
    assert {rule for rule, stage in found.items() if stage == TARGETS} >= {"all", "table1"}
    assert list(dict.fromkeys(found.values()))[:3] == ["data", "models", "teacher"]


def test_counts_by_stage_in_order():
    found = tally(c=1, x=2, b=3, all=1, a=1)
    assert found.total == {"one": 4, "two": 1, "x": 2}  # `all` makes no file
    assert list(found.total) == ["one", "two", "x"]


def test_time_left_of_one_job_after_another():
    """10 jobs of 2 s: after 3 of them, 7 of 2 s are left; in the middle of the fourth, 13 s."""
    found = tally(a=10)
    assert found.left(101.0) == 0.0
    for number in range(3):
        run(found, number, "a", 100 + 2 * number, 102 + 2 * number)
    assert found.left(106.0) == pytest.approx(14.0)
    run(found, 3, "a", 106.0)
    assert found.left(107.0) == pytest.approx(13.0)


def test_time_left_of_two_at_a_time_and_a_stage_to_come():
    """Two jobs of 4 s each at once; 4 of them are left: 8 s. With 2 of a stage of 6 s, 14 s."""
    found = tally(a=6, c=3)
    run(found, 0, "a", 100.0, 104.0)
    run(found, 1, "a", 100.0, 104.0)
    # Stage two is taken to have jobs of the same length as all: 4 + 3 jobs of 4 s, two at a time.
    assert found.left(104.0) == pytest.approx(14.0)
    run(found, 2, "c", 104.0, 110.0)
    run(found, 3, "c", 104.0, 110.0)
    assert found.left(110.0) == pytest.approx((4 * 4 + 1 * 6) / 2)


def test_time_left_of_long_jobs_beside_short_ones_of_their_stage():
    """4 jobs of 1 s and 2 of 10 s: after all short and one long, one long is left."""
    found = tally(a=4, b=2)
    for number in range(4):
        run(found, number, "a", 100.0 + number, 101.0 + number)
    run(found, 4, "b", 104.0, 114.0)
    assert found.left(114.0) == pytest.approx(10.0)


def test_a_target_is_no_job():
    found = tally(a=1, all=1)
    run(found, 0, "a", 100.0, 102.0)
    assert (found.total.total(), found.done.total(), found.left(102.0)) == (1, 1, 0.0)
    run(found, 1, "all", 102.0, 103.0)
    assert found.done.total() == 1


def test_a_retry_is_one_job():
    found = tally(a=1)
    assert found.begin(0, 100.0) == 1
    found.fail(0, "failed: a")
    assert (found.failed, found.running) == ({0: "failed: a"}, {})
    assert found.begin(0, 101.0) == 2
    found.describe(0, "a", "a")
    found.finish(0, 102.0)
    assert (found.failed, found.done.total()) == ({}, 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "< 1 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (7260, "2 h 1 min"),
        (3600, "1 h"),
        (86400, "1 day"),
        (2 * 86400 + 3 * 3600 + 59, "2 days 3 h"),
    ],
)
def test_times(seconds, text):
    assert spoken(seconds) == text
