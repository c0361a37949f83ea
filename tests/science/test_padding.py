"""Padding reaches no loss: batches of unequal rows against single rows, by each architecture."""

from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from first_distill.models.batching import collate
from first_distill.models.encoding import encode_rows
from first_distill.models.inference import supervised_logits
from first_distill.models.tokenizer import load_tokenizer
from tests import families
from tests import tiny_models as tiny

ROWS = tiny.choice_rows(2) + tiny.yes_no_rows(1) + tiny.instruction_rows(2)
# All that differ in positions, attention, experts or padding's token.
NAMES = "llama qwen2 mistral mixtral gemma2 gemma3 gpt-neox gpt2 opt phi3".split()


@cache
def loaded(name: str):
    """A float32 model of a family, without dropout, by transformers alone."""
    from transformers import AutoModelForCausalLM

    folder = families.model(name)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def gradient(model, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def by_hand(model, ids: list[int], prompt: int, eos: int) -> torch.Tensor:
    """Sum of the cross-entropies of a row's response and EOS, alone and unpadded."""
    logits = model(torch.tensor([ids])).logits[0, prompt - 1 :]
    return F.cross_entropy(logits, torch.tensor([*ids[prompt:], eos]), reduction="sum")


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_neither_labels_nor_gradients(name):
    """Whatever token pads: EOS, which is a label, the tokenizer's own, or one of the text."""
    model, tokenizer = loaded(name), load_tokenizer(families.model(name))
    encoded, eos = encode_rows(ROWS, tokenizer, 500)[0], tokenizer.eos_id
    rows = [(row.input_ids.tolist(), row.prompt_length) for row in encoded]
    assert len({len(ids) for ids, _ in rows}) > 2
    single = gradient(model, sum(by_hand(model, *row, eos) for row in rows))
    labels = [label for ids, prompt in rows for label in [*ids[prompt:], eos]]
    scale = single.abs().max()
    for pad in (eos, tokenizer.pieces.get("<pad>", 0), rows[0][0][-1]):
        batch = collate(encoded, np.arange(len(encoded)), pad)
        assert (batch.input_ids == pad).sum() > 5 and batch.labels.tolist() == labels
        logits = supervised_logits(model, batch)
        found = gradient(model, F.cross_entropy(logits, torch.tensor(labels), reduction="sum"))
        # Sums of float32 in another order.
        torch.testing.assert_close(found, single, atol=5e-6 * float(scale), rtol=0)
