"""The knowledge store: a teacher's top-k at supervised positions, and nothing else.

What it holds, for N supervised positions of R rows:
  ids        (N, k) uint16 or uint32   token ids, most probable first
  log_probs  (N, k) float16            full-vocabulary log-softmax of those ids, natural log
  log_tail   (N,)   float16            log of the probability outside the k ids, its own scalar:
                                       1 - sum of rounded values can be negative
  gold_rank  (N,)   uint8              rank of the actual next token among the k; 255 = not there
`knowledge.safetensors` holds them in blocks of whole rows, packed (see packing.py) and mapped into
memory, never loaded. Rows are unpacked when they are asked for, each block once, into a file
without a name in the folder for temporary files (TMPDIR). Its tensors, for B blocks:
  blocks     (bytes,) uint8            the streams of all blocks, one after the other
  lengths    (B, streams) uint32       bytes of each stream
  checks     (B,) uint32               CRC-32 of each block
  block_rows (B,) uint32               rows of each block
  row_counts (R,) uint16 or uint32     positions of each row
  row_hashes (R, 16) uint8             content hash of each row's ids; students join on it
  ids        (bytes,) uint8            the ids by their frequency in this store
`manifest.json` is written last and names the sha256 of every file and of what it was made from.
The mask convention: the first position of a row is its last prompt token (it predicts the first
response token), the last position is its last token read (it predicts EOS).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from scripts.first.errors import UserError, writing
from scripts.first.files import (
    atomic_path,
    sha256_file,
)
from scripts.first.knowledge.store_check import NO_RANK, check_arrays, check_offsets
from scripts.first.knowledge.store_file import Arrays, open_file, scratch_array, write_file
from scripts.first.provenance import records

FORMAT = 2
FILE = "knowledge.safetensors"
MANIFEST = "manifest.json"
BY_POSITION = ("ids", "log_probs", "log_tail", "gold_rank")
LOG_TAIL_FLOOR = -60.0  # stands for "no tail at all" (k = V), where the log is -infinity
BLOCK = 2048  # positions, and the rest of the last row: as few as keep the packed size low


class KnowledgeStore:
    """Knowledge of R rows in blocks of whole rows: a verified file, or arrays in memory.

    k: tokens at each position. offsets (R + 1,) int64: row r owns positions offsets[r] to
    offsets[r + 1] - 1. row_hashes (R, 16) uint8. largest_id: of those stored, -1 without any.
    """

    def __init__(self, arrays: Arrays, manifest: dict):
        self.k, self.manifest = arrays["ids"].shape[1], manifest
        self.largest_id = int(arrays["ids"].max(initial=0)) if arrays["ids"].size else -1
        self.offsets, self.row_hashes = arrays["offsets"], arrays["row_hashes"]
        self.block_starts = _block_starts(self.offsets)
        self._known = {name: arrays[name] for name in BY_POSITION}
        self._block, self._cut = self._part_of_arrays, dict
        self._unpacked = np.ones(len(self.block_starts) - 1, dtype=bool)

    @classmethod
    def open(cls, folder: str | Path) -> KnowledgeStore:
        """Open and verify; UserError for a missing, truncated, altered or impossible store.

        What a block holds is checked when it is unpacked.
        """
        manifest, path = verified(Path(folder))
        store = cls.__new__(cls)
        store.manifest, store._known, store._cut = manifest, None, dict
        store.__dict__ |= open_file(path, manifest["vocabulary_size"])
        store._unpacked = np.zeros(len(store.block_starts) - 1, dtype=bool)
        return store

    def _part_of_arrays(self, block: int) -> Arrays:
        first, end = self.offsets[self.block_starts[block : block + 2]]
        return {name: array[first:end] for name, array in self._known.items()}

    def _unpack(self, blocks: np.ndarray) -> None:
        """Put the arrays of these blocks where `rows` finds them."""
        for number in sorted(set(blocks[~self._unpacked[blocks]].tolist())):
            block = self._block(number)
            if self._known is None:
                n = self.positions
                self._known = {
                    name: scratch_array((n, *array.shape[1:]), array.dtype)
                    for name, array in block.items()
                }
            for name, part in self._part_of_arrays(number).items():
                part[:] = block[name]
            self._unpacked[number] = True

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def positions(self) -> int:
        """N, the supervised positions of all rows."""
        return int(self.offsets[-1])

    def blocks(self) -> Iterator[tuple[slice, Arrays]]:
        """Yield (rows, their arrays by position) of one block after the other."""
        starts = self.block_starts.tolist()
        for block, span in enumerate(zip(starts, starts[1:], strict=False)):
            yield slice(*span), self._cut(self._block(block))

    def column(self, name: str) -> np.ndarray:
        """One whole array by position: in memory, as large as it is."""
        return self._columns(name)[name]

    @property
    def arrays(self) -> Arrays:
        """All arrays in memory."""
        known = self._columns(*BY_POSITION)
        return {**known, "offsets": self.offsets, "row_hashes": self.row_hashes}

    def _columns(self, *names: str) -> Arrays:
        """Whole arrays by position; each block is unpacked once."""
        parts = [[block[name] for name in names] for _, block in self.blocks()]
        if not parts:
            return dict.fromkeys(names, np.zeros((0, self.k), np.float16))
        return dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))

    def probabilities(self, k: int) -> np.ndarray:
        """(N, k) float64 full-vocabulary probabilities of the k most probable tokens."""
        self.check_k(k)
        return np.exp(self.column("log_probs")[:, :k].astype(np.float64))

    @cached_property
    def _by_hash(self) -> np.ndarray:
        """Rows in the order of their hashes; equal ones in their own order."""
        return np.argsort(_comparable(self.row_hashes), kind="stable")

    def rows_of(self, hashes: np.ndarray) -> np.ndarray:
        """(M,) rows with these content hashes (M, 16) uint8; -1 where the teacher never saw it.

        Of equal rows, the last.
        """
        wanted, own = _comparable(hashes), _comparable(self.row_hashes)
        if not len(own):
            return np.full(len(wanted), -1)
        place = np.searchsorted(own, wanted, side="right", sorter=self._by_hash) - 1
        rows = self._by_hash[np.maximum(place, 0)]
        return np.where(own[rows] == wanted, rows, -1)

    def rows(self, indices: np.ndarray) -> Arrays:
        """Arrays by position of these rows, row after row."""
        self._unpack(np.searchsorted(self.block_starts, indices, side="right") - 1)
        first, counts = self.offsets[indices], self.offsets[indices + 1] - self.offsets[indices]
        starts = np.cumsum(counts) - counts
        positions = np.repeat(first - starts, counts) + np.arange(counts.sum())
        return self._cut({name: array[positions] for name, array in self._known.items()})

    def answer_positions(self) -> np.ndarray:
        """(N,) bool: the first supervised position of each row."""
        mask = np.zeros(self.positions, dtype=bool)
        mask[self.offsets[:-1]] = True
        return mask

    def scored_positions(self, scored: str) -> np.ndarray:
        """(N,) bool of positions that the temperature search scores (section 4.2).

        `answer`: the first position of each row. `response`: every response token, that is all
        positions but each row's last, which predicts EOS.
        """
        if scored == "answer":
            return self.answer_positions()
        if scored == "response":
            mask = np.ones(self.positions, dtype=bool)
            mask[self.offsets[1:] - 1] = False
            return mask
        raise ValueError(f"scored must be answer or response, not {scored!r}")

    def slice(self, k: int) -> KnowledgeStore:
        """A view of the k most probable tokens; the tail takes what is left out."""
        self.check_k(k)
        view = type(self).__new__(type(self))
        view.__dict__ |= self.__dict__
        view._unpacked = self._unpacked.copy()  # what one unpacks is not there for the other
        view.k, view._cut = k, lambda known: _sliced(self._cut(known), k)
        return view

    def check_k(self, k: int) -> None:
        """UserError unless k tokens are stored at each position."""
        if not 1 <= k <= self.k:
            raise UserError(
                f"k = {k}: the knowledge store holds the top {self.k}: "
                "set knowledge.stored_k to at least k and extract again"
            )


def _comparable(hashes: np.ndarray) -> np.ndarray:
    """(R,) byte strings that sort and compare like the hashes (R, 16): all have one length."""
    return np.ascontiguousarray(hashes).view("S16")[:, 0]


def _block_starts(offsets: np.ndarray) -> np.ndarray:
    """(B + 1,) int64 first row of each block, and R: rows until there are BLOCK positions."""
    starts, rows = [0], len(offsets) - 1
    while starts[-1] < rows:
        end = np.searchsorted(offsets, offsets[starts[-1]] + BLOCK)
        starts.append(min(int(end), rows))
    return np.asarray(starts)


def _sliced(block: Arrays, k: int) -> Arrays:
    left_out = np.exp(block["log_probs"][:, k:].astype(np.float64)).sum(axis=1)
    tail = np.exp(block["log_tail"].astype(np.float64)) + left_out
    with np.errstate(divide="ignore"):
        log_tail = np.minimum(np.maximum(np.log(tail), LOG_TAIL_FLOOR), 0)
    return {
        "ids": block["ids"][:, :k],
        "log_probs": block["log_probs"][:, :k],
        "log_tail": log_tail.astype(np.float16),
        "gold_rank": np.where(block["gold_rank"] >= k, NO_RANK, block["gold_rank"]).astype(
            np.uint8
        ),
    }


def write_store(
    folder: str | Path, arrays: Arrays, manifest: dict, made_from: Sequence[str | Path] = ()
) -> None:
    """Write a store; the manifest, its record, comes last: a folder without one is unfinished."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    check_offsets(arrays["offsets"], len(arrays["log_probs"]))
    store = KnowledgeStore(arrays, manifest)
    for _, block in store.blocks():
        check_arrays(block, manifest["vocabulary_size"])
    with atomic_path(folder / FILE) as temporary:
        write_file(temporary, store)
    counts = {"k": store.k, "positions": store.positions, "rows": len(store)}
    records.write(folder / MANIFEST, {"format": FORMAT, **manifest, **counts}, [FILE], made_from)


def verified(folder: Path) -> tuple[dict, Path]:
    """Manifest and file of a store, whose hash is the manifest's; UserError for any other."""
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"missing knowledge store: {folder}: it has no {MANIFEST}, so it was never "
            "finished: run its rule in rules/knowledge.smk again"
        )
    manifest = records.read(folder / MANIFEST)
    path = folder / FILE
    try:
        size, digest = (manifest["files"][FILE][key] for key in ("bytes", "sha256"))
        manifest["vocabulary_size"] + 0
    except (KeyError, TypeError):
        raise UserError(
            f"incomplete manifest: {folder / MANIFEST}: it does not describe {FILE}: "
            f"delete {folder} and extract again"
        ) from None
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"knowledge store of format {manifest.get('format')}: {folder}: this version reads "
            f"format {FORMAT}: delete it and extract again"
        )
    if not path.is_file():
        raise UserError(
            f"missing file of a knowledge store: {path}: delete {folder}, extract again"
        )
    if path.stat().st_size != size or sha256_file(path) != digest:
        raise UserError(
            f"altered knowledge store: {path}: its hash is not the one in {MANIFEST}: "
            f"delete {folder} and extract again"
        )
    return manifest, path


def measured_bytes(store: KnowledgeStore, k: int) -> int:
    """Bytes of a store of the k most probable tokens, really written to a temporary file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        with writing(path):
            write_file(path, store.slice(k))
        return path.stat().st_size
