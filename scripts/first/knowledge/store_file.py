"""The file of a knowledge store: written block by block, read by mapping it (see store.py).

Neither holds more than a block in memory, whatever the size of the store.
"""

from __future__ import annotations

import math
import os
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.first.errors import UserError
from scripts.first.knowledge.packing import n_streams, pack, pack_ids, unpack, unpack_ids
from scripts.first.knowledge.store_check import check_arrays, check_offsets, id_dtype

if TYPE_CHECKING:
    from scripts.first.knowledge.store import KnowledgeStore

Arrays = dict[str, np.ndarray]
# What numpy and zlib raise for content that is none of a store.
_UNREADABLE = (KeyError, ValueError, IndexError, zlib.error)


def write_file(path: Path, store: KnowledgeStore) -> None:
    """Write a store's rows; the same rows give the same bytes."""
    from safetensors.numpy import save_file

    counts = np.zeros(store.largest_id + 1, np.int64)
    for _, block in store.blocks():
        np.add.at(counts, block["ids"].ravel(), 1)
    ids, stream = pack_ids(counts)
    ranks = np.zeros(len(counts), np.uint32)
    ranks[ids] = np.arange(len(ids))
    lengths, checks = [], []
    with tempfile.TemporaryFile(dir=path.parent) as spool:  # without a name: nothing can be left
        for _, block in store.blocks():
            streams = pack(block, ranks)
            lengths.append([len(stream) for stream in streams])
            packed = b"".join(streams)
            checks.append(zlib.crc32(packed))
            spool.write(packed)
        spool.flush()
        tensors = {
            "blocks": np.memmap(spool, np.uint8, "r") if lengths else np.zeros(0, np.uint8),
            "lengths": np.asarray(lengths, np.uint32).reshape(-1, n_streams(store.k)),
            "checks": np.asarray(checks, np.uint32),
            "block_rows": np.diff(store.block_starts).astype(np.uint32),
            "row_counts": _smallest(np.diff(store.offsets)),
            "row_hashes": np.ascontiguousarray(store.row_hashes),
            "ids": stream,
        }
        save_file(tensors, str(path))


def _smallest(counts: np.ndarray) -> np.ndarray:
    return counts.astype(np.uint16 if counts.max(initial=0) < 2**16 else np.uint32)


def open_file(path: Path, vocabulary_size: int) -> dict:
    """What makes a KnowledgeStore of a verified file: its attributes, by name.

    The file stays mapped. UserError where it is no store's, and, from `_block(number)`, which
    unpacks a block, where that has been altered since the file was verified or where no teacher can
    have said what it holds.
    """
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(str(path), "np")
        tensor = {name: file.get_tensor(name) for name in file.keys() if name != "blocks"}
        blocks, lengths = file.get_slice("blocks"), tensor["lengths"]
        ids = unpack_ids(tensor["ids"])
        k, own = divmod(lengths.shape[1] - n_streams(0), 2)
        ends = np.cumsum(lengths, dtype=np.int64).reshape(lengths.shape)
        offsets, block_starts = _offsets(tensor["row_counts"]), _offsets(tensor["block_rows"])
        check_offsets(offsets, int(offsets[-1]))
        check_offsets(block_starts, len(offsets) - 1)
        found = (len(lengths), tensor["row_hashes"].shape, blocks.get_shape(), own)
        size = int(ends[-1, -1]) if len(ends) else 0
        if found != (len(tensor["checks"]), (len(offsets) - 1, 16), [size], 0) or k < 1:
            raise ValueError("its tensors do not belong together")
        if len(block_starts) != len(lengths) + 1:
            raise ValueError("its blocks are not those of its rows")
        if len(ids) and int(ids.max()) >= vocabulary_size:
            raise ValueError(f"id {int(ids.max())} at or above V = {vocabulary_size}")
    except _UNREADABLE + (SafetensorError,) as error:
        raise UserError(
            f"unreadable knowledge store: {path}: {_said(error)}: extract it again"
        ) from None
    ids = ids.astype(id_dtype(vocabulary_size))
    positions = np.diff(offsets[block_starts])

    def block(number: int) -> Arrays:
        first = int(ends[number, 0]) - int(lengths[number, 0])
        cuts = (ends[number] - first).tolist()
        packed = blocks[first : first + cuts[-1]].data
        if zlib.crc32(packed) != tensor["checks"][number]:
            raise UserError(f"altered knowledge store: {path}: block {number}: extract it again")
        streams = [packed[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
        try:
            arrays = unpack(streams, int(positions[number]), ids)
            check_arrays(arrays, vocabulary_size)
        except _UNREADABLE as error:
            raise UserError(
                f"impossible knowledge: {path}: block {number}: {_said(error)}: extract it again"
            ) from None
        return arrays

    return {
        "k": k,
        "offsets": offsets,
        "row_hashes": tensor["row_hashes"],
        "block_starts": block_starts,
        "largest_id": int(ids.max()) if len(ids) else -1,
        "_block": block,
    }


def _said(error: Exception) -> str:
    name = type(error).__name__
    return f"no tensor {error}" if isinstance(error, KeyError) else str(error) or name


def scratch_array(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """An array of zeros in a file without a name, in the folder for temporary files (TMPDIR).

    It takes no memory that the system could not have back, and vanishes with the array. UserError
    where there is no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not size:
        return np.zeros(shape, dtype)
    place = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # or a full disk would end the process later
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    except OSError as error:
        raise UserError(
            f"no room for {size:,} bytes: {place}: {error.strerror}: free some or set TMPDIR"
        ) from None


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
