"""Knowledge matching: targets and the join of knowledge to rows, by hand (Eq. 3, 4, 5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts.first.calibration.recalibration import recalibrate
from scripts.first.errors import UserError
from scripts.first.knowledge.extraction import extract
from scripts.first.knowledge.store import KnowledgeStore
from scripts.first.models.batching import collate, scored_positions
from scripts.first.models.inference import supervised_logits
from scripts.first.training.knowledge_loss import MatchingLoss, Recalibration
from tests import tiny_models as tiny

ROWS = tiny.choice_rows(6) + tiny.yes_no_rows(3)
P1, P2 = (0.95, 0.03, 0.01, 0.005, 0.003), (0.90, 0.05, 0.03, 0.01, 0.005)


def hand_made(probabilities=(P1, P2, P1), counts=(2, 1)) -> KnowledgeStore:
    """A store of the reference vectors, log-probabilities kept exact (float64)."""
    p = np.asarray(probabilities)
    n = len(p)
    return KnowledgeStore(
        {
            "ids": np.tile(np.arange(p.shape[1]), (n, 1)).astype(np.uint16),
            "log_probs": np.log(p),
            "log_tail": np.log(1 - p.sum(1)),
            "gold_rank": np.zeros(n, np.uint8),
            "offsets": np.concatenate([[0], np.cumsum(counts)]),
            "row_hashes": np.zeros((len(counts), 16), np.uint8),
        },
        {"tokenizer": "x", "files": {}},
    )


def recalibrated_targets(store: KnowledgeStore, *recalibration) -> np.ndarray:
    """Targets of a whole store at once."""
    first = store.offsets[:-1]
    return Recalibration(*recalibration).targets(store.arrays["log_probs"], first)


def test_targets_are_the_reference_vectors_o4_o5_o7():
    store = hand_made()
    plain = recalibrated_targets(store, 5, "none", {})
    np.testing.assert_allclose(
        plain[0], (0.9519, 0.030061, 0.010021, 0.005011, 0.003007), atol=1e-6
    )
    smooth = recalibrated_targets(store, 5, "label_smoothing", {"delta": 0.1, "space": "prob"})
    np.testing.assert_allclose(
        smooth[0], (0.8519, 0.055061, 0.035021, 0.030011, 0.028007), atol=1e-6
    )
    log = recalibrated_targets(store, 5, "label_smoothing", {"delta": 0.1, "space": "log"})
    assert log[0, 0] == pytest.approx(0.945842, abs=1e-6)
    softmax = recalibrated_targets(store, 5, "prob_softmax", {"c": 0.28})
    np.testing.assert_allclose(
        softmax[0], (0.876854, 0.032806, 0.030545, 0.030004, 0.029791), atol=1e-6
    )
    assert softmax[1, 0] == pytest.approx(0.851, abs=5e-4)
    for targets in (plain, smooth, log, softmax):
        assert targets.dtype == np.float32
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)


def test_every_option_changes_the_targets():
    """B20: no option may cancel or be ignored."""
    store = hand_made()
    variants = [
        recalibrated_targets(store, 5, name, settings, positions)
        for name, settings, positions in [
            ("none", {}, "all"),
            ("label_smoothing", {"delta": 0.1, "space": "prob"}, "all"),
            ("label_smoothing", {"delta": 0.2, "space": "prob"}, "all"),
            ("label_smoothing", {"delta": 0.1, "space": "log"}, "all"),
            ("prob_softmax", {"c": 0.28}, "all"),
            ("prob_softmax", {"c": 0.3}, "all"),
            ("prob_softmax", {"c": 0.28}, "answer_only"),
        ]
    ]
    for i, one in enumerate(variants):
        for other in variants[:i]:
            assert np.abs(one - other).max() > 1e-3


def test_answer_only_leaves_other_positions_normalised():
    store = hand_made()  # rows of 2 and 1 positions: the answers are positions 0 and 2
    targets = recalibrated_targets(store, 5, "prob_softmax", {"c": 0.28}, "answer_only")
    everywhere = recalibrated_targets(store, 5, "prob_softmax", {"c": 0.28})
    plain = recalibrated_targets(store, 5, "none", {})
    np.testing.assert_array_equal(targets[[0, 2]], everywhere[[0, 2]])
    np.testing.assert_array_equal(targets[1], plain[1])


def test_smaller_k_uses_the_first_tokens_only():
    two = recalibrated_targets(hand_made(), 2, "prob_softmax", {"c": 0.28})
    expected = 1 / (1 + math.exp((0.03 - 0.95) / 0.28))
    np.testing.assert_allclose(two[0], (expected, 1 - expected), atol=1e-6)
    with pytest.raises(UserError, match="stored_k"):
        MatchingLoss([], hand_made(), Recalibration(6), "full_vocab", None)


@pytest.fixture(scope="module")
def encoded():
    return tiny.encode(ROWS)


@pytest.fixture(scope="module")
def store(encoded):
    arrays = extract(tiny.random_llama(7), encoded, 8, tiny.EOS, 500)
    return KnowledgeStore(arrays, {})


def dense_losses(store, encoded, model, c: float) -> dict[bytes, torch.Tensor]:
    """Eq. 5 row by row from plain forward passes: sum q (log q - log p_S), k = 5."""
    found = {}
    for index, row in enumerate(encoded):
        log_student = tiny.full_logits(model, row)[row.prompt_length - 1 :].log_softmax(-1)
        known = store.rows(np.asarray([index]))
        losses = []
        for position in range(len(row.labels)):
            p = np.exp(known["log_probs"][position, :5].astype(np.float64))
            q = np.exp(p / c) / np.exp(p / c).sum()
            student_side = log_student[position][
                known["ids"][position, :5].astype(np.int64)
            ].numpy()
            losses.append(float((q * (np.log(q) - student_side)).sum()))
        found[row.row_hash] = torch.tensor(losses)
    return found


@pytest.mark.parametrize("order", ["same", "reversed", "subset"])
def test_rows_join_by_content_whatever_the_order(store, encoded, order):
    """B6: shuffled training rows meet their own knowledge."""
    model = tiny.random_llama(0)
    rows = {"same": encoded, "reversed": encoded[::-1], "subset": encoded[4:1:-1]}[order]
    softmax = Recalibration(5, "prob_softmax", {"c": 0.3})
    loss = MatchingLoss(rows, store, softmax, "full_vocab", 0.3)
    expected = dense_losses(store, encoded, model, 0.3)
    chosen = np.random.default_rng(0).permutation(len(rows))
    batch = collate(rows, chosen, tiny.EOS)
    with torch.no_grad():
        found = loss(supervised_logits(model, batch), batch)
    own = torch.cat([expected[rows[i].row_hash] for i in chosen])
    torch.testing.assert_close(found, own.float(), atol=1e-4, rtol=1e-4)
    if order == "same":
        assert (found - torch.cat([expected[r.row_hash] for r in rows])).abs().max() > 0.1


@pytest.mark.parametrize("k", [3, 8])
def test_tail_bucket_gets_the_mass_of_its_own_k(store, encoded, k):
    model = tiny.random_llama(0)
    batch = collate(encoded, np.arange(len(encoded)), tiny.EOS)
    targets = recalibrated_targets(store, k, "none", {})
    with torch.no_grad():
        logits = supervised_logits(model, batch)
        found = MatchingLoss(encoded, store, Recalibration(k), "tail_bucket", None)(logits, batch)
    p = logits.double().softmax(-1).numpy()
    ids = store.arrays["ids"][:, :k].astype(np.int64)
    head = np.take_along_axis(p, ids, 1)
    teacher = [tiny.full_logits(tiny.random_llama(7), r)[r.prompt_length - 1 :] for r in encoded]
    exact = torch.cat(teacher).softmax(-1).numpy()
    m = np.take_along_axis(exact, ids, 1).sum(1)
    mq = targets * m[:, None]
    expected = (mq * np.log(mq / head)).sum(1) + (1 - m) * np.log((1 - m) / (1 - head.sum(1)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=5e-3, atol=5e-3)


RECALIBRATIONS = [
    ("none", {}, "all"),
    ("label_smoothing", {"delta": 0.1, "space": "prob"}, "all"),
    ("label_smoothing", {"delta": 0.1, "space": "log"}, "answer_only"),
    ("prob_softmax", {"c": 0.28}, "all"),
    ("prob_softmax", {"c": 0.28}, "answer_only"),
]


@pytest.mark.parametrize("name, options, positions", RECALIBRATIONS)
@pytest.mark.parametrize("k", [3, 8])
def test_a_batch_gets_the_bits_of_the_whole_store(store, encoded, k, name, options, positions):
    """Computed batch by batch or for all positions at once: no bit may depend on it."""
    whole = store.arrays
    p = np.exp(whole["log_probs"].astype(np.float64))
    targets = recalibrate(p[:, :k], name, **options)
    if positions == "answer_only":
        answers = scored_positions(np.diff(store.offsets), "answer")[:, None]
        targets = np.where(answers, targets, recalibrate(p[:, :k], "none"))
    mass = -np.expm1(np.minimum(whole["log_tail"].astype(np.float64), 0.0))
    mass = np.clip(mass - p[:, k:].sum(1), 0.0, 1.0)
    draw = np.random.default_rng(0)
    loss = MatchingLoss(
        encoded, store, Recalibration(k, name, options, positions), "tail_bucket", None
    )
    for size in (1, 2, 5, len(encoded)):
        batch = collate(encoded, draw.permutation(len(encoded))[:size], tiny.EOS)
        spans = [np.arange(store.offsets[r], store.offsets[r + 1]) for r in batch.rows]
        where = np.concatenate(spans)
        ids, found, head = loss.targets_for(batch)
        np.testing.assert_array_equal(ids, whole["ids"][where, :k])
        np.testing.assert_array_equal(found, targets[where].astype(np.float32))
        np.testing.assert_array_equal(head, mass[where].astype(np.float32))
        assert (ids.dtype, found.dtype, head.dtype) == (np.int64, np.float32, np.float32)


def test_only_the_tail_bucket_is_given_the_mass(store, encoded):
    batch = collate(encoded, np.arange(3), tiny.EOS)
    loss = MatchingLoss(encoded, store, Recalibration(5), "full_vocab", None)
    assert loss.targets_for(batch)[2] is None


def test_row_without_knowledge_is_refused(store, encoded):
    stranger = tiny.encode(tiny.choice_rows(1, seed=99))
    with pytest.raises(UserError, match="not in the knowledge store"):
        MatchingLoss([*encoded, *stranger], store, Recalibration(5), "full_vocab", None)
