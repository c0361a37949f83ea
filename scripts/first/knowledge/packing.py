"""A block of knowledge as deflate streams and back, bit for bit (format 2 of the knowledge store).

For k tokens at each of n positions a block is 2k + 7 streams of bytes, in this order:
  4       ids as ranks by their frequency in the store, so that their size does not depend on V:
          bits 16-23, bits 8-15, bits 0-7 of the 256 most frequent ids, bits 0-7 of the others
  2k      log_probs: bit patterns of float16, each less the one before it in its position, which is
          small because they descend; high and low bytes of each rank's column
  2       log_tail: its bit pattern less the one that the k log-probs lead to expect; high and low
  1       gold_rank
Numbers that decoding depends on are made by exactly rounded arithmetic alone, never by a library's
exp or log, whose last bit differs between machines.
"""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np

SIGN = 0x8000  # of a float16: with it flipped, log-probabilities count up from 0
INFINITE = 0x7C00  # bit pattern; those below it are finite and not negative
LEAST_TAIL = 2.0**-90  # of the expected tail; below the floor of a stored one
LN_2 = 0.6931471805599453


def n_streams(k: int) -> int:
    """Streams of a block of k tokens a position."""
    return 2 * k + 7


def deflated(data: np.ndarray) -> bytes:
    """Raw deflate: Huffman codes, with runs of one byte or without, whichever is shorter.

    Longer repetitions are not looked for: those that occur by chance lengthen the codes of the
    rest, and the search is what takes the time.
    """
    data, found = data.tobytes(), []
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
        packer = zlib.compressobj(1, zlib.DEFLATED, -14, 8, strategy)
        found.append(packer.compress(data) + packer.flush())
    return min(found, key=len)


def inflated(data: bytes) -> np.ndarray:
    """Bytes of a stream, (length,) uint8; zlib.error where it is none."""
    return np.frombuffer(zlib.decompress(data, -15), np.uint8)


def pack_ids(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids by rank and their stream (uint8), from how often each id below V occurs, (V,).

    Ids that occur equally often ascend, so that most differences between neighbours are small.
    """
    ids = np.flatnonzero(counts)
    ids = ids[np.argsort(-counts[ids], kind="stable")].astype(np.uint32)
    steps = np.diff(ids, prepend=np.uint32(0)).astype("<u4")
    planes = steps.view(np.uint8).reshape(-1, 4).T
    return ids, np.frombuffer(deflated(planes), np.uint8)


def unpack_ids(stream: np.ndarray) -> np.ndarray:
    """Ids by rank, (ids,) uint32."""
    planes = inflated(stream.tobytes()).reshape(4, -1)
    return np.cumsum(np.ascontiguousarray(planes.T).view("<u4")[:, 0], dtype=np.uint32)


def pack(block: dict[str, np.ndarray], ranks: np.ndarray) -> list[bytes]:
    """Streams of a block's arrays (see store.py); ranks (V,) gives the rank of an id."""
    rank = np.ascontiguousarray(ranks[block["ids"]].T)
    rare, low = rank > 255, rank.astype(np.uint8)
    streams = [(rank >> 16).astype(np.uint8), (rank >> 8).astype(np.uint8), low[~rare], low[rare]]
    patterns = np.ascontiguousarray(block["log_probs"].view(np.uint16).T) ^ SIGN
    for column in np.diff(patterns, axis=0, prepend=np.uint16(0)):
        streams += _halves(column)
    tail = (block["log_tail"].view(np.uint16) ^ SIGN) - _expected_tail(patterns)
    streams += _halves((tail << 1) ^ (tail.view(np.int16) >> 15).view(np.uint16))
    return [deflated(stream) for stream in [*streams, block["gold_rank"]]]


def unpack(streams: list[bytes], n: int, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of a block of n positions from its streams; ids (ids,) by rank.

    ValueError or zlib.error where a stream is not of its length.
    """
    top, high, frequent, others, *halves, gold_rank = map(inflated, streams)
    rank = high.astype(np.uint32)
    if top.any():
        rank |= top.astype(np.uint32) << 8
    rare = rank > 0
    low = np.empty(len(rank), np.uint8)
    low[rare], low[~rare] = others, frequent
    rank = (rank << 8 | low).reshape(-1, n)
    k = len(rank)
    patterns = np.empty((k, n), np.uint16)
    for column, high_half, low_half in zip(patterns, halves[0::2], halves[1::2], strict=False):
        column[:] = _joined(high_half, low_half)
    for before, column in zip(patterns, patterns[1:], strict=False):
        column += before  # numpy's cumsum over so short an axis takes twenty times as long
    tail = _joined(*halves[2 * k :])
    tail = (tail >> 1) ^ -(tail & 1)
    tail += _expected_tail(patterns)
    return {
        "ids": np.ascontiguousarray(ids.take(rank).T),
        "log_probs": np.ascontiguousarray((patterns ^ SIGN).T).view(np.float16),
        "log_tail": (tail ^ SIGN).view(np.float16),
        "gold_rank": gold_rank.reshape(n),
    }


def _halves(values: np.ndarray) -> list[np.ndarray]:
    return [(values >> 8).astype(np.uint8), values.astype(np.uint8)]


def _joined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return high.astype(np.uint16) << 8 | low


def _expected_tail(patterns: np.ndarray) -> np.ndarray:
    """(n,) uint16 pattern of log(1 - sum of the k probabilities), sign flipped, from (k, n)."""
    powers = _powers()
    rest = np.ones(patterns.shape[1])
    for column in patterns:  # one after the other: numpy's own sums add in an order of their own
        rest -= powers.take(column)
    mantissa, exponent = np.frexp(np.maximum(rest, LEAST_TAIL))  # mantissa in [1/2, 1)
    ratio = (mantissa - 0.75) / (mantissa + 0.75)  # log(m / 0.75) = 2 artanh(ratio)
    square = ratio * ratio
    series = ((square / 7.0 + 0.2) * square + 1.0 / 3.0) * square + 1.0
    log = exponent * LN_2 - 0.2876820724517809 + 2.0 * ratio * series
    return np.minimum(log, 0.0).astype(np.float16).view(np.uint16) & ~np.uint16(SIGN)


@cache
def _powers() -> np.ndarray:
    """exp(-x) of every float16 x, by its bit pattern without its sign, (2 ** 16,) float64."""
    x = np.arange(INFINITE, dtype=np.uint16).view(np.float16).astype(np.float64)
    step = np.minimum(x, 700.0) / -16384.0
    power = (((step / 4.0 + 1.0) * step / 3.0 + 1.0) * step / 2.0 + 1.0) * step + 1.0
    for _ in range(14):
        power = power * power
    table = np.zeros(2 * SIGN)
    table[:INFINITE] = table[SIGN : SIGN + INFINITE] = power
    return table
