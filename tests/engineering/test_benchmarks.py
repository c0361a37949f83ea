"""The benchmarks' own arithmetic and rivals; no timing is tested."""

import importlib
import json

import numpy as np

from benchmarks import __main__ as benchmarks
from benchmarks.extraction import K, released_loop, supervised_of
from benchmarks.harness import Row, costs, isolated, load_results, rates, save_results, table
from benchmarks.points import machine_name
from tests import tiny_models as tiny


def test_ratios_are_of_neighbours_in_time():
    seconds = {"ours": [1.0, 2.0, 4.0], "theirs": [2.0, 6.0, 8.0]}
    row = rates("r", 10, "rows/s", seconds, 2.5)
    assert (row.ours, row.theirs, row.ratio, row.spread) == (5.0, 10 / 6, 2.0, 0.5)
    assert row.passes is False and row.bar == ">= 2.5x"
    row = costs("c", seconds["ours"], seconds["theirs"], "s", 0.5)
    assert (row.ours, row.theirs, row.ratio, row.passes) == (2.0, 6.0, 0.5, True)


def test_results_keep_the_rows_of_other_benchmarks(tmp_path):
    path = tmp_path / "machine.json"
    make = lambda name, ours: Row(name, ours, None, "s", None, None, "", None)  # noqa: E731
    save_results(path, {"torch": "x"}, [make("10 b", 1.0), make("2 a", 1.0)], "first")
    save_results(path, {"torch": "x"}, [make("10 b", 2.0)], "second")
    kept = load_results(path)
    assert [(row["name"], row["ours"]) for row in kept["rows"]] == [("2 a", 1.0), ("10 b", 2.0)]
    assert {"name", "ours", "theirs", "ratio", "spread", "bar", "passes"} <= set(kept["rows"][0])
    assert [row["commit"] for row in kept["rows"]] == ["first", "second"]
    assert "| 10 b | 2 |" in table(kept["rows"]) and "second |" in table(kept["rows"])
    save_results(path, {"torch": "y"}, [make("10 b", 3.0)], "third")
    assert [row["ours"] for row in load_results(path)["rows"]] == [3.0]  # another machine
    assert "third" not in table(load_results(path)["rows"])


def test_another_process_tells_its_memory():
    found = isolated("tests.engineering.test_benchmarks:hold", megabytes=256)
    assert found["length"] == 256 * 2**20
    assert 240e6 < found["peak_bytes"] < 300e6  # imports may give some back meanwhile


def hold(megabytes: int) -> dict:
    """Touch so much memory."""
    block = np.ones(megabytes * 2**20, dtype=np.uint8)
    return {"length": len(block)}


def test_the_released_loop_finds_what_extraction_finds():
    """Left padding, full logits and JSON lines of single rows, against the project's own."""
    from first_distill.knowledge.extraction import extract

    model, encoded = tiny.random_llama(3), tiny.encode(tiny.instruction_rows(3))
    arrays = extract(model, encoded, K, tiny.EOS, 512)
    lines = released_loop(model, encoded, 96)
    assert {len(json.loads(line)["top_log_probs"]) for line in lines} == {96}
    found = supervised_of(lines, encoded)
    assert [list(map(int, position)) for position in found] == arrays["ids"].tolist()
    log_probs = np.asarray([list(position.values()) for position in found])
    np.testing.assert_allclose(log_probs, arrays["log_probs"].astype(float), rtol=2e-3)


def test_every_topic_makes_rows_and_a_machine_has_a_plain_name():
    for topic in benchmarks.TOPICS:
        assert callable(importlib.import_module(f"benchmarks.{topic}").rows)
    name = machine_name({"cpu": "Some(R) CPU @ 2.80GHz", "cores": 2})
    assert name == "some-cpu-2.80ghz-2-cores"
