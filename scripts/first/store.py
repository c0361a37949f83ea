"""The knowledge store: a teacher's top-k at supervised positions, and nothing else.

`knowledge.safetensors` holds, for N supervised positions of R rows:
  ids        (N, k) uint16 or uint32   token ids, most probable first
  log_probs  (N, k) float16            full-vocabulary log-softmax of those ids, natural log
  log_tail   (N,)   float16            log of the probability outside the k ids, its own scalar:
                                       1 - sum of rounded values can be negative
  gold_rank  (N,)   uint8              rank of the actual next token among the k; 255 = not there
  offsets    (R + 1,) int64            row r owns positions offsets[r] .. offsets[r + 1] - 1
  row_hashes (R, 16) uint8             content hash of each row's ids; students join on it
`manifest.json` is written last and names the sha256 of every file and of what it was made from.
The mask convention: the first position of a row is its last prompt token (it predicts the first
response token), the last position is its last token read (it predicts EOS).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.first.errors import UserError
from scripts.first.files import (
    atomic_path,
    describe_files,
    read_json,
    sha256_file,
    write_json,
)

FILE = "knowledge.safetensors"
MANIFEST = "manifest.json"
NO_RANK = 255
LOG_TAIL_FLOOR = -60.0  # stands for "no tail at all" (k = V), where the log is -infinity


def id_dtype(vocabulary_size: int) -> type:
    """Smallest unsigned type that holds every id."""
    return np.uint16 if vocabulary_size <= 2**16 else np.uint32


def write_store(folder: str | Path, arrays: dict[str, np.ndarray], manifest: dict) -> None:
    """Write a store; the manifest comes last, so a folder without one is unfinished."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    check_arrays(arrays, manifest["vocabulary_size"])
    with atomic_path(folder / FILE) as temporary:
        save_file(arrays, str(temporary))
    files = describe_files(folder, [FILE])
    n, k = arrays["ids"].shape
    rows = len(arrays["offsets"]) - 1
    write_json(
        folder / MANIFEST, {**manifest, "k": k, "positions": n, "rows": rows, "files": files}
    )


def check_arrays(arrays: dict[str, np.ndarray], vocabulary_size: int) -> None:
    """Refuse what no teacher can have said: ids outside V, unsorted or positive log-probs."""
    log_probs = arrays["log_probs"].astype(np.float32)
    if arrays["ids"].size and int(arrays["ids"].max()) >= vocabulary_size:
        raise ValueError(f"id {int(arrays['ids'].max())} at or above V = {vocabulary_size}")
    if not np.isfinite(log_probs).all() or (log_probs > 0).any():
        raise ValueError("log-probabilities must be finite and at most 0")
    if (np.diff(log_probs, axis=1) > 0).any():
        raise ValueError("log-probabilities must descend within a position")
    if (arrays["log_tail"].astype(np.float32) > 0).any():
        raise ValueError("the tail's probability must be at most 1")
    if arrays["offsets"][0] != 0 or arrays["offsets"][-1] != len(log_probs):
        raise ValueError("row offsets must run from 0 to the number of positions")


class KnowledgeStore:
    """A store, verified against its manifest when it is opened."""

    def __init__(self, arrays: dict[str, np.ndarray], manifest: dict):
        self.arrays = arrays
        self.manifest = manifest
        self.ids = arrays["ids"]
        self.log_tail = arrays["log_tail"]
        self.gold_rank = arrays["gold_rank"]
        self.offsets = arrays["offsets"]
        self.row_hashes = arrays["row_hashes"]
        self._row_of = {h.tobytes(): r for r, h in enumerate(self.row_hashes)}

    @classmethod
    def open(cls, folder: str | Path) -> KnowledgeStore:
        """Open and verify; UserError for a missing, truncated or altered store."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise UserError(
                f"missing knowledge store: {folder}: it has no {MANIFEST}, so it was never "
                "finished: run its rule in rules/knowledge.smk again"
            )
        manifest = read_json(folder / MANIFEST)
        path = folder / FILE
        try:
            size, digest = (manifest["files"][FILE][key] for key in ("bytes", "sha256"))
        except (KeyError, TypeError):
            raise UserError(
                f"incomplete manifest: {folder / MANIFEST}: it does not describe {FILE}: "
                f"delete {folder} and extract again"
            ) from None
        if not path.is_file():
            raise UserError(
                f"missing file of a knowledge store: {path}: delete {folder}, extract again"
            )
        if path.stat().st_size != size or sha256_file(path) != digest:
            raise UserError(
                f"altered knowledge store: {path}: its hash is not the one in {MANIFEST}: "
                f"delete {folder} and extract again"
            )
        try:
            return cls(load_file(path), manifest)
        except SafetensorError as error:
            raise UserError(f"unreadable knowledge store: {path}: {error}") from None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def k(self) -> int:
        """How many tokens are stored at each position."""
        return self.ids.shape[1]

    @property
    def log_probs(self) -> np.ndarray:
        """(N, k) float32 natural log-probabilities."""
        return self.arrays["log_probs"].astype(np.float32)

    def probabilities(self, k: int) -> np.ndarray:
        """(N, k) float64 full-vocabulary probabilities of the k most probable tokens."""
        self._check_k(k)
        return np.exp(self.arrays["log_probs"][:, :k].astype(np.float64))

    def row_index(self, row_hash: bytes) -> int:
        """Row with this content hash; KeyError where the teacher never saw it."""
        return self._row_of[row_hash]

    def row(self, index: int, k: int | None = None) -> dict[str, np.ndarray]:
        """ids, log_probs, log_tail and gold_rank of one row's positions, at most k tokens."""
        self._check_k(k or self.k)
        span = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return {
            "ids": self.ids[span, :k],
            "log_probs": self.arrays["log_probs"][span, :k].astype(np.float32),
            "log_tail": self.log_tail[span],
            "gold_rank": self.gold_rank[span],
        }

    def answer_positions(self) -> np.ndarray:
        """(N,) bool: the first supervised position of each row."""
        mask = np.zeros(len(self.ids), dtype=bool)
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
            mask = np.ones(len(self.ids), dtype=bool)
            mask[self.offsets[1:] - 1] = False
            return mask
        raise ValueError(f"scored must be answer or response, not {scored!r}")

    def slice(self, k: int) -> dict[str, np.ndarray]:
        """The arrays of a store of the k most probable tokens; the tail takes what is left out."""
        self._check_k(k)
        log_probs = self.arrays["log_probs"]
        left_out = np.exp(log_probs[:, k:].astype(np.float64)).sum(axis=1)
        tail = np.exp(self.log_tail.astype(np.float64)) + left_out
        with np.errstate(divide="ignore"):
            log_tail = np.minimum(np.maximum(np.log(tail), LOG_TAIL_FLOOR), 0)
        outside = self.gold_rank >= k
        return {
            **self.arrays,
            "ids": np.ascontiguousarray(self.ids[:, :k]),
            "log_probs": np.ascontiguousarray(log_probs[:, :k]),
            "log_tail": log_tail.astype(np.float16),
            "gold_rank": np.where(outside, NO_RANK, self.gold_rank).astype(np.uint8),
        }

    def _check_k(self, k: int) -> None:
        if not 1 <= k <= self.k:
            raise UserError(
                f"k = {k}: the knowledge store holds the top {self.k}: "
                "set knowledge.stored_k to at least k and extract again"
            )


def measured_bytes(store: KnowledgeStore, k: int) -> int:
    """Bytes of a store of the k most probable tokens, really written to a temporary file."""
    import tempfile

    from safetensors.numpy import save_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        save_file(store.slice(k), str(path))
        return path.stat().st_size
