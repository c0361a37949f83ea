"""The knowledge store: a teacher's top-k at supervised positions.

`knowledge.safetensors` holds flat arrays, for N supervised positions of R rows:
  ids        (N, k) uint16, uint32 where V > 65,536   token ids, most probable first
  log_probs  (N, k) float16     full-vocabulary log-softmax of those ids, natural logarithm
  log_tail   (N,) float16       log of the probability outside the k ids, not of 1 minus their sum,
                                which rounding can make negative
  gold_rank  (N,) uint8         rank of the actual next token among the k; 255: not among them
  log_tail_t (N,) float32       where extraction got a temperature T of the logits, the
                                manifest's `logit_temperature`: log_tail of softmax(z / T)
  padding    (N,) float32       where the head has outputs that are no tokens of both models,
                                and only there: their probability, which is part of the tail's
  offsets    (R + 1,) int64     row r has positions offsets[r] to offsets[r + 1] - 1
  row_hashes (R, 16) uint8      content hash of each row's ids; students join on it
That is 27 bytes a position for k = 5 (37 with uint32 ids) and 24 a row. `manifest.json` is written
last and names the sha256 of the file and of what it was made from. The first position of a row is
its last prompt token (it predicts the first response token), the last position is its last token
read (it predicts EOS).

Where the manifest has `draws`, the ids are those that so many draws from the teacher fell on, and
log_probs the logs of their shares; -60 is a share of 0 (sampling.py).

The k probabilities at T follow from those at T = 1, up to a factor: they are p^(1/T), as log p is z
less a constant. The factor is what log_tail_t is for: the other V - k logits are gone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from first_distill.errors import UserError
from first_distill.files import atomic_path
from first_distill.models.batching import spans
from first_distill.provenance import records

FORMAT = 3
FILE = "knowledge.safetensors"
MANIFEST = "manifest.json"
BY_POSITION = ("ids", "log_probs", "log_tail", "gold_rank")
OPTIONAL = ("log_tail_t", "padding")
NO_RANK = 255
LOG_TAIL_FLOOR = -60.0  # stands for no tail at all (k = V), where the log is -infinity
# float16 keeps 11 bits of a log-probability: k rounded ones may sum to a little more than 1.
MASS_TOLERANCE = 0.01
CHECKED_AT_ONCE = 2**16  # positions

Arrays = dict[str, np.ndarray]


class KnowledgeStore:
    """Knowledge of R rows: the arrays of a verified file, mapped into memory, or any others.

    k: tokens at each position. manifest: the content of manifest.json. arrays: by name, see above.
    """

    def __init__(self, arrays: Arrays, manifest: dict):
        self.arrays, self.manifest = arrays, manifest
        self.k = arrays["ids"].shape[1]
        self.offsets, self.row_hashes = arrays["offsets"], arrays["row_hashes"]

    @classmethod
    def open(cls, folder: str | Path) -> KnowledgeStore:
        """Open and verify; UserError for a missing, truncated, altered or impossible store."""
        manifest = records.read(Path(folder) / MANIFEST)
        path = records.verified(Path(folder) / FILE)
        try:
            if manifest["format"] != FORMAT:
                raise ValueError(f"format {manifest['format']} instead of {FORMAT}")
            arrays = mapped(path)
            check_arrays(arrays, manifest["vocabulary_size"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else error
            raise UserError(f"unusable knowledge store: {path}: {what}: extract it again") from None
        return cls(arrays, manifest)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def probabilities(self, k: int) -> np.ndarray:
        """(N, k) float64 full-vocabulary probabilities of the k most probable tokens."""
        self.check_k(k)
        return np.exp(self.arrays["log_probs"][:, :k].astype(np.float64))

    @cached_property
    def row_by_hash(self) -> dict[bytes, int]:
        """Rows by their content hash; of equal rows, the last."""
        return {key: row for row, key in enumerate(map(bytes, self.row_hashes))}

    def rows(self, indices: np.ndarray) -> Arrays:
        """Arrays by position of these rows, row after row."""
        positions = positions_of(self.offsets, indices)
        return {name: self.arrays[name][positions] for name in by_position(self.arrays)}

    @property
    def logit_temperature(self) -> float:
        """T of `log_tail_t`; UserError where the store was made without one."""
        t = self.manifest.get("logit_temperature")
        if "log_tail_t" not in self.arrays or not (isinstance(t, float) and t > 0):
            raise UserError(
                "no tail at a temperature: the knowledge store lacks log_tail_t: extract it again "
                "with the teacher's validation.json (--posthoc)"
            )
        return t

    @property
    def draws(self) -> int:
        """Draws at each position of a sampled store; UserError for a store of the top k."""
        draws = self.manifest.get("draws")
        if not (isinstance(draws, int) and draws > 0):
            raise UserError(
                "no samples: the knowledge store has the top k: extract it again with --draws"
            )
        return draws

    def check_k(self, k: int) -> None:
        """UserError unless k tokens are stored at each position."""
        if not 1 <= k <= self.k:
            raise UserError(
                f"k = {k}: the knowledge store holds the top {self.k}: "
                "set knowledge.stored_k to at least k and extract again"
            )


def by_position(arrays: Arrays) -> list[str]:
    """Names of the arrays with one entry a position."""
    return [*BY_POSITION, *(name for name in OPTIONAL if name in arrays)]


def positions_of(offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Positions of these rows, row after row, from offsets (R + 1,)."""
    first, counts = offsets[rows], offsets[rows + 1] - offsets[rows]
    starts = np.cumsum(counts) - counts
    return np.repeat(first - starts, counts) + np.arange(counts.sum())


def id_dtype(vocabulary_size: int) -> type:
    """Smallest unsigned type that holds every id."""
    return np.uint16 if vocabulary_size <= 2**16 else np.uint32


def store_bytes(positions: int, rows: int, k: int, vocabulary_size: int) -> int:
    """Bytes of the arrays of a store with a temperature; the header adds less than 1 kB."""
    return positions * ((np.dtype(id_dtype(vocabulary_size)).itemsize + 2) * k + 7) + 24 * rows + 8


def mapped(path: Path) -> Arrays:
    """Arrays of a safetensors file, mapped into memory: what is not read takes none."""
    content = np.asarray(np.memmap(path, np.uint8, "r"))
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:start].tobytes())
    arrays = {}
    for name in header.keys() - {"__metadata__"}:
        tensor = header[name]
        first, end = (start + offset for offset in tensor["data_offsets"])
        dtype = f"<{tensor['dtype'][0].lower()}{int(tensor['dtype'][1:]) // 8}"  # U16: <u2
        arrays[name] = content[first:end].view(dtype).reshape(tensor["shape"])
    return arrays


def write_store(
    folder: str | Path, arrays: Arrays, manifest: dict, made_from: Sequence[str | Path] = ()
) -> None:
    """Write a store, its manifest (a record) last; ValueError for arrays that cannot be one."""
    check_arrays(arrays, manifest["vocabulary_size"])
    folder = Path(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    with atomic_path(folder / FILE) as temporary:
        save_file(arrays, str(temporary))
    (n, k), rows = arrays["ids"].shape, len(arrays["row_hashes"])
    content = {"format": FORMAT, **manifest, "k": k, "positions": n, "rows": rows}
    records.write(folder / MANIFEST, content, [FILE], made_from)


def check_arrays(arrays: Arrays, vocabulary_size: int) -> None:
    """ValueError unless a store's arrays can be a teacher's knowledge of V tokens.

    A hash says that a file is unaltered, not that the program that wrote it was right.
    """
    (n, k), rows = arrays["ids"].shape, len(arrays["row_hashes"])
    layout = {
        "ids": (id_dtype(vocabulary_size), (n, k)),
        "log_probs": (np.float16, (n, k)),
        "log_tail": (np.float16, (n,)),
        "gold_rank": (np.uint8, (n,)),
        "offsets": (np.int64, (rows + 1,)),
        "row_hashes": (np.uint8, (rows, 16)),
    }
    layout |= {name: (np.float32, (n,)) for name in OPTIONAL if name in arrays}
    for name, (dtype, shape) in layout.items():
        found = arrays[name].dtype, arrays[name].shape
        if found != (dtype, shape) or k < 1:
            raise ValueError(f"{name}: {found[0]} {found[1]} instead of {dtype.__name__} {shape}")
    offsets = arrays["offsets"]
    if offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) < 1).any():
        raise ValueError("row offsets must ascend from 0 to the number of positions")
    for span in spans(n, CHECKED_AT_ONCE) if n else ():
        part = {name: arrays[name][span] for name in by_position(arrays)}
        _check_positions(part, vocabulary_size)


def _check_positions(arrays: Arrays, vocabulary_size: int) -> None:
    ids, gold_rank = np.sort(arrays["ids"], axis=1), arrays["gold_rank"]
    # By rank, (k, N): numpy takes ten times as long over many short rows.
    log_probs = np.ascontiguousarray(arrays["log_probs"].T).astype(np.float32)
    log_tail = arrays["log_tail"].astype(np.float32)
    largest = int(ids.max())
    with np.errstate(over="ignore"):
        mass = (np.exp(log_probs).sum(axis=0) + np.exp(log_tail)).max()
    if largest >= vocabulary_size:
        raise ValueError(f"id {largest} at or above V = {vocabulary_size}")
    if (ids[:, 1:] == ids[:, :-1]).any():
        raise ValueError("an id is repeated within a position")
    if not (log_probs.max() <= 0 and log_probs.min() > -np.inf):
        raise ValueError("log-probabilities must be finite and at most 0")
    if (log_probs[1:] > log_probs[:-1]).any():
        raise ValueError("log-probabilities must descend within a position")
    tails = (log_tail, arrays.get("log_tail_t", log_tail))
    if not all(tail.max() <= 0 for tail in tails):  # NaN is not
        raise ValueError("the tail's probability must be at most 1")
    if not mass <= 1 + MASS_TOLERANCE:
        raise ValueError(f"the probabilities of a position sum to {mass:.3f}")
    padding = arrays.get("padding", np.zeros(1))
    if not (padding.min() >= 0 and padding.max() <= 1):
        raise ValueError("the probability of outputs without a token must lie in [0, 1]")
    if not ((gold_rank < len(log_probs)) | (gold_rank == NO_RANK)).all():
        raise ValueError(f"rank of a next token neither below k nor {NO_RANK}")
