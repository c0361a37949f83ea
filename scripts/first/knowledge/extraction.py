"""Knowledge of one split by one job or several, killed and started again or not: the same bytes.

The last bits of a row's numbers depend on the batch that it stands in. So batches are made once,
from the whole split, and each of N jobs takes a fixed share of them. A job's part is a knowledge
store of its rows whose manifest says further what decided its numbers; `merge` puts parts together.
Within a job, finished batches are kept as sealed blocks in its state folder.
"""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scripts.first.errors import UserError
from scripts.first.knowledge.store import BY_POSITION, KnowledgeStore
from scripts.first.knowledge.store_check import id_dtype
from scripts.first.knowledge.store_file import scratch_array
from scripts.first.models.batching import inference_batches
from scripts.first.models.encoding import EncodedRow
from scripts.first.runtime.state import differences, read_seal, seal_part, seconds_between_parts

WHOLE = (1, 1)


def parse_part(text: str) -> tuple[int, int]:
    """`2-of-3` as (2, 3); UserError where it names no part."""
    match = re.fullmatch(r"([1-9]\d*)-of-([1-9]\d*)", text)
    part = tuple(map(int, match.groups())) if match else (1, 0)
    if part[0] > part[1]:
        raise UserError(f"part = {text}: --part: it must be I-of-N with I from 1 to N")
    return part


def batches_of(
    encoded: list[EncodedRow], max_tokens: int, part: tuple[int, int] = WHOLE
) -> list[np.ndarray]:
    """Rows (indices into the whole split) of each batch of one part, long rows first.

    Every batch goes to the part with the fewest padded tokens so far, large batches first. A part
    may be empty: where there are more parts than batches.
    """
    lengths = np.asarray([len(row.input_ids) for row in encoded])
    batches = inference_batches(lengths, max_tokens)
    tokens = [len(rows) * int(lengths[rows].max()) for rows in batches]
    index, parts = part
    loads = [(0, owner) for owner in range(1, parts + 1)]
    chosen = []
    for number in sorted(range(len(batches)), key=lambda n: -tokens[n]):
        load, owner = heapq.heappop(loads)
        heapq.heappush(loads, (load + tokens[number], owner))
        if owner == index:
            chosen.append(number)
    return [batches[number] for number in sorted(chosen)]


def joined(arrays: list[np.ndarray]) -> np.ndarray:
    """Integers of several arrays one after the other; (0,) of none."""
    return np.concatenate([np.zeros(0, np.int64), *arrays])


def positions_of(offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Positions in a store of these rows' supervised positions, row after row."""
    return joined([np.arange(offsets[row], offsets[row + 1]) for row in rows])


def empty_arrays(encoded: list[EncodedRow], k: int, vocabulary_size: int) -> dict[str, np.ndarray]:
    """A store's arrays for these rows, offsets and row hashes filled in, the rest zero.

    What grows with the positions is in files without a name (see scratch_array), not in memory.
    """
    offsets = np.concatenate([[0], np.cumsum([len(row.labels) for row in encoded])])
    n = int(offsets[-1])
    hashes = np.frombuffer(b"".join(row.row_hash for row in encoded), np.uint8)

    return {
        "ids": scratch_array((n, k), id_dtype(vocabulary_size)),
        "log_probs": scratch_array((n, k), np.float16),
        "log_tail": scratch_array((n,), np.float16),
        "gold_rank": scratch_array((n,), np.uint8),
        "offsets": offsets.astype(np.int64),
        "row_hashes": hashes.reshape(-1, 16).copy(),
    }


class Blocks:
    """Finished batches of one job, in its state folder; without a folder nothing is kept."""

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.pending: list[tuple[int, dict[str, np.ndarray]]] = []
        self.saved_at = time.monotonic()
        self.seconds_between = seconds_between_parts()

    def read(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Yield (numbers of batches, their arrays by position, one batch after the other)."""
        from safetensors.numpy import load_file

        from scripts.first.models.checkpoints import readable

        for path in sorted(self.folder.glob("block-*.safetensors")) if self.folder else []:
            if read_seal(path) is not None:
                with readable(path):
                    values = load_file(path)
                yield values.pop("batches"), values

    def add(self, number: int, values: dict[str, np.ndarray]) -> None:
        """Keep a finished batch; save when FIRST_CHECKPOINT_MINUTES have passed."""
        if self.folder:
            self.pending.append((number, values))
            if time.monotonic() - self.saved_at >= self.seconds_between:
                self.save()

    def save(self) -> None:
        """Seal what has been finished since the last block."""
        from safetensors.numpy import save_file

        if not self.pending:
            return
        numbers, values = zip(*self.pending, strict=True)
        block = {name: np.concatenate([value[name] for value in values]) for name in BY_POSITION}
        block["batches"] = np.asarray(numbers, dtype=np.int64)
        path = self.folder / f"block-{numbers[0]:06d}.safetensors"
        seal_part(path, lambda temporary: save_file(block, str(temporary)), {})
        self.pending, self.saved_at = [], time.monotonic()


def device_kind() -> str:
    """What computes: the GPU's model, or the CPU with its threads, which cut sums differently."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu, threads: {torch.get_num_threads()}"


def merge(folders: list[Path], encoded: list[EncodedRow], facts: dict) -> dict[str, np.ndarray]:
    """All arrays of a store from its parts' folders, in any order.

    Each part must be whole, unaltered, made by these facts and, all of them, on one kind of device,
    hold the rows that its number stands for, and be given once. UserError, which names the folder,
    for any other.
    """
    arrays = empty_arrays(encoded, facts["k"], facts["vocabulary_size"])
    parts = len(folders)
    wanted = {f"{index}-of-{parts}": (index, parts) for index in range(1, parts + 1)}
    expected = dict(facts)
    for folder in folders:
        store = KnowledgeStore.open(folder)
        name = store.manifest.get("part", "a whole store")
        if name not in wanted:
            raise UserError(
                f"wrong or repeated part: {folder}: it is {name}: "
                f"give each of 1-of-{parts} to {parts}-of-{parts} once"
            )
        expected.setdefault("device", store.manifest.get("device"))
        found = {fact: store.manifest.get(fact) for fact in expected}
        if found != expected:
            raise UserError(
                f"part of another extraction: {folder}: it differs in "
                f"{', '.join(differences(found, expected))}: delete it and run its job again"
            )
        rows = np.sort(joined(batches_of(encoded, facts["max_tokens"], wanted.pop(name))))
        if not np.array_equal(store.row_hashes, arrays["row_hashes"][rows]):
            raise UserError(
                f"part of other rows: {folder}: they are not those of {name}: "
                "delete it and run its job again"
            )
        for numbers, block in store.blocks():
            where = positions_of(arrays["offsets"], rows[numbers])
            for name, values in block.items():
                arrays[name][where] = values
    return arrays
