"""Impossible knowledge is refused when it is read, whatever program has written it."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from first_distill.files import describe_files, read_json
from first_distill.knowledge.store import FILE, MANIFEST, write_store
from tests import tiny_models as tiny
from tests.sealed import reseal
from tests.system.faults import tried
from tests.system.faults.forked import refusal, script

V, K = 263, 5


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """(folder with a table and a store, the store's arrays)."""
    folder = tmp_path_factory.mktemp("real")
    tiny.write_table(folder / "t.parquet", tiny.choice_rows(8))
    line = f"--model {tiny.checkpoint('teacher', 7)} --data {folder}/t.parquet --k {K}"
    line += f" --block-length 400 --output-dir {folder}/store"
    assert script(folder, "knowledge", line)[0] == 0
    return folder, load_file(folder / "store" / FILE)


def put(name: str, place, value) -> Callable:
    def change(arrays: dict) -> None:
        arrays[name][place] = value

    return change


def all_probable(arrays: dict) -> None:
    """Each of the k with probability 1/2: together more than 1."""
    arrays["log_probs"][3] = np.log(0.5)


def in_ascending_order(arrays: dict) -> None:
    arrays["log_probs"][3] = arrays["log_probs"][3, ::-1].copy()


def twice(arrays: dict) -> None:
    arrays["ids"][3, 1] = arrays["ids"][3, 0]


def missing(arrays: dict) -> None:
    del arrays["log_tail"]


def of_another_type(arrays: dict) -> None:
    arrays["log_probs"] = arrays["log_probs"].astype(np.float32)


BAD = {
    "a token id of V": (put("ids", (3, 4), V), "at or above V = 263"),
    "a token id twice": (twice, "repeated"),
    "a probability above 1": (put("log_probs", (3, 0), 0.01), "at most 0"),
    "a log-probability of NaN": (put("log_probs", (3, 2), np.nan), "finite"),
    "a mass above 1": (all_probable, "sum to"),
    "top-k that ascends": (in_ascending_order, "descend"),
    "a tail above 1": (put("log_tail", 3, 0.5), "tail"),
    "a gold rank of k": (put("gold_rank", 3, K), "rank"),
    "offsets beyond the positions": (put("offsets", -1, 25), "offsets"),
    "a row without positions": (put("offsets", 1, 0), "offsets"),
    "an array less": (missing, "log_tail"),
    "log-probabilities in float32": (of_another_type, "float32"),
}


def commands(folder) -> list[tuple[int, str]]:
    """The temperature search and a student on a folder's store; neither may leave a file."""
    search = f"--knowledge {folder}/store --k {K} --output-dir {folder}/out"
    line = f"--model {tiny.checkpoint()} --train {folder}/t.parquet --validation {folder}/t.parquet"
    line += f" --knowledge {folder}/store --objective knowledge --method distill --epochs 1"
    line += " --student-side tail_bucket --batch-size 4 --learning-rate 0.01 --seed 1"
    line += f" --block-length 400 --output-dir {folder}/out"
    found = [script(folder, "temperature", search), script(folder, "student", line)]
    assert not [path for path in folder.glob("out/**/*") if path.is_file()]
    return found


@pytest.mark.parametrize("name", BAD)
def test_impossible_knowledge(tmp_path, real, name):
    change, match = BAD[name]
    source, arrays = real[0], {name: values.copy() for name, values in real[1].items()}
    assert len(arrays["ids"]) == 24
    change(arrays)
    (tmp_path / "t.parquet").symlink_to(source / "t.parquet")
    (tmp_path / "store").mkdir()
    save_file(arrays, tmp_path / "store" / FILE)
    manifest = read_json(source / "store" / MANIFEST)
    files = describe_files(tmp_path / "store", [FILE])
    reseal(tmp_path / "store" / MANIFEST, {**manifest, "files": files})
    for found in commands(tmp_path):
        line = refusal(found)
        assert re.search(f"{tmp_path / 'store' / FILE}: .*{match}.*extract it again", line)
    tried(f"{name}, in a store of valid hashes", 2, 2, 0, line)


def small(probabilities, ranks) -> dict:
    """A store's arrays of one row a position, from (N, 2) probabilities."""
    p, n = np.asarray(probabilities, float), len(probabilities)
    return {
        "ids": np.tile(np.asarray([1, 2], np.uint16), (n, 1)),
        "log_probs": np.log(p).astype(np.float16),
        "log_tail": np.log(np.maximum(1 - p.sum(1), 1e-9)).astype(np.float16),
        "gold_rank": np.asarray(ranks, np.uint8),
        "offsets": np.arange(n + 1),
        "row_hashes": np.arange(16 * n, dtype=np.uint8).reshape(n, 16),
    }


def search(folder, arrays: dict, scored: str = "answer") -> tuple[int, str]:
    write_store(folder / "store", arrays, {"vocabulary_size": 9, "scored": scored})
    line = f"--knowledge {folder}/store --k 2 --output-dir {folder}/out"
    return script(folder, "temperature", line)


def test_a_search_that_cannot_choose_says_so(tmp_path):
    """Ties: equal tokens, so that every c gives 1/2. The largest c wins, marked as at the edge."""
    status, text = search(tmp_path, small([[0.5, 0.5]], [0]))
    assert status == 0, text
    selected = read_json(tmp_path / "out/selected.json")
    assert (selected["c"], selected["at_edge"], selected["n"]) == (1.0, True, 1)
    assert selected["ece"] == pytest.approx(0.5)
    tried("a search of one position where every c is equal", 1, 1, 0, "at_edge: true")


def test_a_search_without_a_position(tmp_path):
    """Rows whose only position predicts EOS: an empty response."""
    line = refusal(search(tmp_path, small([[0.9, 0.05]], [0]), "response"))
    assert "no position to score" in line and not (tmp_path / "out").exists()
    tried("a search without a position", 1, 1, 0, line)
