"""Uniform rows to token ids and supervised positions.

Teacher, knowledge store, student and evaluation use one joint encoding of prompt + response, after
BOS where the tokenizer puts it: the model reads BOS + prompt + response. Position i predicts token
i + 1. The supervised positions are those from the last prompt token (it predicts the first response
token) to the last token read (it predicts EOS). A CommonsenseQA row has 3 of them, a BoolQ row 2.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from first_distill.errors import UserError
from first_distill.models.tokenizer import TextTokenizer

NO_LABEL = -100


@dataclass(frozen=True)
class EncodedRow:
    """One row as ids.

    input_ids: (n,) int32, the tokenizer's prefix (BOS or nothing) + prompt + response.
    prompt_length: number of ids of prefix and prompt, at least 1.
    labels: (n - prompt_length + 1,) int32, the next token at each supervised position; the last is
    EOS, or NO_LABEL where no EOS is appended. row_hash: 16 bytes, identity of (ids, prompt_length).
    """

    row_id: str
    input_ids: np.ndarray
    prompt_length: int
    labels: np.ndarray
    row_hash: bytes

    @property
    def supervised_positions(self) -> np.ndarray:
        """Indices into input_ids, ascending."""
        return np.arange(self.prompt_length - 1, len(self.input_ids))


@dataclass
class EncodingReport:
    """Counts of what encoding did to a split, for the record and the data report."""

    rows: int = 0
    shortened_prompts: int = 0
    cut_responses: int = 0
    dropped_rows: list[str] = field(default_factory=list)
    longest: int = 0
    supervised_positions: int = 0


def row_hash(input_ids: np.ndarray, prompt_length: int) -> bytes:
    """16-byte content hash by which teacher knowledge joins student rows, never by order."""
    content = np.asarray([prompt_length, *input_ids], dtype="<i4").tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()


def encode_rows(
    rows: list[dict], tokenizer: TextTokenizer, block_length: int, append_eos: bool = True
) -> tuple[list[EncodedRow], EncodingReport]:
    """Encode training rows, at most `block_length` ids each (EOS counted if it is appended).

    In rows that are too long, the part of the prompt between shorten_start and shorten_end is
    shortened; without such a part the response is cut and loses its EOS; a row whose prompt alone
    fills the block is dropped. All three are counted in the report. Raises UserError for candidates
    that cannot be scored, before anything is trained on them.
    """
    encodings = _encode(rows, tokenizer)
    report = EncodingReport()
    encoded = []
    for row in rows:
        prompt_ids, ids = encodings[row["prompt"]], encodings[row["prompt"] + row["response"]]
        _require_prefix(row, prompt_ids, ids)
        if row["candidates"]:
            _candidate_ids(row, encodings)
        last_label = tokenizer.eos_id if append_eos else NO_LABEL
        if len(ids) + append_eos > block_length:
            if row["shorten_start"] >= 0:
                prompt_ids, ids = _shorten(row, tokenizer, block_length - append_eos)
                report.shortened_prompts += 1
            elif len(prompt_ids) >= block_length:
                report.dropped_rows.append(row["id"])
                continue
            else:
                ids, last_label = ids[:block_length], NO_LABEL
                report.cut_responses += 1
        encoded.append(_row(row, ids, len(prompt_ids), last_label))
        report.longest = max(report.longest, len(ids))
        report.supervised_positions += len(encoded[-1].labels)
    report.rows = len(encoded)
    return encoded, report


def encode_prompts(rows: list[dict], tokenizer: TextTokenizer) -> list[EncodedRow]:
    """Encode test prompts, never truncated; one supervised position each, the answer's."""
    prompts = tokenizer.encode_many([row["prompt"] for row in rows])
    return [_row(row, ids, len(ids), NO_LABEL) for row, ids in zip(rows, prompts, strict=True)]


def candidate_ids(rows: list[dict], tokenizer: TextTokenizer) -> np.ndarray:
    """(rows, most candidates) int64: token id of each candidate in the context of its row's prompt.

    A row with fewer candidates than another ends in -1. Derived from encode(prompt + candidate) and
    encode(prompt), never from a table. Raises UserError if two candidates share their first token,
    one is not exactly one token after the prompt, the answer is not a candidate, or the response
    does not begin with its token.
    """
    encodings = _encode(rows, tokenizer)
    found = [_candidate_ids(row, encodings) for row in rows]
    most = max(map(len, found), default=0)
    return np.asarray([own + [-1] * (most - len(own)) for own in found], dtype=np.int64)


def _encode(rows: list[dict], tokenizer: TextTokenizer) -> dict[str, list[int]]:
    """Ids by text: each prompt, alone, with its response and with each candidate."""
    parts = ((row, end) for row in rows for end in ("", row["response"], *row["candidates"]))
    texts = list(dict.fromkeys(row["prompt"] + end for row, end in parts))
    return dict(zip(texts, tokenizer.encode_many(texts), strict=True))


def _row(row: dict, ids: list[int], prompt_length: int, last_label: int) -> EncodedRow:
    if not prompt_length:
        raise UserError(
            f"no token predicts the answer: row {row['id']}: its prompt has none and no BOS is "
            "put: use a prompt with text, or bos: always"
        )
    input_ids = np.asarray(ids, dtype=np.int32)
    labels = np.asarray([*ids[prompt_length:], last_label], dtype=np.int32)
    identity = row_hash(input_ids, prompt_length)
    return EncodedRow(row["id"], input_ids, prompt_length, labels, identity)


def _candidate_ids(row: dict, encodings: dict[str, list[int]]) -> list[int]:
    prompt, where, answer = row["prompt"], f"row {row['id']}", row["answer"]
    if answer not in row["candidates"]:
        raise UserError(f"answer {answer!r} is not a candidate: {where}: use a benchmark's rows")
    n, endings, seen = len(encodings[prompt]), [], {}
    for candidate in row["candidates"]:
        with_candidate = encodings[prompt + candidate]
        _require_prefix(row, encodings[prompt], with_candidate)
        endings.append(with_candidate[n:])
        for first in endings[-1][:1]:
            if first in seen:
                raise UserError(
                    f"candidates {seen[first]!r} and {candidate!r} share their first token: "
                    f"{where}: id {first}: use a tokenizer or a prompt that tells them apart"
                )
            seen[first] = candidate
    for candidate, ending in zip(row["candidates"], endings, strict=True):
        if len(ending) != 1:
            raise UserError(
                f"candidate {candidate!r} is {len(ending)} tokens: {where}: each must "
                "be one token after the prompt: use a tokenizer or a prompt that keeps it whole"
            )
    if encodings[prompt + row["response"]][: n + 1] != encodings[prompt + answer]:
        raise UserError(
            f"the response does not begin with the answer's token: {where}: "
            f"answer {answer!r}, response {row['response'][:40]!r}: correct the row"
        )
    return [ending[0] for ending in endings]


def _require_prefix(row: dict, prompt_ids: list[int], ids: list[int]) -> None:
    if ids[: len(prompt_ids)] != prompt_ids:
        raise UserError(
            f"the prompt's tokens are not a prefix of prompt + response: row {row['id']}: "
            "the answer position would be wrong: check the tokenizer and the prompt's last letter"
        )


def _shorten(row: dict, tokenizer: TextTokenizer, room: int) -> tuple[list[int], list[int]]:
    """Longest cut of the span that may be shortened, at the end of a word, that fits `room` ids."""
    head = row["prompt"][: row["shorten_start"]]
    words = row["prompt"][row["shorten_start"] : row["shorten_end"]].split(" ")
    tail = row["prompt"][row["shorten_end"] :]

    def encode(count: int) -> tuple[list[int], list[int]]:
        prompt = head + " ".join(words[:count]) + tail
        prompt_ids, ids = tokenizer.encode_many([prompt, prompt + row["response"]])
        _require_prefix(row, prompt_ids, ids)
        return prompt_ids, ids

    if len(encode(0)[1]) > room:
        raise UserError(
            f"row {row['id']} does not fit {room} tokens even without its passage: "
            "raise encoding.block_length"
        )
    fits = bisect_right(range(1, len(words)), room, key=lambda count: len(encode(count)[1]))
    return encode(fits)
