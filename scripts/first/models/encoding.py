"""Uniform rows to token ids and supervised positions.

One joint encoding of prompt + response, with BOS, serves the teacher, the store, the student and
the evaluation. The model reads BOS + prompt + response; position i predicts token i + 1. Supervised
are the positions from the last prompt token (it predicts the first response token) to the last
token read (it predicts EOS). A CommonsenseQA row has 3 of them, a BoolQ row 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from scripts.first.errors import UserError
from scripts.first.models.tokenizer import TextTokenizer

NO_LABEL = -100
Encodings = dict[str, list[int]]  # ids by text, as one tokenizer gives them


@dataclass(frozen=True)
class EncodedRow:
    """One row as ids.

    input_ids: (n,) int32, BOS + prompt + response. prompt_length: number of prompt ids with BOS.
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
    """What encoding did to a split, for the record and the data report."""

    rows: int = 0
    shortened_prompts: int = 0
    cut_responses: int = 0
    dropped_rows: list[str] = field(default_factory=list)
    longest: int = 0
    supervised_positions: int = 0


def row_hash(input_ids: np.ndarray, prompt_length: int) -> bytes:
    """Content hash that joins teacher knowledge to student rows, never by order."""
    content = np.asarray([prompt_length, *input_ids], dtype="<i4").tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()


def encode_texts(
    texts: Iterable[str], tokenizer: TextTokenizer, known: Encodings | None = None
) -> Encodings:
    """Ids of each distinct text, in one call; what is `known` already is not encoded again."""
    known = known or {}
    new = [text for text in dict.fromkeys(texts) if text not in known]
    return {**known, **dict(zip(new, tokenizer.encode_many(new), strict=True))}


def encode_rows(
    rows: list[dict],
    tokenizer: TextTokenizer,
    block_length: int,
    append_eos: bool = True,
    known: Encodings | None = None,
) -> tuple[list[EncodedRow], EncodingReport]:
    """Encode training rows, at most `block_length` ids each (EOS counted when it is appended).

    Over-long rows: the part of the prompt between shorten_start and
    shorten_end is shortened; without such a part the response is cut, then without EOS; a row whose
    prompt alone fills the block is dropped. All three are counted in the report.
    """
    texts = (text for row in rows for text in (row["prompt"], row["prompt"] + row["response"]))
    encodings = encode_texts(texts, tokenizer, known)
    report = EncodingReport()
    encoded = []
    for row in rows:
        prompt_ids, ids = encodings[row["prompt"]], encodings[row["prompt"] + row["response"]]
        _assert_prefix(row, prompt_ids, ids)
        eos = append_eos
        if len(ids) + append_eos > block_length:
            if row["shorten_start"] >= 0:
                prompt_ids, ids = _shorten(row, tokenizer, block_length - append_eos)
                report.shortened_prompts += 1
            elif len(prompt_ids) >= block_length:
                report.dropped_rows.append(row["id"])
                continue
            else:
                ids, eos = ids[:block_length], False
                report.cut_responses += 1
        input_ids = np.asarray(ids, dtype=np.int32)
        last_label = tokenizer.eos_id if eos else NO_LABEL
        labels = np.asarray([*ids[len(prompt_ids) :], last_label], dtype=np.int32)
        encoded.append(
            EncodedRow(
                row["id"],
                input_ids,
                len(prompt_ids),
                labels,
                row_hash(input_ids, len(prompt_ids)),
            )
        )
        report.longest = max(report.longest, len(ids))
        report.supervised_positions += len(labels)
    report.rows = len(encoded)
    return encoded, report


def encode_questions(rows: list[dict], tokenizer: TextTokenizer) -> Encodings:
    """Ids of all texts of questions: prompts, with their response and with each candidate."""
    parts = ((row, end) for row in rows for end in ("", row["response"], *row["candidates"]))
    return encode_texts((row["prompt"] + end for row, end in parts), tokenizer)


def candidate_ids(
    rows: list[dict], tokenizer: TextTokenizer, known: Encodings | None = None
) -> np.ndarray:
    """Token id of each candidate in the context of each row's own prompt, (rows, candidates).

    Derived by comparing encode(prompt + candidate) with encode(prompt), never from a table. Raises
    UserError where a candidate is not exactly one token after the prompt, where two candidates
    share an id, where the answer is no candidate or the response does not begin with its token, and
    where rows differ in their number of candidates (an instruction row has none).
    """
    for row in rows:
        _assert_question(row, len(rows[0]["candidates"]))
    encodings = encode_questions(rows, tokenizer) if known is None else known
    result = []
    for row in rows:
        prompt = row["prompt"]
        prompt_ids, response_ids = encodings[prompt], encodings[prompt + row["response"]]
        n = len(prompt_ids)
        ids = []
        for candidate in row["candidates"]:
            candidate_encoding = encodings[prompt + candidate]
            _assert_prefix(row, prompt_ids, candidate_encoding)
            if len(candidate_encoding) != n + 1:
                raise UserError(
                    f"candidate {candidate!r} is {len(candidate_encoding) - n} tokens: row "
                    f"{row['id']}: each candidate must be one token after the prompt: "
                    "use a tokenizer or a prompt that keeps it whole"
                )
            ids.append(candidate_encoding[n])
        if len(set(ids)) != len(ids):
            raise UserError(f"two candidates share a token id: row {row['id']}: {ids}")
        gold = ids[list(row["candidates"]).index(row["answer"])]
        if response_ids[n : n + 1] != [gold]:
            raise UserError(
                f"the response does not begin with the answer's token: row {row['id']}: "
                f"answer {row['answer']!r}, response {row['response'][:40]!r}"
            )
        result.append(ids)
    return np.asarray(result, dtype=np.int64)


def check_candidates(rows: list[dict], tokenizer: TextTokenizer) -> Encodings:
    """Refuse questions whose candidates cannot be scored, before anything is trained on them.

    Returns what had to be encoded for it, nothing for instruction rows.
    """
    if not rows[0]["candidates"]:
        return {}
    known = encode_questions(rows, tokenizer)
    candidate_ids(rows, tokenizer, known)
    return known


def encode_prompts(
    rows: list[dict], tokenizer: TextTokenizer, known: Encodings | None = None
) -> list[EncodedRow]:
    """Encode test prompts, never truncated; one supervised position each, the answer's."""
    encodings = encode_texts((row["prompt"] for row in rows), tokenizer, known)
    encoded = []
    for row in rows:
        input_ids = np.asarray(encodings[row["prompt"]], dtype=np.int32)
        labels = np.asarray([NO_LABEL], dtype=np.int32)
        n = len(input_ids)
        encoded.append(EncodedRow(row["id"], input_ids, n, labels, row_hash(input_ids, n)))
    return encoded


def _assert_question(row: dict, n_candidates: int) -> None:
    if row["answer"] not in row["candidates"]:
        raise UserError(
            f"no candidates, or the answer is none of them: row {row['id']}: answer "
            f"{row['answer']!r}: use the test split of a benchmark"
        )
    if len(row["candidates"]) != n_candidates:
        raise UserError(f"rows differ in their number of candidates: row {row['id']}: use one set")


def _assert_prefix(row: dict, prompt_ids: list[int], ids: list[int]) -> None:
    if ids[: len(prompt_ids)] != prompt_ids:
        raise UserError(
            f"the prompt's tokens are not a prefix of prompt + response: row {row['id']}: "
            "the answer position would be wrong: check the tokenizer and the prompt's last letter"
        )


def _shorten(row: dict, tokenizer: TextTokenizer, room: int) -> tuple[list[int], list[int]]:
    """Longest cut of the shortenable span, at a word's end, that lets the row fit `room` ids."""
    head = row["prompt"][: row["shorten_start"]]
    words = row["prompt"][row["shorten_start"] : row["shorten_end"]].split(" ")
    tail = row["prompt"][row["shorten_end"] :]

    def encode(count: int) -> tuple[list[int], list[int]]:
        prompt = head + " ".join(words[:count]) + tail
        prompt_ids, ids = tokenizer.encode_many([prompt, prompt + row["response"]])
        _assert_prefix(row, prompt_ids, ids)
        return prompt_ids, ids

    low, high = 0, len(words) - 1
    if len(encode(0)[1]) > room:
        raise UserError(
            f"row {row['id']} does not fit {room} tokens even without its passage: "
            "raise encoding.block_length"
        )
    while low < high:
        middle = (low + high + 1) // 2
        if len(encode(middle)[1]) <= room:
            low = middle
        else:
            high = middle - 1
    return encode(low)
