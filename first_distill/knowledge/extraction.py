"""Extract the knowledge of a split: the same bytes in one job or several, resumed or not.

The last bits of a row's numbers depend on the batch that it stands in. So batches are made once,
from the whole split, and each of N jobs takes a fixed share of them. A job's part is a knowledge
store of its rows, whose manifest also records all that determines its numbers; `merge` joins parts.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from first_distill.errors import UserError
from first_distill.knowledge.sampling import sampled, uniforms, without_fill
from first_distill.knowledge.store import (
    NO_RANK,
    Arrays,
    KnowledgeStore,
    by_position,
    id_dtype,
    positions_of,
)
from first_distill.knowledge.topk import log_tail_at, mass_of, top_k
from first_distill.models.batching import Batch, collate, inference_batches
from first_distill.models.encoding import EncodedRow
from first_distill.models.inference import check_finite, ids_of, logit_chunks
from first_distill.models.structure import output_size
from first_distill.runtime.progress import progress
from first_distill.runtime.signals import StopRequest
from first_distill.runtime.state import differences, read_seal, seal_part, seconds_between_parts

SAVED = "batches-{}.safetensors"


def parse_part(text: str) -> tuple[int, int]:
    """`2-of-3` as (2, 3); UserError for anything that names no part."""
    match = re.fullmatch(r"([1-9]\d*)-of-([1-9]\d*)", text)
    part = tuple(map(int, match.groups())) if match else (1, 0)
    if part[0] > part[1]:
        raise UserError(f"part = {text}: --part: must be I-of-N with I from 1 to N")
    return part


def batches_of(
    encoded: list[EncodedRow], max_tokens: int, part: tuple[int, int] = (1, 1)
) -> list[np.ndarray]:
    """Rows (indices into the whole split) of each batch of one part, long rows first.

    Parts take batches in turn; a part is empty where there are more parts than batches.
    """
    lengths = np.asarray([len(row.input_ids) for row in encoded])
    index, parts = part
    return inference_batches(lengths, max_tokens)[index - 1 :: parts]


def empty_arrays(
    encoded: list[EncodedRow],
    k: int,
    vocabulary_size: int,
    padded: bool = False,
    tempered: bool = False,
) -> Arrays:
    """A store's arrays for these rows, offsets and row hashes filled in, the others zero.

    padded: whether some of the outputs are no tokens; tempered: whether there is a temperature.
    """
    offsets = np.cumsum([0, *(len(row.labels) for row in encoded)])
    hashes = np.frombuffer(b"".join(row.row_hash for row in encoded), np.uint8)
    n = offsets[-1]
    arrays = {
        "ids": np.zeros((n, k), id_dtype(vocabulary_size)),
        "log_probs": np.zeros((n, k), np.float16),
        "log_tail": np.zeros(n, np.float16),
        "gold_rank": np.zeros(n, np.uint8),
        "offsets": offsets,
        "row_hashes": hashes.reshape(-1, 16),
    }
    others = {"log_tail_t": tempered, "padding": padded}
    return arrays | {name: np.zeros(n, np.float32) for name, there in others.items() if there}


def fill(arrays: Arrays, rows: np.ndarray, values: Arrays) -> None:
    """Put the arrays by position of some rows, row after row, in their places in a store's."""
    positions = positions_of(arrays["offsets"], rows)
    for name in by_position(arrays):
        arrays[name][positions] = values[name]


def rows_of(batches: list[np.ndarray]) -> np.ndarray:
    """Rows of all batches of a part, ascending: the rows of its store."""
    return np.sort(np.concatenate([np.zeros(0, np.int64), *batches]))


def extract(
    model,
    encoded: list[EncodedRow],
    k: int,
    pad_id: int,
    max_tokens: int,
    part: tuple[int, int] = (1, 1),
    state: Path | None = None,
    padding: np.ndarray | None = None,
    temperature: float | None = None,
    draws: int | None = None,
) -> Arrays:
    """All arrays of a store for the encoded rows of one part, in the order of the rows.

    padding: ids of the outputs that are no tokens, None for none; they are never stored.
    temperature: T of the logits at which the tail is stored too. draws: take so many samples of
    each position (sampling.py) in the place of the top k.
    With a state folder, what is extracted is saved every FIRST_CHECKPOINT_MINUTES and on a signal,
    and a stopped run resumes from it. UserError on SIGTERM and SIGINT.
    """
    batches = batches_of(encoded, max_tokens, part)
    rows = rows_of(batches)
    padded = padding is not None and len(padding) > 0
    chosen_rows = [encoded[row] for row in rows]
    tempered = temperature is not None
    arrays = empty_arrays(chosen_rows, draws or k, output_size(model), padded, tempered)
    device = next(model.parameters()).device
    unused = torch.from_numpy(padding).to(device) if padded else None
    finished = restore(state, arrays) if state else 0
    if finished:
        print(f"resumed at batch {finished} of {len(batches)}", file=sys.stderr)
    todo, rooms = batches[finished:], {}
    saved_at, seconds_between = time.monotonic(), seconds_between_parts()
    with (
        StopRequest() as asked,
        torch.inference_mode(),
        progress("extraction", sum(map(len, todo)), "row") as advance,
    ):
        for done, chosen in enumerate(todo, 1 + finished):
            batch = collate(encoded, chosen, pad_id)
            numbers = uniforms([encoded[row] for row in chosen], draws) if draws else None
            values = _top_k_of(model, batch, encoded, k, unused, temperature, rooms, numbers)
            fill(arrays, np.searchsorted(rows, chosen), values)
            advance(len(chosen))
            stop = asked.stop  # read once, so that a stop is never reported before its save
            due = time.monotonic() - saved_at >= seconds_between
            if state and (due or asked.save or stop):
                save(state, arrays, done)
                saved_at, asked.save = time.monotonic(), False
            if stop:
                saved = "its state is saved" if state else "it keeps no state (--state-dir)"
                raise UserError(
                    f"stopped after batch {done} of {len(batches)}: extraction: {saved}: "
                    "run it again"
                )
    return without_fill(arrays) if draws else arrays


def _top_k_of(
    model,
    batch: Batch,
    encoded: list[EncodedRow],
    k: int,
    padding,
    temperature,
    rooms: dict,
    numbers: np.ndarray | None,
) -> Arrays:
    """Arrays by position of one batch; numbers: (N, draws) of `uniforms` if it is sampled."""
    pieces, masses = [], {}
    for rows, logits in logit_chunks(model, batch, rooms):
        if numbers is None:
            pieces.append(top_k(logits, k, padding))
        else:
            pieces.append(sampled(logits, numbers[rows], padding))
        if padding is not None:
            masses.setdefault("padding", []).append(mass_of(logits, padding))
        if temperature is not None:
            chosen = torch.from_numpy(pieces[-1][0]).to(logits.device)
            tail = log_tail_at(logits, chosen, temperature)
            masses.setdefault("log_tail_t", []).append(tail)
    ids, log_probs, log_tail = map(np.concatenate, zip(*pieces, strict=True))
    check_finite(log_probs, ids_of(batch, encoded))
    hit = ids == batch.labels[:, None]
    gold_rank = np.where(hit.any(axis=1), hit.argmax(axis=1), NO_RANK)
    arrays = {"ids": ids, "log_probs": log_probs, "log_tail": log_tail, "gold_rank": gold_rank}
    return arrays | {name: np.concatenate(parts) for name, parts in masses.items()}


def restore(state: Path, arrays: Arrays) -> int:
    """Fill the arrays with those that were saved last; number of batches that they hold."""
    for path in sorted(state.glob(SAVED.format("*")), reverse=True):
        if (note := read_seal(path)) is not None:
            arrays.update(load_file(path))
            return note["batches"]
    return 0


def save(state: Path, arrays: Arrays, batches: int) -> None:
    """Save the arrays after so many batches, and delete what was saved before the last time."""
    path = state / SAVED.format(f"{batches:06d}")
    earlier = sorted(state.glob(SAVED.format("*")))
    seal_part(path, lambda temporary: save_file(arrays, str(temporary)), {"batches": batches})
    for old in earlier[:-1]:
        old.unlink()
        old.with_suffix(".json").unlink(missing_ok=True)


def device_kind() -> str:
    """What computes: the GPU's model, or the CPU with its threads, which cut sums differently."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu, threads: {torch.get_num_threads()}"


def merge(folders: list[Path], encoded: list[EncodedRow], facts: dict) -> Arrays:
    """All arrays of a store from its parts' folders, in any order.

    UserError unless each part is given once, is whole and unaltered, was made by these facts and on
    the same kind of device as the others, and holds its own rows.
    """
    parts = len(folders)
    wanted = {f"{index}-of-{parts}": (index, parts) for index in range(1, parts + 1)}
    padded = facts["tokens"] < facts["vocabulary_size"]
    tempered = facts["logit_temperature"] is not None
    arrays = empty_arrays(encoded, facts["k"], facts["vocabulary_size"], padded, tempered)
    expected = dict(facts)
    for folder in folders:
        store = KnowledgeStore.open(folder)
        name = store.manifest.get("part")
        if name not in wanted:
            raise UserError(
                f"wrong or repeated part: {folder}: it is {name or 'a whole store'}: "
                f"give each of 1-of-{parts} to {parts}-of-{parts} once"
            )
        expected.setdefault("device", store.manifest.get("device"))
        found = {fact: store.manifest.get(fact) for fact in expected}
        rows = rows_of(batches_of(encoded, facts["max_tokens"], wanted.pop(name)))
        differing = differences(found, expected)
        if not differing and not np.array_equal(store.row_hashes, arrays["row_hashes"][rows]):
            differing = ["rows"]
        if differing:
            raise UserError(
                f"part of another extraction: {folder}: it differs in {', '.join(differing)}: "
                "delete it and run its job again"
            )
        fill(arrays, rows, store.arrays)
    return arrays
