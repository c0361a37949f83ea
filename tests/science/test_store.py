"""The knowledge store: what goes in comes out, and nothing altered or unfinished gets in."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from first_distill.errors import UserError
from first_distill.files import sha256_file
from first_distill.knowledge.store import (
    BY_POSITION,
    FILE,
    MANIFEST,
    KnowledgeStore,
    id_dtype,
    store_bytes,
    write_store,
)
from first_distill.models.batching import scored_positions
from tests import tiny_models as tiny
from tests.sealed import reseal


def make_arrays(counts=(3, 2, 1), k: int = 5, vocabulary: int = 50, seed: int = 0) -> dict:
    """Random knowledge: softmax of normal logits, its top k, and the exact tail, also at T = 2."""
    draw, n = np.random.default_rng(seed), sum(counts)
    p = np.exp(2 * draw.standard_normal((n, 50)))
    p /= p.sum(axis=1, keepdims=True)
    ids = np.argsort(-p, axis=1)[:, :k]
    head = np.take_along_axis(p, ids, axis=1)
    cool = np.sqrt(p) / np.sqrt(p).sum(axis=1, keepdims=True)
    tail_t = 1 - np.take_along_axis(cool, ids, axis=1).sum(axis=1)
    return {
        "ids": ids.astype(id_dtype(vocabulary)),
        "log_probs": np.log(head).astype(np.float16),
        "log_tail": np.log(np.maximum(1 - head.sum(axis=1), 1e-20)).astype(np.float16),
        "log_tail_t": np.log(tail_t).astype(np.float32),
        "gold_rank": draw.choice([0, 1, 3, 255], n).astype(np.uint8),
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "row_hashes": draw.integers(0, 256, (len(counts), 16)).astype(np.uint8),
    }


def write(folder, arrays=None, **manifest):
    content = {"vocabulary_size": 50, "scored": "answer", **manifest}
    write_store(folder, arrays or make_arrays(), content)
    return folder


@pytest.mark.parametrize("vocabulary, bytes_a_position", [(65_536, 27), (65_537, 37)])
def test_anyone_reads_the_file(tmp_path, vocabulary, bytes_a_position):
    arrays = make_arrays([4] * 500, vocabulary=vocabulary)
    arrays["ids"][2, 1] = vocabulary - 1
    arrays["log_probs"][0, 0], arrays["log_tail"][:2] = -0.0, -np.inf
    arrays["log_probs"][0, 1:] = np.float16(-17)
    write(tmp_path / "s", arrays, vocabulary_size=vocabulary)
    plain, store = load_file(tmp_path / "s" / FILE), KnowledgeStore.open(tmp_path / "s")
    for found in (plain, store.arrays):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes()
    size = bytes_a_position * 2000 + 24 * 500 + 8
    assert store_bytes(2000, 500, 5, vocabulary) == size
    assert 0 < (tmp_path / "s" / FILE).stat().st_size - size < 1000


def test_manifest(tmp_path):
    store = KnowledgeStore.open(write(tmp_path / "s", teacher="abc"))
    assert (len(store), store.k, store.manifest["teacher"]) == (3, 5, "abc")
    assert [store.manifest[name] for name in ("format", "positions", "rows")] == [3, 6, 3]
    assert store.manifest["files"][FILE]["sha256"] == sha256_file(tmp_path / "s" / FILE)


def test_a_store_without_a_tail_at_a_temperature_is_a_store(tmp_path):
    """Of anyone who does not train with `logit_temperature`; asked for, it is one line."""
    arrays = make_arrays()
    whole = KnowledgeStore.open(write(tmp_path / "a", arrays, logit_temperature=2.0))
    assert whole.logit_temperature == 2.0 and "log_tail_t" in whole.rows(np.asarray([0]))
    del arrays["log_tail_t"]
    store = KnowledgeStore.open(write(tmp_path / "b", arrays, logit_temperature=None))
    assert "log_tail_t" not in store.rows(np.asarray([0]))
    for other in (store, KnowledgeStore(make_arrays(), {})):
        with pytest.raises(UserError, match="no tail at a temperature: .*lacks log_tail_t: extr"):
            other.logit_temperature  # noqa: B018


def test_rows_and_their_hashes(tmp_path):
    arrays = make_arrays()
    store = KnowledgeStore.open(write(tmp_path / "s", arrays))
    rows = store.rows(np.asarray([1, 0, 1]))
    for name in BY_POSITION:
        np.testing.assert_array_equal(rows[name], arrays[name][[3, 4, 0, 1, 2, 3, 4]])
    assert store.rows(np.asarray([2]))["ids"].shape == (1, 5)
    hashes = map(bytes, arrays["row_hashes"])
    assert store.row_by_hash == {key: row for row, key in enumerate(hashes)}


def test_of_equal_rows_the_last_is_found():
    arrays = make_arrays((1, 1, 1, 1))
    arrays["row_hashes"][[0, 2]] = arrays["row_hashes"][1]
    arrays["row_hashes"][3] = 0
    found = KnowledgeStore(arrays, {}).row_by_hash
    assert [found[bytes(key)] for key in arrays["row_hashes"]] == [2, 2, 2, 3]


def test_scored_positions_by_hand():
    counts = np.asarray([3, 2, 1])
    assert scored_positions(counts, "answer").tolist() == [1, 0, 0, 1, 0, 1]
    assert scored_positions(counts, "response").tolist() == [1, 1, 0, 1, 0, 0]


def test_probabilities_of_the_first_k(tmp_path):
    store = KnowledgeStore.open(write(tmp_path / "s"))
    expected = np.exp(make_arrays()["log_probs"][:, :2].astype(np.float64))
    np.testing.assert_array_equal(store.probabilities(2), expected)
    for k in (0, -1, 6):
        with pytest.raises(UserError, match="stored_k"):
            store.probabilities(k)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name, damage, match",
    [
        (FILE, flip, "altered file: .*knowledge.safetensors"),
        (FILE, lambda path: path.unlink(), "missing file: .*knowledge.safetensors"),
        (MANIFEST, lambda path: path.unlink(), "no record: .*manifest.json"),
        (MANIFEST, flip, "manifest.json: wrong seal"),
        (MANIFEST, lambda path: reseal(path, files={}), "knowledge.safetensors"),
        (MANIFEST, lambda path: reseal(path, format=2), "format 2 instead of 3: extract"),
        (MANIFEST, lambda path: reseal(path, vocabulary_size="50"), "unusable knowledge store"),
    ],
)
def test_damage_is_named(tmp_path, name, damage, match):
    damage(write(tmp_path / "s") / name)
    with pytest.raises(UserError, match=match):
        KnowledgeStore.open(tmp_path / "s")


def test_an_impossible_store_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="offsets"):
        write(tmp_path / "s", {**make_arrays(), "offsets": np.arange(4)})
    assert not (tmp_path / "s").exists()


def test_interrupted_rewrite_leaves_no_manifest(tmp_path, monkeypatch):
    """An old manifest beside new arrays would vouch for the wrong knowledge."""
    folder = write(tmp_path / "s")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("first_distill.provenance.records.write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(folder, make_arrays(seed=1))
    assert [p.name for p in folder.iterdir()] == [FILE]  # and no temporary file
    with pytest.raises(UserError, match="no record"):
        KnowledgeStore.open(folder)


MEMORY = """
import json, sys
import numpy as np
from first_distill.knowledge.store import KnowledgeStore

def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))

before = anonymous()
store = KnowledgeStore.open(sys.argv[1])
for start in range(0, len(store), 16):
    store.rows(np.arange(start, min(start + 16, len(store))))
print(json.dumps([len(store), anonymous() - before, "torch" in sys.modules]))
"""


def test_reading_takes_no_memory_that_grows_with_the_store_and_no_torch(tmp_path):
    """Anonymous memory of a process that reads all rows of a store and of one 4 times as large."""
    part, found = make_arrays([50] * 2_000, vocabulary=128_256), []
    for times in (2, 8):
        whole = {name: np.concatenate([part[name]] * times) for name in BY_POSITION}
        whole["offsets"] = np.arange(0, len(whole["ids"]) + 1, 50)
        whole["row_hashes"] = np.zeros((2_000 * times, 16), np.uint8)
        write(tmp_path / str(times), whole, vocabulary_size=128_256)
        command = [sys.executable, "-c", MEMORY, str(tmp_path / str(times))]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tiny.REPOSITORY)
        assert run.returncode == 0, run.stderr
        found.append(json.loads(run.stdout))
    (small, small_kib, _), (large, large_kib, torch_imported) = found
    assert large == 4 * small and not torch_imported
    assert large_kib - small_kib < 2048  # of 20 MB more in the file
