"""Log-probabilities of candidates, against lm-eval's HFLM on the same tiny model."""

import logging

import numpy as np
import pytest

from first_distill.models.predictions import predict
from tests import tiny_models as tiny

pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def harness():
    """HFLM of a tiny checkpoint, batch size 3, BOS in front of the context."""
    from lm_eval.models.huggingface import HFLM
    from transformers import PreTrainedTokenizerFast

    logging.disable(logging.WARNING)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tiny.tokenizer_folder() / "tokenizer.json"),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    yield HFLM(
        pretrained=tiny.random_llama(3),
        tokenizer=tokenizer,
        add_bos_token=True,
        batch_size=3,
        device="cpu",
        max_length=1024,
    )
    logging.disable(logging.NOTSET)


def loglikelihoods(harness, pairs) -> np.ndarray:
    from lm_eval.api.instance import Instance

    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i)
        for i, pair in enumerate(pairs)
    ]
    return np.asarray([value for value, _ in harness.loglikelihood(requests, disable_tqdm=True)])


@pytest.mark.parametrize("letters", ["abcde", "ABCD"])
def test_choices_have_lm_evals_loglikelihoods(harness, letters):
    rows = tiny.choice_rows(6, letters=letters)
    ours, *_ = predict(tiny.random_llama(3), rows, tiny.tokenizer(), 300)
    pairs = [(row["prompt"], letter) for row in rows for letter in letters]
    theirs = loglikelihoods(harness, pairs).reshape(ours.shape)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert ours.argmax(1).tolist() == theirs.argmax(1).tolist()
    assert np.ptp(ours) > 1


def test_three_to_five_choices_have_lm_evals_loglikelihoods(harness):
    rows = tiny.ragged_rows(12)
    ours, *_ = predict(tiny.random_llama(3), rows, tiny.tokenizer(), 300)
    theirs = loglikelihoods(harness, [(r["prompt"], c) for r in rows for c in r["candidates"]])
    real = np.asarray([[i < len(row["candidates"]) for i in range(5)] for row in rows])
    assert {*real.sum(1)} == {3, 4, 5} and (ours[~real] == -np.inf).all()
    np.testing.assert_allclose(ours[real], theirs, atol=1e-4)


def test_yes_and_no_have_lm_evals_loglikelihoods(harness):
    """lm-eval moves the prompt's last newline into the continuation; its own share is common."""
    rows = tiny.yes_no_rows(6)
    ours, *_ = predict(tiny.random_llama(3), rows, tiny.tokenizer(), 300)
    pairs = [(row["prompt"], answer) for row in rows for answer in ("Yes", "No")]
    theirs = loglikelihoods(harness, pairs).reshape(ours.shape)
    newline = loglikelihoods(harness, [(row["prompt"][:-1], "\n") for row in rows])
    np.testing.assert_allclose(ours, theirs - newline[:, None], atol=1e-4)
