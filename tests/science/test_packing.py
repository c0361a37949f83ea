"""Packing: what comes back has the same bits, however odd the numbers; what is altered is told."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.first.errors import UserError
from scripts.first.knowledge import packing, store_file
from scripts.first.knowledge.store import (
    BLOCK,
    BY_POSITION,
    FILE,
    KnowledgeStore,
    write_store,
)
from scripts.first.knowledge.store_check import id_dtype
from tests import tiny_models as tiny


def random_arrays(draw, counts, k: int, vocabulary: int) -> dict:
    """Arrays of any bits that a store admits: also -0.0, subnormal numbers and a tail of -inf."""
    n = int(np.sum(counts))
    log_probs = -draw.integers(0, 0x7C00, (n, k)).astype(np.uint16).view(np.float16)
    log_probs[draw.random((n, k)) < 0.1] = 0.0
    log_tail = -draw.integers(0, 0x7C01, n).astype(np.uint16).view(np.float16)
    mass = np.exp(log_probs.astype(float)).sum(axis=1) + np.exp(log_tail.astype(float))
    log_probs[mass > 1] = np.minimum(log_probs[mass > 1], np.float16(-4))
    log_tail[mass > 1] = np.minimum(log_tail[mass > 1], np.float16(-4))
    steps = draw.integers(1, vocabulary // k + 1, (n, k))  # ids of a position differ
    return {
        "ids": (steps.cumsum(axis=1) % vocabulary).astype(id_dtype(vocabulary)),
        "log_probs": -np.sort(-log_probs, axis=1),
        "log_tail": log_tail,
        "gold_rank": draw.choice([*range(k), 255], n).astype(np.uint8),
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "row_hashes": draw.integers(0, 256, (len(counts), 16)).astype(np.uint8),
    }


def sharp_arrays(rows: int, length: int = 50, k: int = 5, vocabulary: int = 128_256) -> dict:
    """Knowledge like that of a large teacher: probability near 1, words by Zipf's law."""
    draw, n = np.random.default_rng(0), rows * length
    words = draw.permutation(vocabulary)[: draw.integers(8000, 8001)]
    ranks = np.minimum(draw.pareto(0.6, (n, k)) * 10 / k, len(words) // k - 1).astype(np.int64)
    ranks = ranks * k + np.arange(k)  # ids of a position differ
    logits = np.sort(draw.normal(0, 1, (n, k)), axis=1)[:, ::-1] + [6, 2, 1, 0.5, 0]
    rest = np.exp(draw.normal(0, 1, n))
    mass = np.exp(logits).sum(axis=1) + rest
    log_probs = np.log(np.exp(logits) / mass[:, None]).astype(np.float16)
    return {
        "ids": words[ranks].astype(np.uint32),
        "log_probs": -np.sort(-log_probs, axis=1),
        "log_tail": np.log(rest / mass).astype(np.float16),
        "gold_rank": np.where(draw.random(n) < 0.8, 0, 255).astype(np.uint8),
        "offsets": np.arange(0, n + 1, length),
        "row_hashes": draw.integers(0, 256, (rows, 16)).astype(np.uint8),
    }


def written(folder, arrays: dict, vocabulary: int) -> KnowledgeStore:
    write_store(folder, arrays, {"vocabulary_size": vocabulary})
    return KnowledgeStore.open(folder)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    k=st.integers(1, 20),
    vocabulary=st.sampled_from([20, 256, 257, 32_000, 65_536, 65_537, 131_073, 200_000]),
    block=st.sampled_from([1, 17, BLOCK]),
)
def test_every_bit_comes_back(tmp_path_factory, seed, counts, k, vocabulary, block):
    draw = np.random.default_rng(seed)
    arrays = random_arrays(draw, counts, k, vocabulary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.first.knowledge.store.BLOCK", block)
        store = written(tmp_path_factory.mktemp("s"), arrays, vocabulary)
    assert store.largest_id == arrays["ids"].max() and store.k == k
    found = store.arrays
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes()
    chosen = draw.integers(0, len(counts), 5)
    spans = [np.arange(arrays["offsets"][r], arrays["offsets"][r + 1]) for r in chosen]
    rows = store.rows(chosen)
    for name in BY_POSITION:
        assert rows[name].tobytes() == arrays[name][np.concatenate(spans)].tobytes()


def test_more_than_65536_different_ids(tmp_path):
    """Their ranks take three bytes, in a vocabulary of any size."""
    n, vocabulary = 20_000, 128_256
    arrays = random_arrays(np.random.default_rng(3), [n // 4] * 4, 5, vocabulary)
    arrays["ids"] = np.random.default_rng(4).permutation(vocabulary)[: 5 * n].astype(np.uint32)
    arrays["ids"] = arrays["ids"].reshape(n, 5)
    np.testing.assert_array_equal(
        written(tmp_path, arrays, vocabulary).column("ids"), arrays["ids"]
    )


def test_one_position(tmp_path):
    arrays = random_arrays(np.random.default_rng(0), [1], 1, 3)
    assert written(tmp_path, arrays, 3).column("ids").tolist() == arrays["ids"].tolist()


def test_expected_tail_is_that_of_the_k_probabilities():
    """Near enough to leave little to store; exp and log of numpy would not be portable."""
    arrays = sharp_arrays(200)
    patterns = np.ascontiguousarray(arrays["log_probs"].view(np.uint16).T) ^ packing.SIGN
    expected = (packing._expected_tail(patterns) ^ packing.SIGN).view(np.float16)
    mass = np.exp(arrays["log_probs"].astype(np.float64)).sum(axis=1)
    sure = mass < 0.999
    np.testing.assert_allclose(
        expected[sure].astype(float), np.log1p(-mass[sure]), rtol=2e-3, atol=1e-4
    )
    powers = packing._powers()
    x = np.arange(packing.INFINITE, dtype=np.uint16).view(np.float16).astype(float)
    np.testing.assert_allclose(powers[: len(x)], np.exp(-x), rtol=1e-7, atol=1e-60)


def test_size_is_bounded_and_does_not_depend_on_the_vocabulary(tmp_path):
    arrays, n = sharp_arrays(1000), 50_000
    wide = written(tmp_path / "wide", arrays, 128_256)
    names = np.unique(arrays["ids"])
    narrow = {**arrays, "ids": np.searchsorted(names, arrays["ids"]).astype(np.uint16)}
    written(tmp_path / "narrow", narrow, 32_000)
    size, other = ((tmp_path / s / FILE).stat().st_size / n for s in ("wide", "narrow"))
    assert size < 14 and abs(size - other) < 0.2
    assert wide.slice(2).column("ids").shape == (n, 2)


def test_a_block_altered_after_opening_is_noticed(tmp_path):
    store = written(tmp_path, sharp_arrays(100), 128_256)
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    where = content.index(packing.deflated(sharp_arrays(100)["gold_rank"][:2050]))
    content[where + 5] ^= 4
    with open(path, "r+b") as file:  # in place: the same mapped file
        file.write(content)
    with pytest.raises(UserError, match="altered knowledge store: .*block 0"):
        store.rows(np.asarray([0]))
    store.rows(np.asarray([60]))  # of another block


def test_a_block_is_unpacked_when_it_is_asked_for_and_once(tmp_path, monkeypatch):
    store, unpacked = written(tmp_path, sharp_arrays(400), 128_256), []
    plain = store_file.unpack

    def counted(*arguments):
        unpacked.append(1)
        return plain(*arguments)

    monkeypatch.setattr(store_file, "unpack", counted)
    for _ in range(3):
        store.rows(np.asarray([0, 1, 50, 50]))
    assert len(unpacked) == 2
    store.rows(np.arange(400))
    assert len(unpacked) == len(store.block_starts) - 1 == 10


def test_no_room_to_unpack_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_file.os, "posix_fallocate", full)
    with pytest.raises(UserError, match="no room for .* bytes: .*TMPDIR"):
        written(tmp_path, sharp_arrays(10), 128_256).rows(np.asarray([0]))


MEMORY = """
import json, sys
import numpy as np
from scripts.first.knowledge.store import KnowledgeStore

def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))

before = anonymous()
store = KnowledgeStore.open(sys.argv[1])
for start in range(0, len(store), 16):
    store.rows(np.arange(start, min(start + 16, len(store))))
print(json.dumps([store.positions, anonymous() - before]))
"""


def test_memory_does_not_grow_with_the_store(tmp_path):
    """Anonymous memory of a process that reads all rows of a store and of one 4 times as large."""
    part, found = sharp_arrays(2_000), []
    for times in (2, 8):
        whole = {name: np.concatenate([part[name]] * times) for name in BY_POSITION}
        n = len(whole["ids"])
        whole["offsets"] = np.arange(0, n + 1, 50)
        whole["row_hashes"] = np.random.default_rng(0).bytes(16 * (n // 50))
        whole["row_hashes"] = np.frombuffer(whole["row_hashes"], np.uint8).reshape(-1, 16)
        write_store(tmp_path / str(times), whole, {"vocabulary_size": 128_256})
        command = [sys.executable, "-c", MEMORY, str(tmp_path / str(times))]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tiny.REPOSITORY)
        assert run.returncode == 0, run.stderr
        found.append(json.loads(run.stdout))
    (small, small_kib), (large, large_kib) = found
    assert large == 4 * small
    assert large_kib - small_kib < 2048  # row hashes and offsets; unpacked, 20 MB more


def test_all_arrays_at_once_unpack_each_block_once(tmp_path):
    arrays, asked = sharp_arrays(120), []
    store = written(tmp_path, arrays, 128_256)
    block = store._block
    store._block = lambda number: asked.append(number) or block(number)
    for name, values in store.arrays.items():
        np.testing.assert_array_equal(values, arrays[name])
    assert asked == list(range(len(store.block_starts) - 1)) and len(asked) > 1
