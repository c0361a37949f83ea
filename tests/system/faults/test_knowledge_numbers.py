"""Impossible knowledge: refused when it is written, and when another program wrote it validly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scripts.first.files import describe_files, read_json
from scripts.first.knowledge import packing, store_file
from scripts.first.knowledge.store import FILE, FORMAT, MANIFEST, KnowledgeStore, write_store
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
    assert (
        script(folder, "knowledge", f"{line} --block-length 400 --output-dir {folder}/store")[0]
        == 0
    )
    return folder, KnowledgeStore.open(folder / "store").arrays


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


def one_position_more(arrays: dict) -> None:
    arrays["offsets"] = arrays["offsets"].copy()
    arrays["offsets"][-1] += 1


def an_empty_row(arrays: dict) -> None:
    arrays["offsets"] = arrays["offsets"].copy()
    arrays["offsets"][1] = 0


BAD = {
    "a token id of V": (put("ids", (3, 4), V), "at or above V = 263"),
    "a token id twice": (twice, "repeated"),
    "a probability above 1": (put("log_probs", (3, 0), 0.01), "at most 0"),
    "a log-probability of NaN": (put("log_probs", (3, 2), np.nan), "finite"),
    "a probability of 0": (put("log_probs", (3, 4), -np.inf), "finite"),
    "a mass above 1": (all_probable, "sum to"),
    "top-k that ascends": (in_ascending_order, "descend"),
    "a tail above 1": (put("log_tail", 3, 0.5), "tail"),
    "a tail of NaN": (put("log_tail", 3, np.nan), "tail"),
    "a gold rank of k": (put("gold_rank", 3, K), "rank"),
    "offsets beyond the positions": (one_position_more, "offsets"),
    "a row without positions": (an_empty_row, "offsets"),
}


def copied(arrays: dict) -> dict:
    return {name: values.copy() for name, values in arrays.items()}


def foreign(folder, arrays: dict, manifest: dict) -> None:
    """A store as a program without checks writes it: valid packing, valid hashes."""
    folder.mkdir()
    store = KnowledgeStore(arrays, manifest)
    store_file.write_file(folder / FILE, store)
    counts = {"k": store.k, "rows": len(store), "files": describe_files(folder, [FILE])}
    reseal(folder / MANIFEST, {**manifest, **counts, "format": FORMAT})


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
    source, arrays = real
    arrays = copied(arrays)
    change(arrays)
    with pytest.raises(ValueError, match=match):
        write_store(tmp_path / "written", arrays, {"vocabulary_size": V})
    assert not list((tmp_path / "written").iterdir())
    manifest = read_json(source / "store" / MANIFEST)
    (tmp_path / "t.parquet").symlink_to(source / "t.parquet")
    write_foreign(tmp_path / "store", arrays, manifest, name)
    for found in commands(tmp_path):
        line = refusal(found)
        assert "knowledge" in line and "extract it again" in line
    tried(f"{name}, in a store of valid hashes", 3, 3, 0, line)


def write_foreign(folder, arrays, manifest, name: str) -> None:
    """As `foreign`; what the packing itself cannot hold is put into the file's own tensors."""
    if name not in ("offsets beyond the positions", "a row without positions"):
        foreign(folder, arrays, manifest)
        return
    from safetensors.numpy import load_file, save_file

    sound = copied(arrays)
    sound["offsets"] = np.arange(0, len(arrays["ids"]) + 1, 3)
    foreign(folder, sound, manifest)
    tensors = load_file(folder / FILE)
    tensors["row_counts"] = np.diff(arrays["offsets"]).astype(np.uint16)
    save_file(tensors, folder / FILE)
    reseal(folder / MANIFEST, rehash=True)


@pytest.mark.parametrize("name", ["row_counts", "block_rows", "lengths", "row_hashes", "ids"])
@pytest.mark.parametrize("how", ["shorter", "missing"])
def test_tensors_that_do_not_belong_together(tmp_path, real, name, how):
    from safetensors.numpy import load_file, save_file

    source, arrays = real
    (tmp_path / "t.parquet").symlink_to(source / "t.parquet")
    foreign(tmp_path / "store", copied(arrays), read_json(source / "store" / MANIFEST))
    path = tmp_path / "store" / FILE
    tensors = load_file(path)
    tensors[name] = tensors[name][:-1]
    if how == "missing":
        del tensors[name]
    save_file(tensors, path)
    reseal(path.parent / MANIFEST, rehash=True)
    for found in commands(tmp_path):
        line = refusal(found)
        assert str(path) in line
    tried(f"a store of valid hashes with {name} {how}", 2, 2, 0, line)


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


@pytest.mark.parametrize("n", [1, 40])
def test_a_search_that_cannot_choose_says_so(tmp_path, n):
    """Ties: equal tokens, so that every c gives 1/2. The largest c wins, marked as at the edge."""
    status, text = search(tmp_path, small([[0.5, 0.5]] * n, [0] * n))
    assert status == 0, text
    selected = read_json(tmp_path / "out/selected.json")
    assert (selected["c"], selected["at_edge"], selected["n"]) == (1.0, True, n)
    assert selected["ece"] == pytest.approx(0.5)
    tried(f"a search of {n} position(s) where every c is equal", 1, 1, 0, "at_edge: true")


def test_a_search_of_one_position(tmp_path):
    status, text = search(tmp_path, small([[0.9, 0.05]], [1]))
    assert status == 0, text
    selected = read_json(tmp_path / "out/selected.json")
    assert 0 < selected["c"] <= 1 and selected["accuracy"] == 0.0
    tried("a search of one position", 1, 1, 0, f"n: 1, c: {selected['c']}")


def test_a_search_without_a_position(tmp_path):
    """Rows whose only position predicts EOS: an empty response."""
    line = refusal(search(tmp_path, small([[0.9, 0.05]], [0]), "response"))
    assert "no position to score" in line and not (tmp_path / "out").exists()
    tried("a search without a position", 1, 1, 0, line)


def test_what_is_packed_is_what_is_checked():
    """The checks read float16 as it is stored: every bit pattern that is no log-probability."""
    block = small([[0.5, 0.4]], [0])
    patterns = np.arange(2**16, dtype=np.uint16).view(np.float16)
    ranks = np.zeros(3, np.uint32)
    ranks[[1, 2]] = 0, 1
    for value in patterns[~(patterns <= 0) | np.isinf(patterns)][::97]:
        block["log_probs"][0, 1] = value
        with np.errstate(all="ignore"):
            found = packing.unpack(packing.pack(block, ranks), 1, np.asarray([1, 2], np.uint32))
        with pytest.raises(ValueError):
            store_file.check_arrays(found, 9)
