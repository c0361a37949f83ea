"""Rows to ids and supervised positions: over-long rows, hashes, candidates."""

import hashlib
import struct

import numpy as np
import pytest

from first_distill.errors import UserError
from first_distill.models.encoding import (
    NO_LABEL,
    candidate_ids,
    encode_prompts,
    encode_rows,
    row_hash,
)
from first_distill.models.tokenizer import load_tokenizer
from tests import tiny_models as tiny

ROWS = {
    "csqa": tiny.choice_rows(4),
    "boolq": tiny.yes_no_rows(4),
    "alpaca": tiny.instruction_rows(4),
}


@pytest.mark.parametrize("append_eos", [True, False])
def test_empty_response_keeps_one_position(append_eos):
    row = tiny.encode(ROWS["alpaca"], append_eos=append_eos)[1]
    assert len(row.input_ids) == row.prompt_length
    assert row.supervised_positions.tolist() == [row.prompt_length - 1]
    assert row.labels.tolist() == [tiny.EOS if append_eos else NO_LABEL]


@pytest.mark.parametrize("corpus", ROWS)
def test_positions_predict_the_response_and_then_the_end(corpus):
    """By hand: the byte before the response predicts its first token, the last token EOS."""
    encode = tiny.tokenizer().encode
    for raw, row in zip(ROWS[corpus], tiny.encode(ROWS[corpus]), strict=True):
        prompt, whole = encode(raw["prompt"]), encode(raw["prompt"] + raw["response"])
        assert row.input_ids.tolist() == whole
        assert row.input_ids[: row.prompt_length].tolist() == prompt
        first = row.supervised_positions[0]
        assert row.input_ids[first] == prompt[-1]
        assert row.supervised_positions[-1] == len(whole) - 1
        following = [*whole, tiny.EOS]
        assert row.labels.tolist() == [following[p + 1] for p in row.supervised_positions]


def test_long_response_is_cut_and_loses_its_eos():
    row = ROWS["alpaca"][0]
    whole = tiny.tokenizer().encode(row["prompt"] + row["response"])
    prompt = tiny.tokenizer().encode(row["prompt"])
    encoded, report = encode_rows([row], tiny.tokenizer(), len(whole) + 1)
    assert encoded[0].labels[-1] == tiny.EOS and report.cut_responses == 0
    for block in (len(whole), len(whole) - 2, len(prompt) + 1):
        encoded, report = encode_rows([row], tiny.tokenizer(), block)
        assert encoded[0].input_ids.tolist() == whole[:block]
        assert encoded[0].labels.tolist() == [*whole[len(prompt) : block], NO_LABEL]
        assert (report.cut_responses, report.shortened_prompts, report.dropped_rows) == (1, 0, [])


@pytest.mark.parametrize("append_eos", [True, False])
def test_row_whose_prompt_fills_the_block_is_dropped(append_eos):
    long = {**ROWS["alpaca"][0], "id": "train/000099", "prompt": "x" * 79}
    for block, kept in ((80, 4), (81, 5)):
        encoded, report = encode_rows([*ROWS["alpaca"], long], tiny.tokenizer(), block, append_eos)
        assert len(encoded) == report.rows == kept
        assert report.dropped_rows == ["train/000099"] * (5 - kept)


@pytest.mark.parametrize("append_eos", [True, False])
def test_long_passage_is_shortened_at_words_to_the_longest_that_fits(append_eos):
    raw = tiny.yes_no_rows(1, words=1)[0]
    head, tail = raw["prompt"][: raw["shorten_start"]], raw["prompt"][raw["shorten_end"] :]
    words = [f"word{i}" for i in range(40)]
    passage = " ".join(words)
    row = {**raw, "prompt": head + passage + tail, "shorten_end": len(head) + len(passage)}
    encode = tiny.tokenizer().encode
    block = 120
    # Independent: try every number of words.
    best = None
    for count in range(len(words) + 1):
        ids = encode(head + " ".join(words[:count]) + tail + raw["response"])
        if len(ids) + append_eos <= block:
            best = ids
    encoded, report = encode_rows([row], tiny.tokenizer(), block, append_eos)
    assert encoded[0].input_ids.tolist() == best and len(best) > 100
    assert len(encoded[0].labels) == 2
    assert encoded[0].labels[0] == encode(raw["response"])[1]
    assert encoded[0].labels[-1] == (tiny.EOS if append_eos else NO_LABEL)
    assert (report.shortened_prompts, report.cut_responses) == (1, 0)


def test_row_hash_is_that_of_the_numbers():
    """Python's own hash() is salted. The digest is written out here once more."""
    ids = np.asarray([0, 5, 131071], dtype=np.int32)
    expected = hashlib.blake2b(struct.pack("<4i", 2, 0, 5, 131071), digest_size=16).digest()
    assert row_hash(ids, 2) == expected


def test_candidates_are_columns_in_their_own_order():
    encode = tiny.tokenizer().encode
    rows = tiny.choice_rows(6)
    assert candidate_ids(rows, tiny.tokenizer()).tolist() == [[encode(c)[1] for c in "abcde"]] * 6
    swapped = [{**row, "candidates": list("edcba")} for row in rows]
    expected = [[encode(c)[1] for c in "edcba"]] * 6
    assert candidate_ids(swapped, tiny.tokenizer()).tolist() == expected
    assert candidate_ids(tiny.yes_no_rows(3), tiny.tokenizer()).tolist() == [[260, 261]] * 3


def test_a_row_with_fewer_candidates_ends_in_minus_one():
    encode = tiny.tokenizer().encode
    rows = [tiny.choice_rows(1, letters=letters)[0] for letters in ("abc", "edcba", "ABCD")]
    a, b, c, d, e = (encode(letter)[1] for letter in "abcde")
    upper = [encode(letter)[1] for letter in "ABCD"]
    expected = [[a, b, c, -1, -1], [e, d, c, b, a], [*upper, -1]]
    found = candidate_ids([*rows, tiny.yes_no_rows(1)[0]], tiny.tokenizer())
    assert found.tolist() == [*expected, [260, 261, -1, -1, -1]] and found.dtype == np.int64


def refused(row: dict, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        candidate_ids([tiny.choice_rows(1)[0], row], tiny.tokenizer())
    assert "\n" not in str(caught.value)


def test_unusable_candidates_are_refused():
    row = tiny.choice_rows(1)[0]
    good = {"answer": "a", "response": "a)."}
    refused({**row, **good, "candidates": ["a", "maybe", "c", "d", "e"]}, "is 5 tokens")
    refused({**row, **good, "candidates": ["a", "", "c", "d", "e"]}, "is 0 tokens")
    refused({**row, **good, "candidates": list("abcdd")}, "'d' and 'd' share their first token")
    both = "'maybe' and 'more' share their first token: row train/000000: id"
    refused({**row, **good, "candidates": ["a", "maybe", "more", "d", "e"]}, both)
    refused({**row, "answer": "a", "response": "b)."}, "does not begin with")
    refused({**row, **good, "candidates": []}, "'a' is not a candidate")
    refused({**row, "answer": None}, "answer")
    refused({**row, "answer": "f"}, "answer")


class Merging:
    """A tokenizer that glues the prompt's last character to what follows."""

    bos_id, eos_id, vocabulary_size, sha256 = 0, 1, 300, "x"

    def encode_many(self, texts):
        split = [[t[i : i + 2] for i in range(0, len(t), 2)] for t in texts]
        return [[0, *(3 + sum(map(ord, pair)) % 250 for pair in pairs)] for pairs in split]


def test_prompt_must_be_a_prefix_of_the_whole():
    row = {**ROWS["alpaca"][0], "prompt": "abc", "response": "def"}
    with pytest.raises(UserError, match="not a prefix"):
        encode_rows([row], Merging(), 100)


def test_the_answer_needs_a_token_before_it():
    """Without BOS and without text, position -1 would predict the response."""
    folder, row = tiny.tokenizer_folder(), {**ROWS["alpaca"][0], "prompt": ""}
    encoded = encode_rows([row], load_tokenizer(folder), 100)[0][0]
    assert encoded.supervised_positions[0] == 0 and encoded.prompt_length == 1
    without = load_tokenizer(folder, bos="never")
    for refuse in (
        lambda: encode_rows([row], without, 100),
        lambda: encode_prompts([row], without),
    ):
        with pytest.raises(UserError, match="no token predicts the answer: row train/000000"):
            refuse()


def test_test_prompts_are_never_truncated():
    row = {**tiny.choice_rows(1)[0], "prompt": "word " * 300 + "("}
    encoded = encode_prompts([row], tiny.tokenizer())[0]
    assert encoded.input_ids.tolist() == tiny.tokenizer().encode(row["prompt"])
    assert len(encoded.input_ids) == 1502
    assert encoded.supervised_positions.tolist() == [1501]


def test_candidates_are_checked_before_training():
    """A training table whose answer is not a candidate is refused before a model is loaded."""
    row = {**tiny.choice_rows(1)[0], "answer": "z"}
    with pytest.raises(UserError, match="train/000000"):
        encode_rows([row], tiny.tokenizer(), 512)
