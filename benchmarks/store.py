"""The knowledge store: bytes a position, access to one row, cost against size.

The knowledge is the top 5 of the working point's trained model on the first 2,000 rows of Alpaca,
extracted by the project's own stage. At V = 128,256 the same ids are spread over the
vocabulary by a fixed random injection.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import REPETITIONS, Row, costs, isolated, median, rates
from benchmarks.points import VOCABULARIES, TinyBench
from first_distill.knowledge.store import BY_POSITION, KnowledgeStore, write_store
from first_distill.models.encoding import EncodedRow
from first_distill.training.knowledge_loss import (
    KnowledgeLoss,  # brings torch, which is not the store's memory
)

ROWS, K = 2_000, 5
AT_REST, ACCESS_MS = 26.0, 1.0
SIZES = (1_000_000, 10_000_000)
STEPS = {"write": "writing", "epoch": "opening, joining and an epoch of targets"}
BATCH = 16
LINEAR, FLAT_MIB = 1.1, 48  # the table of row hashes grows with the rows


def rows(bench) -> Iterator[Row]:
    """Bytes and access at both V, then cost against size."""
    extracted = extraction(bench)
    arrays = KnowledgeStore.open(extracted).arrays
    for vocabulary in VOCABULARIES:
        folder = bench.scratch / "stores" / f"alpaca-{vocabulary}"
        arrays["ids"] = spread_ids(arrays["ids"], vocabulary)
        write_store(folder, arrays, {"vocabulary_size": vocabulary})
        yield from sizes(folder, arrays, vocabulary)
        yield access(folder, vocabulary)
    tiny = TinyBench(bench.scratch)
    known = extraction(tiny)
    for row in sizes(known, KnowledgeStore.open(known).arrays, tiny.vocabulary):
        yield replace(row, bar="", passes=None)  # the bar applies to real rows only
    yield access(known, tiny.vocabulary)
    yield from growth(folder)


def extraction(bench) -> Path:
    """The store of the first 2,000 rows, made once."""
    import pyarrow.parquet as parquet

    from first_distill.errors import UserError
    from scripts import knowledge

    model = bench.model(role="trained")
    folder = bench.scratch / "stores" / f"extracted-{model.name}"
    try:
        KnowledgeStore.open(folder)
    except UserError:  # there is none yet, or it is of another format
        folder.mkdir(parents=True, exist_ok=True)
        table = folder.with_suffix(".parquet")
        parquet.write_table(parquet.read_table(bench.prepared("alpaca")["train"])[:ROWS], table)
        words = ["--model", model, "--data", table, "--k", K]
        words += ["--block-length", bench.block, "--output-dir", folder]
        knowledge.main([str(word) for word in words])
    return folder


def spread_ids(ids: np.ndarray, vocabulary: int) -> np.ndarray:
    """The same tokens under other ids, spread over a larger vocabulary."""
    if vocabulary == VOCABULARIES[0]:
        return ids
    return np.random.default_rng(1).permutation(vocabulary).astype(np.uint32)[ids]


def sizes(folder: Path, arrays: dict, vocabulary: int) -> Iterator[Row]:
    """Whole folder, manifest counted, against three rivals' files of the same knowledge."""
    n = len(arrays["ids"])
    ours = sum(path.stat().st_size for path in folder.iterdir()) / n
    note = "rival without tail, rank, row hashes, checksums"
    narrow = vocabulary <= 2**16  # ids of two bytes
    bar = f"<= {AT_REST:g} B" if narrow else ""
    rivals = {
        "JSON lines": (json_lines(arrays), "", None, ""),
        "20 B raw": (raw(arrays), bar, ours <= AT_REST if narrow else None, note),
        "Megatron zstd-3": (megatron(arrays), "", None, note),
    }
    for name, (theirs, limit, passes, remark) in rivals.items():
        title = f"3 store against {name}, V = {vocabulary:,}"
        yield Row(
            title, ours, theirs / n, "B/position", theirs / n / ours, 0.0, limit, passes, remark
        )


def json_lines(arrays: dict) -> int:
    """The paper's released format: a line a row, id -> log-prob of each position.

    Its log-probs are float32; ours have been rounded to float16, which makes its lines shorter.
    """
    total, offsets = 0, arrays["offsets"]
    log_probs = arrays["log_probs"].astype(np.float32)
    for first, end in zip(offsets, offsets[1:], strict=False):
        positions = [
            dict(zip(map(str, ids), values, strict=True))
            for ids, values in zip(
                arrays["ids"][first:end].tolist(), log_probs[first:end].tolist(), strict=True
            )
        ]
        total += len(json.dumps({"top_log_probs": positions})) + 1
    return total


def raw(arrays: dict) -> int:
    """uint16 ids, with two more bits beyond 65,536, and float16 log-probs; in a flat file."""
    n, k = arrays["ids"].shape
    wide = int(arrays["ids"].max()) >= 2**16
    return n * (4 * k + (-(-2 * k // 8) if wide else 0))


def megatron(arrays: dict) -> int:
    """float16 log-probs, uint16 ids and a byte for bit 16 of each, one zstd-3 file."""
    import pyarrow

    ids = arrays["ids"].astype(np.uint32)
    columns = (arrays["log_probs"], ids.astype(np.uint16), (ids >> 16).astype(np.uint8))
    codec = pyarrow.Codec("zstd", compression_level=3)
    return len(codec.compress(b"".join(column.tobytes() for column in columns), asbytes=True))


def access(folder: Path, vocabulary: int) -> Row:
    """Single rows in random order, against reading the whole store."""
    single, whole = [], []
    for repetition in range(6):
        store = KnowledgeStore.open(folder)
        order = np.random.default_rng(repetition).permutation(len(store))[:200]
        seconds = []
        for row in order:
            start = time.perf_counter()
            store.rows(np.asarray([row]))
            seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        store.rows(np.arange(len(store)))
        whole.append(1e3 * (time.perf_counter() - start))
        single.append(1e3 * median(seconds))
    row = rates(
        f"3 one row of a mapped store, V = {vocabulary:,}",
        1,
        "ms",
        {"ours": single[1:], "theirs": whole[1:]},
        None,
        "against reading the whole store",
    )
    ours, theirs = median(single[1:]), median(whole[1:])
    verdict = {"bar": f"<= {ACCESS_MS:g} ms", "passes": ours <= ACCESS_MS}
    return replace(row, ours=ours, theirs=theirs, **verdict)


def growth(folder: Path) -> Iterator[Row]:
    """Stores of 1M and 10M positions, each step in a separate process."""
    small, large = SIZES
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for step in ("write", "epoch"):
            seconds, peaks = {size: [] for size in SIZES}, dict.fromkeys(SIZES, 0)
            for size in SIZES * REPETITIONS:  # by turns
                place = str(Path(scratch) / str(size))
                words = {"source": str(folder), "folder": place, "positions": size}
                found = isolated(f"benchmarks.store:{step}", **words)
                seconds[size].append(1e6 * found["seconds"] / size)
                peaks[size] = max(peaks[size], found["peak_bytes"] / 2**20)
            name = f"9 store: {STEPS[step]}, 10M against 1M"
            yield costs(name, seconds[large], seconds[small], "s/1M positions", LINEAR)
        more = peaks[large] - peaks[small]  # of the last step: a writer has its arrays in memory
        bar = f"at most {FLAT_MIB} MiB more"
        name = f"9 store: anonymous memory, {STEPS[step]}, 10M against 1M"
        ratio = peaks[large] / peaks[small]
        yield Row(name, peaks[large], peaks[small], "MiB", ratio, None, bar, more <= FLAT_MIB)


def write(source: str, folder: str, positions: int) -> dict:
    """Write a store of so many positions: the rows of `source` repeated, with new hashes."""
    part = KnowledgeStore.open(source).arrays
    times = -(-positions // len(part["ids"]))
    lengths = np.tile(np.diff(part["offsets"]), times)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    offsets = offsets[: np.searchsorted(offsets, positions) + 1]
    arrays = {name: np.concatenate([part[name]] * times)[: offsets[-1]] for name in BY_POSITION}
    hashes = np.random.default_rng(0).bytes(16 * (len(offsets) - 1))
    arrays |= {"offsets": offsets, "row_hashes": np.frombuffer(hashes, np.uint8).reshape(-1, 16)}
    start = time.perf_counter()
    write_store(folder, arrays, {"vocabulary_size": VOCABULARIES[1]})
    return {"seconds": time.perf_counter() - start}


def epoch(folder: str, **_: object) -> dict:
    """What a student does with it: open, find the rows by their hashes, one epoch's targets."""
    start = time.perf_counter()
    store = KnowledgeStore.open(folder)
    loss = KnowledgeLoss(store, K, "prob_softmax", {"c": 0.3})
    labels = np.split(np.zeros(store.offsets[-1]), store.offsets[1:-1])
    order = np.random.default_rng(0).permutation(len(store))
    rows = [EncodedRow("", None, 1, labels[i], store.row_hashes[i].tobytes()) for i in order]
    for first in range(0, len(rows), BATCH):
        loss.targets(rows[first : first + BATCH], "cpu")
    return {"seconds": time.perf_counter() - start}
