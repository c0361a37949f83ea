"""Knowledge matching: targets and the join of knowledge to rows, by hand (Eq. 3, 4, 5)."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from first_distill.calibration.recalibration import recalibrate
from first_distill.errors import UserError
from first_distill.knowledge.extraction import extract
from first_distill.knowledge.store import KnowledgeStore
from first_distill.models.batching import collate
from first_distill.models.encoding import EncodedRow
from first_distill.models.inference import supervised_logits
from first_distill.training.knowledge_loss import KnowledgeLoss
from tests import tiny_models as tiny

ROWS = tiny.choice_rows(6) + tiny.yes_no_rows(3)
P1, P2 = (0.95, 0.03, 0.01, 0.005, 0.003), (0.90, 0.05, 0.03, 0.01, 0.005)


def hand_made(probabilities=(P1, P2, P1), counts=(2, 1)) -> tuple[KnowledgeStore, list]:
    """A store of the reference vectors, log-probabilities kept exact (float64), and its rows."""
    p = np.asarray(probabilities)
    n = len(p)
    store = KnowledgeStore(
        {
            "ids": np.tile(np.arange(p.shape[1]), (n, 1)).astype(np.uint16),
            "log_probs": np.log(p),
            "log_tail": np.log(1 - p.sum(1)),
            "gold_rank": np.zeros(n, np.uint8),
            "offsets": np.concatenate([[0], np.cumsum(counts)]),
            "row_hashes": np.arange(16 * len(counts), dtype=np.uint8).reshape(-1, 16),
        },
        {"tokenizer": "x", "files": {}},
    )
    rows = [
        EncodedRow(f"row{i}", None, 1, np.zeros(count), store.row_hashes[i].tobytes())
        for i, count in enumerate(counts)
    ]
    return store, rows


def targets(name, settings, positions="all", k=5) -> np.ndarray:
    """Targets of the whole hand-made store."""
    store, rows = hand_made()
    loss = KnowledgeLoss(store, k, name, settings, ts_positions=positions)
    return loss.targets(rows, "cpu").q.numpy()


def test_targets_are_the_reference_vectors():
    plain = targets("none", {})
    smooth = targets("label_smoothing", {"delta": 0.1, "space": "prob"})
    log = targets("label_smoothing", {"delta": 0.1, "space": "log"})
    softmax = targets("prob_softmax", {"c": 0.28})
    for found, expected in (
        (plain, (0.9519, 0.030061, 0.010021, 0.005011, 0.003007)),
        (smooth, (0.8519, 0.055061, 0.035021, 0.030011, 0.028007)),
        (softmax, (0.876854, 0.032806, 0.030545, 0.030004, 0.029791)),
    ):
        np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert log[0, 0] == pytest.approx(0.945842, abs=1e-6)
    assert softmax[1, 0] == pytest.approx(0.851, abs=5e-4)
    for found in (plain, smooth, log, softmax):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_answer_only_leaves_other_positions_normalised():
    # Rows of 2 and 1 positions: the answers are positions 0 and 2.
    found = targets("prob_softmax", {"c": 0.28}, "answer_only")
    everywhere = targets("prob_softmax", {"c": 0.28})
    plain = targets("none", {})
    np.testing.assert_array_equal(found[[0, 2]], everywhere[[0, 2]])
    np.testing.assert_array_equal(found[1], plain[1])
    assert np.abs(everywhere[1] - plain[1]).max() > 1e-3


def test_smaller_k_uses_the_first_tokens_only():
    two = targets("prob_softmax", {"c": 0.28}, k=2)
    expected = 1 / (1 + math.exp((0.03 - 0.95) / 0.28))
    np.testing.assert_allclose(two[0], (expected, 1 - expected), atol=1e-6)
    with pytest.raises(UserError, match="stored_k"):
        KnowledgeLoss(hand_made()[0], 6)


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
            ids = known["ids"][position, :5].astype(np.int64)
            losses.append(float((q * (np.log(q) - log_student[position][ids].numpy())).sum()))
        found[row.row_hash] = torch.tensor(losses)
    return found


def losses(model, rows, loss) -> torch.Tensor:
    """(N,) losses of all rows in one batch, in their order."""
    with torch.no_grad():
        logits = supervised_logits(model, collate(rows, np.arange(len(rows)), tiny.EOS))
        return loss.targets(rows, "cpu").loss(logits)


@pytest.mark.parametrize("order", ["same", "reversed", "subset"])
def test_rows_join_by_content_whatever_the_order(store, encoded, order):
    """Shuffled training rows get their own knowledge."""
    model = tiny.random_llama(0)
    rows = {"same": encoded, "reversed": encoded[::-1], "subset": encoded[4:1:-1]}[order]
    expected = dense_losses(store, encoded, model, 0.3)
    found = losses(model, rows, KnowledgeLoss(store, 5, "prob_softmax", {"c": 0.3}))
    own = torch.cat([expected[row.row_hash] for row in rows])
    torch.testing.assert_close(found, own.float(), atol=1e-4, rtol=1e-4)
    if order == "reversed":
        assert (found - torch.cat([expected[r.row_hash] for r in encoded])).abs().max() > 0.1


@pytest.mark.parametrize("k", [3, 8])
def test_tail_bucket_gets_the_mass_of_its_own_k(store, encoded, k):
    model = tiny.random_llama(0)
    loss = KnowledgeLoss(store, k, student_side="tail_bucket")
    found, q = losses(model, encoded, loss), loss.targets(encoded, "cpu").q.numpy()
    own = [tiny.full_logits(model, row)[row.prompt_length - 1 :] for row in encoded]
    teacher = [tiny.full_logits(tiny.random_llama(7), r)[r.prompt_length - 1 :] for r in encoded]
    ids = store.arrays["ids"][:, :k].astype(np.int64)
    head = np.take_along_axis(torch.cat(own).softmax(-1).numpy(), ids, 1)
    m = np.take_along_axis(torch.cat(teacher).softmax(-1).numpy(), ids, 1).sum(1)
    mq = q * m[:, None]
    expected = (mq * np.log(mq / head)).sum(1) + (1 - m) * np.log((1 - m) / (1 - head.sum(1)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("side", ["full_vocab", "renorm", "tail_bucket"])
def test_a_student_that_teaches_itself_everything_has_nothing_to_learn(encoded, side):
    """k = V and no re-calibration: Eq. 5 and its gradient are 0, to what float16 keeps."""
    model = tiny.random_llama(7)
    store = KnowledgeStore(extract(model, encoded, 263, tiny.EOS, 500), {})
    logits = supervised_logits(model, collate(encoded, np.arange(len(encoded)), tiny.EOS))
    logits = logits.detach().requires_grad_()
    loss = KnowledgeLoss(store, 263, student_side=side).targets(encoded, "cpu").loss(logits)
    loss.sum().backward()
    assert loss.abs().max() < 1e-3 and logits.grad.abs().max() < 2e-3
    other = KnowledgeLoss(store, 263, "prob_softmax", {"c": 0.3}, side).targets(encoded, "cpu")
    assert other.loss(logits).min() > 0.05


RECALIBRATIONS = [
    ("none", {}, "all"),
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
    q = recalibrate(p[:, :k], name, **options)
    if positions == "answer_only":
        answers = np.isin(np.arange(len(p)), store.offsets[:-1])[:, None]
        q = np.where(answers, q, recalibrate(p[:, :k], "none"))
    mass = -np.expm1(np.minimum(whole["log_tail"].astype(np.float64), 0.0))
    mass = np.clip(mass - p[:, k:].sum(1), 0.0, 1.0)
    draw = np.random.default_rng(0)
    loss = KnowledgeLoss(store, k, name, options, "tail_bucket", positions)
    for size in (1, 2, 5, len(encoded)):
        rows = draw.permutation(len(encoded))[:size]
        where = np.concatenate(
            [np.arange(store.offsets[r], store.offsets[r + 1]) for r in rows.tolist()]
        )
        found = loss.targets([encoded[r] for r in rows], "cpu")
        np.testing.assert_array_equal(found.ids, whole["ids"][where, :k])
        np.testing.assert_array_equal(found.q, q[where].astype(np.float32))
        np.testing.assert_array_equal(found.head_mass, mass[where].astype(np.float32))
        assert found.ids.dtype == torch.int64


def test_rows_that_the_store_lacks_or_knows_otherwise_are_refused(store, encoded):
    loss = KnowledgeLoss(store, 5)
    stranger = tiny.encode(tiny.choice_rows(1, seed=99))
    shorter = dataclasses.replace(encoded[0], labels=encoded[0].labels[:-1])
    for rows in ([*encoded, *stranger], [shorter]):
        with pytest.raises(UserError, match=f"row {rows[-1].row_id} is not in the knowledge store"):
            loss.targets(rows, "cpu")
