"""Batches and logits at supervised positions, against plain forward passes of single rows."""

import numpy as np
import pytest
import torch

from first_distill.errors import UserError
from first_distill.models.batching import collate, inference_batches, training_batches
from first_distill.models.encoding import encode_prompts
from first_distill.models.inference import iterate_logits, supervised_logits
from tests import tiny_models as tiny

ENCODED = tiny.encode(tiny.choice_rows(3) + tiny.yes_no_rows(3) + tiny.instruction_rows(3))


@pytest.fixture(scope="module")
def model():
    return tiny.random_llama(5)


def by_hand(model, row) -> torch.Tensor:
    """Logits of one row at prompt_length - 1 .. n - 1, from a plain forward pass."""
    return tiny.full_logits(model, row)[row.prompt_length - 1 :].float()


def test_collate_by_hand():
    rows = np.asarray([6, 0])
    batch = collate(ENCODED, rows, pad_id=tiny.EOS)
    width = max(len(ENCODED[i].input_ids) for i in rows)
    assert batch.input_ids.shape == batch.attention_mask.shape == batch.supervised.shape
    for line, i in enumerate(rows):
        ids = ENCODED[i].input_ids.tolist()
        padding = width - len(ids)
        assert batch.input_ids[line].tolist() == ids + [tiny.EOS] * padding
        assert batch.attention_mask[line].tolist() == [1] * len(ids) + [0] * padding
        first = ENCODED[i].prompt_length - 1
        expected = [first <= p < len(ids) for p in range(width)]
        assert batch.supervised[line].tolist() == expected
    assert batch.supervised.dtype == bool
    assert batch.labels.tolist() == [*ENCODED[6].labels, *ENCODED[0].labels]
    assert batch.counts.tolist() == [len(ENCODED[6].labels), len(ENCODED[0].labels)]
    assert batch.rows.tolist() == [6, 0]


def test_supervised_logits_are_those_of_single_rows(model):
    rows = np.arange(len(ENCODED))
    batch = collate(ENCODED, rows, tiny.EOS)
    with torch.no_grad():
        logits = supervised_logits(model, batch)
    expected = torch.cat([by_hand(model, ENCODED[i]) for i in rows])
    assert logits.dtype == torch.float32 and logits.shape == expected.shape
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
    # Any neighbouring position would be far outside that tolerance.
    shifted = torch.cat(
        [tiny.full_logits(model, r)[r.prompt_length - 2 : -1].float() for r in ENCODED]
    )
    assert (logits - shifted).abs().max() > 1


@pytest.mark.parametrize("pad_id", [tiny.EOS, 0, 200])
@pytest.mark.parametrize("max_tokens", [1, 150, 10_000])
def test_batch_size_and_padding_change_nothing(model, max_tokens, pad_id):
    """No row sees another or the padding."""
    for batch, logits in iterate_logits(model, ENCODED, pad_id, max_tokens, "test"):
        expected = torch.cat([by_hand(model, ENCODED[i]) for i in batch.rows])
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)


def test_every_training_row_comes_once_an_epoch():
    lengths = np.random.default_rng(1).integers(5, 90, 203)
    for epoch in range(2):
        batches = training_batches(lengths, 8, seed=3, epoch=epoch, pool=4)
        assert sorted(np.concatenate(batches).tolist()) == list(range(203))
        assert sorted(map(len, batches)) == [3] + [8] * 25


def test_training_order_depends_on_seed_and_epoch():
    lengths = np.random.default_rng(1).integers(5, 90, 100)
    orders = [training_batches(lengths, 8, s, e, 32) for s in (1, 2) for e in (0, 1)]
    assert len({tuple(np.concatenate(batches)) for batches in orders}) == 4


def test_training_batches_group_like_lengths():
    lengths = np.random.default_rng(1).integers(1, 1000, 256)
    grouped = training_batches(lengths, 8, 0, 0, 32)
    spread = np.mean([np.ptp(lengths[batch]) for batch in grouped])
    assert spread < 100  # batches of random rows spread over 780


def test_inference_batches_hold_every_row_within_the_budget():
    lengths = np.asarray([3, 50, 7, 7, 90, 2, 41])
    batches = inference_batches(lengths, 60)
    assert sorted(np.concatenate(batches).tolist()) == list(range(7))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= 60
    assert batches[0].tolist() == [4]  # longer than the budget: alone, never cut
    assert len(batches) == 4  # 90 | 50 | 41 | 7 7 3 2


def test_a_question_longer_than_the_model_reads_is_named(model):
    """Rotary positions have no end: without the refusal its answer would be wrong."""
    rows = tiny.choice_rows(2)
    rows[1]["prompt"] = "long " * 400 + rows[1]["prompt"]
    encoded = encode_prompts(rows, tiny.tokenizer())
    with pytest.raises(UserError, match=r"row train/000001: 20\d\d tokens: .* 1024"):
        next(iterate_logits(model, encoded, tiny.EOS, 512, "test"))
