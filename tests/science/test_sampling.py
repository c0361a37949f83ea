"""Sampled targets: unbiased, whatever the batch, and exact in the store."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from first_distill.calibration.recalibration import recalibrate
from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.knowledge.extraction import empty_arrays, extract
from first_distill.knowledge.sampling import sampled, uniforms, without_fill
from first_distill.knowledge.store import LOG_TAIL_FLOOR, KnowledgeStore, check_arrays
from first_distill.models.encoding import EncodedRow
from first_distill.training.knowledge_loss import KnowledgeLoss
from first_distill.training.losses import KnowledgeTargets
from scripts import knowledge, student
from tests import tiny_models as tiny


def shares(ids: np.ndarray, log_probs: np.ndarray, draws: int, v: int) -> np.ndarray:
    """(N, V) targets over the whole vocabulary."""
    q = recalibrate(np.exp(log_probs.astype(np.float64)), "sampled", draws=draws)
    dense = np.zeros((len(ids), v))
    np.put_along_axis(dense, ids, q, axis=1)
    return dense


def gradient(logits: torch.Tensor, ids: np.ndarray, q: np.ndarray) -> torch.Tensor:
    """Of Eq. 5 over the full vocabulary, by autograd, (N, V)."""
    z = logits.clone().requires_grad_()
    targets = KnowledgeTargets(torch.from_numpy(ids), torch.from_numpy(q), "full_vocab")
    targets.loss(z).sum().backward()
    return z.grad


def of_whole(logits: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Gradient of KL(p || student) over all V ids, by torch's own divergence."""
    z = logits.clone().requires_grad_()
    F.kl_div(F.log_softmax(z, dim=1), p, reduction="sum").backward()
    return z.grad


def test_the_expected_gradient_is_that_of_the_whole_distribution_exactly():
    """All nine outcomes of two draws from three tokens, each weighted with its probability."""
    p = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    student = torch.tensor([[0.2, -1.0, 0.7]], dtype=torch.float64)
    expected = torch.zeros(1, 3, dtype=torch.float64)
    ends = np.cumsum(p.numpy()[0])
    for outcome in product(range(3), repeat=2):
        inside = np.array([[ends[i] - p[0, i].item() / 2 for i in outcome]])  # of its interval
        ids, log_probs, _ = sampled(p.log().float(), inside)
        q = recalibrate(np.exp(log_probs.astype(np.float64)), "sampled", draws=2)
        counts = np.bincount(outcome, minlength=3) / 2
        np.testing.assert_array_equal(shares(ids, log_probs, 2, 3)[0], counts)
        weight = p[0, outcome[0]] * p[0, outcome[1]]
        expected += weight * gradient(student, ids, q)
    torch.testing.assert_close(expected, of_whole(student, p), rtol=1e-12, atol=1e-12)


def test_the_mean_gradient_of_many_draws_comes_near_and_that_of_the_top_k_does_not():
    n, v, draws = 4000, 12, 6
    g = torch.Generator().manual_seed(3)
    teacher = (2 * torch.randn(1, v, generator=g)).expand(n, v)
    student = torch.randn(1, v, generator=g, dtype=torch.float64)
    p = teacher[:1].double().softmax(1)
    numbers = np.random.default_rng(0).random((n, draws))
    ids, log_probs, _ = sampled(teacher, numbers)
    q = recalibrate(np.exp(log_probs.astype(np.float64)), "sampled", draws=draws)
    mean = gradient(student.expand(n, v).contiguous(), ids, q).mean(dim=0)
    error = (p[0] * (1 - p[0]) / (n * draws)).sqrt()
    z = (mean - of_whole(student, p)[0]) / error
    assert stats.chi2.sf((z**2 * (1 - p[0])).sum().item(), v - 1) > 1e-3
    top = p[0].topk(5).indices[None].numpy()
    kept = p[0, top[0]][None].numpy()
    biased = gradient(student, top, kept / kept.sum())[0]
    assert ((biased - of_whole(student, p)[0]) / error).abs().max() > 10


@pytest.mark.parametrize("draws", [1, 50, 255])
def test_shares_survive_their_rounding(draws):
    """float16 logs of counts over N are the counts again."""
    counts = np.arange(1, draws + 1)
    rounded = np.log(counts / draws).astype(np.float16)
    for count, log_prob in zip(counts, rounded, strict=True):
        p = np.exp(np.array([log_prob, LOG_TAIL_FLOOR], np.float64))
        assert np.rint(p * draws).tolist() == [count, 0]
    assert recalibrate(np.exp(rounded[-1:].astype(np.float64)), "sampled", draws=draws) == [1.0]


def test_what_is_no_token_is_never_drawn():
    logits = torch.tensor([[0.0, 9.0, 1.0, 0.5]])
    numbers = np.random.default_rng(0).random((1, 3)).repeat(1, axis=0)
    ids, log_probs, log_tail = sampled(logits, numbers, torch.tensor([1]))
    drawn = ids[log_probs > LOG_TAIL_FLOOR]
    assert 1 not in drawn and log_tail.tolist() == [LOG_TAIL_FLOOR]
    assert len({*ids[0].tolist()}) == 3


def rows_of(counts) -> list[EncodedRow]:
    return [
        EncodedRow(f"row{i}", np.arange(2 + n), 2, np.arange(n), bytes([i] * 16))
        for i, n in enumerate(counts)
    ]


def test_a_rows_draws_depend_on_its_content_alone():
    rows = rows_of([3, 1, 2])
    whole = uniforms(rows, 5)
    assert whole.shape == (6, 5) and 0 <= whole.min() and whole.max() < 1
    np.testing.assert_array_equal(whole[3:4], uniforms(rows[1:2], 5))
    np.testing.assert_array_equal(np.concatenate([whole[4:], whole[:3]]), uniforms(rows[::-2], 5))
    assert len(np.unique(whole)) == whole.size


def test_extraction_draws_from_a_plain_forward_pass_in_any_batches():
    encoded, model = (
        tiny.encode(tiny.choice_rows(4) + tiny.instruction_rows(3)),
        tiny.random_llama(7),
    )
    draws = 40
    arrays, others = (
        extract(model, encoded, 5, tiny.EOS, tokens, draws=draws) for tokens in (400, 4000)
    )
    check_arrays(arrays, 263)
    z = torch.cat([tiny.full_logits(model, r)[r.prompt_length - 1 :] for r in encoded])
    ids, log_probs, _ = sampled(z, uniforms(encoded, draws))
    k = (log_probs > LOG_TAIL_FLOOR).sum(axis=1).max()
    assert 1 < k < draws and arrays["ids"].shape == (len(z), k)
    for found in (arrays, others):
        np.testing.assert_array_equal(found["ids"], ids[:, :k])
        np.testing.assert_array_equal(found["log_probs"], log_probs[:, :k])
    q = shares(arrays["ids"].astype(np.int64), arrays["log_probs"], draws, 263)
    np.testing.assert_allclose(q * draws, np.rint(q * draws), atol=1e-9)
    expected = draws * z.softmax(1).double().numpy()
    often = expected > 5
    pearson = (((q * draws - expected) ** 2) / expected)[often].sum()
    assert stats.chi2.sf(pearson, often.sum()) > 1e-3


def test_no_rows_and_one_id():
    arrays = empty_arrays([], 7, 263)
    assert without_fill(arrays)["ids"].shape == (0, 1)


def test_from_the_teacher_to_the_student(tmp_path):
    table = tiny.write_table(tmp_path / "t.parquet", tiny.choice_rows(8))
    teacher = ["--model", tiny.checkpoint("teacher", 7), "--data", table, "--k", 8]
    teacher += ["--block-length", 400, "--max-tokens", 300, "--output-dir"]

    def make(name, *extra):
        knowledge.main([*map(str, [*teacher, tmp_path / name, *extra])])

    for name in ("one", "two"):
        make(name, "--draws", 20)
    for file in ("knowledge.safetensors", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    make("top")
    store = KnowledgeStore.open(tmp_path / "one")
    assert store.draws == 20 and "draws" not in KnowledgeStore.open(tmp_path / "top").manifest
    words = ["--model", tiny.checkpoint(), "--train", table, "--validation", table, "--seed", 3]
    words += ["--block-length", 400, "--epochs", 1, "--batch-size", 4, "--learning-rate", 0.01]
    words += ["--objective", "knowledge", "--method", "rs", "--output-dir"]

    def train(name, recalibration, out):
        own = ["--knowledge", tmp_path / name, "--recalibration", recalibration]
        student.main([*map(str, [*words, tmp_path / out, *own])])

    train("one", "sampled", "student")
    record = read_json(tmp_path / "student/record.json")
    assert record["recalibration"] == {"name": "sampled", "k": store.k, "draws": 20}
    with pytest.raises(UserError, match="a sampled store: --knowledge: use `sampled`"):
        train("one", "none", "refused")
    with pytest.raises(UserError, match="no samples: the knowledge store has the top k"):
        train("top", "sampled", "refused")
    with pytest.raises(UserError, match="a sampled store has no parts"):
        make("part", "--draws", 20, "--part", "1-of-2")
    with pytest.raises(UserError, match="--k or --draws: must lie between 1 and 255"):
        make("many", "--draws", 300)
    loss = KnowledgeLoss(store, store.k, "sampled", {"draws": 20})
    assert loss.settings == {"draws": 20} and not (tmp_path / "refused").exists()
