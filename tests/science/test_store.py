"""The knowledge store: what goes in comes out, and nothing altered or unfinished gets in."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from scripts.first.errors import UserError
from scripts.first.files import sha256_file
from scripts.first.knowledge.store import (
    BY_POSITION,
    FILE,
    MANIFEST,
    KnowledgeStore,
    measured_bytes,
    write_store,
)
from scripts.first.knowledge.store_check import check_arrays, id_dtype
from tests.sealed import reseal


def arrays(counts=(3, 2, 1), k: int = 4, vocabulary: int = 50, seed: int = 0) -> dict:
    """Random knowledge: softmax of normal logits, its top k, and the exact tail."""
    draw, n = np.random.default_rng(seed), sum(counts)
    p = np.exp(2 * draw.standard_normal((n, vocabulary)))
    p /= p.sum(axis=1, keepdims=True)
    ids = np.argsort(-p, axis=1)[:, :k]
    head = np.take_along_axis(p, ids, axis=1)
    return {
        "ids": ids.astype(id_dtype(vocabulary)),
        "log_probs": np.log(head).astype(np.float16),
        "log_tail": np.log(np.maximum(1 - head.sum(axis=1), 1e-20)).astype(np.float16),
        "gold_rank": draw.choice([0, 1, 3, 255], n).astype(np.uint8),
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "row_hashes": draw.integers(0, 256, (len(counts), 16)).astype(np.uint8),
    }


def write(folder, content=None, **manifest):
    write_store(
        folder, content or arrays(), {"vocabulary_size": 50, "scored": "answer", **manifest}
    )
    return folder


def test_round_trip(tmp_path):
    content = arrays()
    store = KnowledgeStore.open(write(tmp_path / "s", content, teacher="abc"))
    for name, array in content.items():
        assert store.arrays[name].dtype == array.dtype
        assert store.arrays[name].tobytes() == array.tobytes()
    assert (len(store), store.k, store.manifest["teacher"]) == (3, 4, "abc")
    assert store.manifest["positions"] == 6 and store.manifest["rows"] == 3
    assert store.manifest["files"][FILE]["sha256"] == sha256_file(tmp_path / "s" / FILE)
    assert store.largest_id == content["ids"].max()
    np.testing.assert_allclose(
        store.probabilities(2), np.exp(content["log_probs"][:, :2].astype(np.float64))
    )


def test_same_knowledge_gives_the_same_bytes(tmp_path):
    one, other = write(tmp_path / "a"), write(tmp_path / "b")
    for name in (FILE, MANIFEST):
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize("vocabulary, dtype", [(65_536, np.uint16), (65_537, np.uint32)])
def test_id_type_holds_the_largest_id(tmp_path, vocabulary, dtype):
    content = {**arrays(), "ids": arrays()["ids"].astype(id_dtype(vocabulary))}
    content["ids"][2, 1] = vocabulary - 1
    assert content["ids"].dtype == dtype
    store = KnowledgeStore.open(write(tmp_path / "s", content, vocabulary_size=vocabulary))
    assert store.largest_id == store.column("ids")[2, 1] == vocabulary - 1


@pytest.mark.parametrize("vocabulary", [131_072, 152_064])
def test_id_131071_is_an_id_like_any_other(tmp_path, vocabulary):
    """B11, B12: no sentinel, no cap at 2 ** 17."""
    content = {**arrays(), "ids": arrays()["ids"].astype(id_dtype(vocabulary))}
    content["ids"][0] = [131_071, vocabulary - 2, 65_536, 65_535]
    store = KnowledgeStore.open(write(tmp_path / "s", content, vocabulary_size=vocabulary))
    assert store.column("ids")[0].tolist() == [131_071, vocabulary - 2, 65_536, 65_535]


def test_random_access_by_row_and_by_hash(tmp_path):
    content = arrays()
    store = KnowledgeStore.open(write(tmp_path / "s", content))
    rows = store.rows(np.asarray([1, 0, 1]))
    where = [3, 4, 0, 1, 2, 3, 4]
    for name in BY_POSITION:
        np.testing.assert_array_equal(rows[name], content[name][where])
    assert store.rows(np.asarray([2]))["ids"].shape == (1, 4)
    hashes = content["row_hashes"][[2, 0]]
    assert store.rows_of(hashes).tolist() == [2, 0]
    assert store.rows_of(np.concatenate([np.zeros_like(hashes), hashes])).tolist() == [-1, -1, 2, 0]


def test_of_equal_rows_the_last_is_found():
    content = arrays((1, 1, 1, 1))
    content["row_hashes"][[0, 2]] = content["row_hashes"][1]
    content["row_hashes"][3] = 255
    store = KnowledgeStore(content, {})
    assert store.rows_of(content["row_hashes"]).tolist() == [2, 2, 2, 3]


def test_hashes_that_end_in_zeros():
    content = arrays((1, 1, 1))
    content["row_hashes"][:, 14:] = 0
    content["row_hashes"][1] = content["row_hashes"][0]
    content["row_hashes"][1, 14] = 1
    content["row_hashes"][2] = 0
    store = KnowledgeStore(content, {})
    assert store.rows_of(content["row_hashes"]).tolist() == [0, 1, 2]


def test_scored_positions_by_hand(tmp_path):
    store = KnowledgeStore.open(write(tmp_path / "s"))
    assert store.answer_positions().tolist() == [1, 0, 0, 1, 0, 1]
    assert store.scored_positions("answer").tolist() == [1, 0, 0, 1, 0, 1]
    assert store.scored_positions("response").tolist() == [1, 1, 0, 1, 0, 0]
    with pytest.raises(ValueError, match="scored"):
        store.scored_positions("all")


@pytest.mark.parametrize("k", [1, 2, 4])
def test_slice_keeps_the_first_k_and_all_the_mass(tmp_path, k):
    store = KnowledgeStore.open(write(tmp_path / "s"))
    full, part = arrays(), store.slice(k).arrays
    np.testing.assert_array_equal(part["ids"], full["ids"][:, :k])
    np.testing.assert_array_equal(part["log_probs"], full["log_probs"][:, :k])
    expected = [r if r < k else 255 for r in full["gold_rank"].tolist()]
    assert part["gold_rank"].tolist() == expected
    direct = arrays(k=k)  # the same random teacher, asked for k tokens
    np.testing.assert_allclose(
        np.exp(part["log_tail"].astype(float)), np.exp(direct["log_tail"].astype(float)), rtol=4e-3
    )
    mass = np.exp(part["log_probs"].astype(float)).sum(1) + np.exp(part["log_tail"].astype(float))
    np.testing.assert_allclose(mass, 1, atol=3e-3)


@pytest.mark.parametrize("first", ["view", "store"])
def test_a_slice_and_its_store_are_read_side_by_side(tmp_path, first):
    """What one has unpacked the other has not."""
    store, full = KnowledgeStore.open(write(tmp_path / "s")), arrays()
    view, rows = store.slice(2), np.asarray([2, 0])
    wanted = full["ids"][[5, 0, 1, 2]]
    for one in (view, store) if first == "view" else (store, view):
        np.testing.assert_array_equal(one.rows(rows)["ids"], wanted[:, : one.k])


def test_a_full_disk_is_one_line_and_leaves_no_store(tmp_path, monkeypatch):
    import safetensors.numpy

    def full(*_):
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(OSError, match=r"No space left on device: .*knowledge\.safetensors"):
        write(tmp_path / "s")
    assert not list((tmp_path / "s").iterdir())


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_beyond_the_store_is_refused(tmp_path, k):
    store = KnowledgeStore.open(write(tmp_path / "s"))
    for use in (store.probabilities, store.slice):
        with pytest.raises(UserError, match="stored_k"):
            use(k)


def test_measured_bytes_are_those_of_a_real_file(tmp_path):
    store = KnowledgeStore.open(write(tmp_path / "s"))
    assert measured_bytes(store, 4) == (tmp_path / "s" / FILE).stat().st_size
    for k in (1, 3):
        smaller = write(tmp_path / str(k), store.slice(k).arrays)
        assert measured_bytes(store, k) == (smaller / FILE).stat().st_size
    assert measured_bytes(store, 1) < measured_bytes(store, 3) < measured_bytes(store, 4)


def test_flipped_bit_is_noticed(tmp_path):
    path = write(tmp_path / "s") / FILE
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="altered knowledge store"):
        KnowledgeStore.open(tmp_path / "s")


@pytest.mark.parametrize("described", [{}, None, {"bytes": 3}])
def test_a_manifest_that_does_not_describe_its_file(tmp_path, described):
    folder = write(tmp_path / "s")
    reseal(folder / MANIFEST, files={FILE: described})
    with pytest.raises(UserError, match="incomplete manifest"):
        KnowledgeStore.open(folder)


@pytest.mark.parametrize("found", [1, 3, None])
def test_a_store_of_another_format(tmp_path, found):
    folder = write(tmp_path / "s")
    reseal(folder / MANIFEST, format=found)
    with pytest.raises(UserError, match=f"format {found}: .*format 2: delete it and extract"):
        KnowledgeStore.open(folder)


def test_truncated_store_is_noticed(tmp_path):
    path = write(tmp_path / "s") / FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="altered knowledge store"):
        KnowledgeStore.open(tmp_path / "s")


def test_knowledge_of_another_teacher_is_noticed(tmp_path):
    ours, other = write(tmp_path / "a"), write(tmp_path / "b", arrays(seed=1))
    shutil.copyfile(other / FILE, ours / FILE)
    with pytest.raises(UserError, match="altered knowledge store"):
        KnowledgeStore.open(ours)


@pytest.mark.parametrize("name, match", [(MANIFEST, "never finished"), (FILE, "missing file")])
def test_missing_file_is_noticed(tmp_path, name, match):
    (write(tmp_path / "s") / name).unlink()
    with pytest.raises(UserError, match=match):
        KnowledgeStore.open(tmp_path / "s")
    with pytest.raises(UserError, match="missing knowledge store"):
        KnowledgeStore.open(tmp_path / "nowhere")


def test_truncated_manifest_is_noticed(tmp_path):
    path = write(tmp_path / "s") / MANIFEST
    path.write_text(path.read_text()[:-5])
    with pytest.raises(UserError, match="seal"):
        KnowledgeStore.open(tmp_path / "s")
    reseal(path, {"scored": "answer"})
    with pytest.raises(UserError, match="manifest"):
        KnowledgeStore.open(tmp_path / "s")


@pytest.mark.parametrize("moment", ["arrays", "file", "whole file", "manifest"])
def test_interrupted_rewrite_leaves_no_manifest(tmp_path, monkeypatch, moment):
    """An old manifest beside new arrays would vouch for the wrong knowledge."""
    folder = write(tmp_path / "s")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    place = {
        "arrays": "scripts.first.knowledge.store.check_arrays",
        "file": "scripts.first.knowledge.store_file.pack",
        "whole file": "safetensors.numpy.save_file",
        "manifest": "scripts.first.provenance.records.write",
    }
    monkeypatch.setattr(place[moment], interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(folder, arrays(seed=1))
    assert [p.name for p in folder.iterdir()] == [FILE]  # and no temporary file
    with pytest.raises(UserError, match="never finished"):
        KnowledgeStore.open(folder)


@pytest.mark.parametrize(
    "name, place, value, match",
    [
        ("ids", (0, 0), 50, "V = 50"),
        ("log_probs", (1, 0), 0.01, "at most 0"),
        ("log_probs", (1, 0), np.nan, "finite"),
        ("log_probs", (1, 3), -0.001, "descend"),
        ("log_tail", 2, 0.01, "tail"),
        ("log_tail", 2, np.nan, "tail"),
        ("offsets", 3, 7, "offsets"),
        ("offsets", 0, 1, "offsets"),
    ],
)
def test_impossible_knowledge_is_not_written(tmp_path, name, place, value, match):
    content = arrays()
    check_arrays(content, 50)
    content[name][place] = value
    with pytest.raises(ValueError, match=match):
        write(tmp_path / "s", content)
    assert list((tmp_path / "s").iterdir()) == []


def test_manifest_without_the_scored_positions_is_one_line(tmp_path):
    """The search refuses a store whose manifest does not say what is scored."""
    from scripts.temperature import main

    arrays = {
        "ids": np.asarray([[1, 2]], np.uint16),
        "log_probs": np.asarray([[-0.2, -2.0]], np.float16),
        "log_tail": np.asarray([-4.0], np.float16),
        "gold_rank": np.asarray([0], np.uint8),
        "offsets": np.asarray([0, 1], np.int64),
        "row_hashes": np.zeros((1, 16), np.uint8),
    }
    write_store(tmp_path / "store", arrays, {"vocabulary_size": 9})
    with pytest.raises(UserError, match="scored"):
        main(["--knowledge", str(tmp_path / "store"), "--k", "2", "--output-dir", str(tmp_path)])
