"""`logit_temperature`: softmax(z / T) over the whole vocabulary, of k numbers and one tail."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, softmax

from first_distill.calibration.recalibration import logit_temperature, normalise
from first_distill.errors import UserError
from first_distill.files import read_json, write_json
from first_distill.knowledge.extraction import extract
from first_distill.knowledge.store import LOG_TAIL_FLOOR, KnowledgeStore
from first_distill.models.encoding import EncodedRow
from first_distill.training.knowledge_loss import KnowledgeLoss
from scripts import knowledge, student
from tests import tiny_models as tiny

N, V = 7, 23
TEMPERATURES = [0.4, 1.0, 2.5]


def teacher_logits(n: int = N, v: int = V) -> np.ndarray:
    return 3 * np.random.default_rng(0).normal(size=(n, v))


def exact_store(z: np.ndarray, stored: int, t: float) -> tuple[KnowledgeStore, list[EncodedRow]]:
    """The store of these logits with exact numbers, and its rows, of one to three positions."""
    log_p, ids = log_softmax(z, axis=1), np.argsort(-z, axis=1)[:, :stored]
    outside = np.ones(z.shape, bool)
    np.put_along_axis(outside, ids, False, axis=1)

    def log_tail(q: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.maximum(np.log((q * outside).sum(axis=1)), LOG_TAIL_FLOOR)

    counts = [3, 1, 2, 1]
    arrays = {
        "ids": ids.astype(np.uint16),
        "log_probs": np.take_along_axis(log_p, ids, axis=1),
        "log_tail": log_tail(np.exp(log_p)),
        "log_tail_t": log_tail(softmax(z / t, axis=1)),
        "gold_rank": np.zeros(len(z), np.uint8),
        "offsets": np.concatenate([[0], np.cumsum(counts)]),
        "row_hashes": np.arange(16 * len(counts), dtype=np.uint8).reshape(-1, 16),
    }
    rows = [
        EncodedRow(f"row{i}", None, 1, np.zeros(n), bytes(arrays["row_hashes"][i]))
        for i, n in enumerate(counts)
    ]
    return KnowledgeStore(arrays, {"logit_temperature": t}), rows


def targets(z, k: int, stored: int, t: float, side="tail_bucket", positions="all"):
    store, rows = exact_store(z, stored, t)
    settings = {"t": store.logit_temperature}
    loss = KnowledgeLoss(store, k, "logit_temperature", settings, side, positions)
    return loss.targets(rows, "cpu")


def student_logits() -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    return 2 * torch.randn(N, V, generator=g, dtype=torch.float64)


def dense_divergence(logits: torch.Tensor, z: np.ndarray, k: int, t: float) -> torch.Tensor:
    """KL of k + 1 outcomes, from both whole distributions: the k likeliest, and all others."""
    teacher, own = torch.from_numpy(softmax(z / t, axis=1)), logits.softmax(-1)
    ids = torch.from_numpy(np.argsort(-z, axis=1)[:, :k].copy())
    both = []
    for p in (teacher, own):
        rest = p.scatter(1, ids, 0.0).sum(-1, keepdim=True)
        both.append(torch.cat([p.gather(1, ids), rest] if k < V else [p.gather(1, ids)], dim=1))
    return F.kl_div(both[1].log(), both[0], reduction="none").sum(-1)


def test_the_k_probabilities_are_those_of_the_softmax_at_t():
    """Given the k tokens; and Guo et al.'s T, unlike Eq. 4, can sharpen without end."""
    z = teacher_logits()
    p = np.sort(softmax(z, axis=1))[:, ::-1][:, :5]
    for t in TEMPERATURES:
        whole = np.sort(softmax(z / t, axis=1))[:, ::-1][:, :5]
        found = logit_temperature(p, t)
        np.testing.assert_allclose(found, whole / whole.sum(axis=1, keepdims=True), rtol=1e-12)
    assert logit_temperature([0.6, 0.3], 0.01)[0] == pytest.approx(1.0)
    assert logit_temperature([0.6, 0.3, 0.0], 2.0)[2] == 0.0


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize(("k", "stored"), [(3, 8), (5, 5), (8, 8), (1, 8), (V, V)])
def test_targets_are_the_dense_softmax_with_the_tail_exact(k, stored, t):
    """m q and 1 - m: the k probabilities of softmax(z / T), and that of everything else."""
    z = teacher_logits()
    found = targets(z, k, stored, t)
    whole = np.sort(softmax(z / t, axis=1))[:, ::-1]
    mass = found.head_mass.numpy().astype(np.float64)
    np.testing.assert_allclose(found.q.numpy() * mass[:, None], whole[:, :k], rtol=3e-7, atol=1e-9)
    np.testing.assert_allclose(1 - mass, whole[:, k:].sum(axis=1), atol=1.2e-7)


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize(("k", "stored"), [(3, 8), (5, 5), (V, V)])
def test_loss_and_gradient_are_those_of_the_dense_divergence(k, stored, t):
    z, results = teacher_logits(), []
    for divergence in (targets(z, k, stored, t).loss, None):
        logits = student_logits().requires_grad_()
        loss = divergence(logits) if divergence else dense_divergence(logits, z, k, t)
        loss.sum().backward()
        results.append((loss.detach(), logits.grad))
    (ours, gradient), (dense, expected) = results
    torch.testing.assert_close(ours, dense, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    if k == V:
        assert torch.allclose(
            gradient, student_logits().softmax(-1) - torch.tensor(softmax(z / t, 1))
        )


def test_finite_differences():
    target = targets(teacher_logits(), 5, 8, 2.5)
    assert torch.autograd.gradcheck(target.loss, student_logits().requires_grad_())


@pytest.mark.parametrize("side", ["full_vocab", "renorm"])
def test_other_sides_get_the_k_values_normalised(side):
    """As A.1 does, up to its eps."""
    z = teacher_logits()
    found = targets(z, 5, 8, 2.5, side)
    whole = np.sort(softmax(z / 2.5, axis=1))[:, ::-1][:, :5]
    np.testing.assert_allclose(found.q, normalise(whole), rtol=1e-4)
    assert found.head_mass is None


def test_answer_only_leaves_the_other_positions_at_t_1():
    """With the mass that belongs to them; rows have 3, 1, 2 and 1 positions."""
    z, first = teacher_logits(), [0, 3, 4, 6]
    found = targets(z, 5, 8, 2.5, positions="answer_only")
    for position in range(N):
        t = 2.5 if position in first else 1.0
        whole = np.sort(softmax(z[position] / t))[::-1]
        mass = float(found.head_mass[position])
        assert mass == pytest.approx(whole[:5].sum(), rel=1e-6)
        np.testing.assert_allclose(mass * found.q[position], whole[:5], rtol=1e-4)


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("k", [1, 5, 263])
def test_extraction_stores_the_tail_of_a_plain_forward_pass(t, k):
    encoded, model = (
        tiny.encode(tiny.choice_rows(4) + tiny.instruction_rows(3)),
        tiny.random_llama(7),
    )
    arrays = extract(model, encoded, k, tiny.EOS, 400, temperature=t)
    z = torch.cat([tiny.full_logits(model, r)[r.prompt_length - 1 :] for r in encoded]).numpy()
    p = softmax(z / t, axis=1)
    np.put_along_axis(p, arrays["ids"].astype(np.int64), 0.0, axis=1)
    found = arrays["log_tail_t"]
    assert found.dtype == np.float32
    if k == 263:
        assert (found == LOG_TAIL_FLOOR).all()
    else:
        np.testing.assert_allclose(found, np.log(p.sum(axis=1)), atol=1e-4)
    if t == 1.0:
        np.testing.assert_allclose(found, arrays["log_tail"], rtol=1e-3, atol=1e-5)
    plain = extract(model, encoded, k, tiny.EOS, 400)
    assert "log_tail_t" not in plain
    assert all((plain[name] == arrays[name]).all() for name in plain)


def test_a_saturated_tail_keeps_its_digits():
    """Far below what float32 has of 1 - p, and below what exp has: T = 0.4 of a gap of 30."""
    from first_distill.knowledge.topk import log_tail_at

    logits = torch.zeros(1, 1000)
    logits[0, 17] = 30.0
    found = [float(log_tail_at(logits, torch.tensor([[17]]), t)[0]) for t in (1.0, 0.6, 0.01)]
    expected = [np.log(999) - 30, np.log(999) - 50, LOG_TAIL_FLOOR]
    assert found == pytest.approx(expected, rel=1e-6)


def words(folder, *extra) -> list[str]:
    options = {"model": tiny.checkpoint(), "train": folder / "t.parquet", "k": 5, "seed": 3}
    options |= {"validation": folder / "t.parquet", "block-length": 400, "epochs": 1}
    options |= {"batch-size": 4, "learning-rate": 0.01, "objective": "knowledge", "method": "lt"}
    found = [w for key, value in options.items() for w in (f"--{key}", str(value))]
    return [*found, "--recalibration", "logit_temperature", "--student-side", "tail_bucket", *extra]


def test_from_the_teachers_validation_to_the_student(tmp_path):
    """T is that by NLL; a part of an extraction at another T is refused, and so is one without."""
    table = tiny.write_table(tmp_path / "t.parquet", tiny.choice_rows(8))
    teacher = ["--model", str(tiny.checkpoint("teacher", 7)), "--data", str(table), "--k", "8"]
    teacher += ["--block-length", "400", "--max-tokens", "300", "--output-dir"]
    fitted = ["--posthoc", str(tmp_path / "validation.json")]
    for name, t in (("warm", 1.6), ("hot", 1.7)):
        temperatures = {"nll": t, "ece": 3.0}
        write_json(tmp_path / "validation.json", {"posthoc_temperatures": temperatures})
        knowledge.main([*teacher, str(tmp_path / name), *fitted])
    store = KnowledgeStore.open(tmp_path / "warm")
    assert store.logit_temperature == 1.6
    for name in ("1-of-2", "2-of-2"):
        knowledge.main([*teacher, str(tmp_path / name), *fitted, "--part", name])
    merge = ["--merge", str(tmp_path / "1-of-2"), str(tmp_path / "2-of-2")]
    knowledge.main([*teacher, str(tmp_path / "merged"), *fitted, *merge])
    for file in ("knowledge.safetensors", "manifest.json"):
        assert (tmp_path / "merged" / file).read_bytes() == (tmp_path / "hot" / file).read_bytes()
    with pytest.raises(UserError, match="it differs in logit_temperature: delete it"):
        knowledge.main([*teacher, str(tmp_path / "no"), *merge])
    weights = []
    for name in ("warm", "hot"):
        out = ["--knowledge", str(tmp_path / name), "--output-dir", str(tmp_path / f"{name}-out")]
        student.main(words(tmp_path, *out))
        record = read_json(tmp_path / f"{name}-out/record.json")
        weights.append(record["files"]["model.safetensors"]["sha256"])
        t = {"warm": 1.6, "hot": 1.7}[name]
        assert record["recalibration"] == {"name": "logit_temperature", "k": 5, "t": t}
    assert weights[0] != weights[1]
    knowledge.main([*teacher, str(tmp_path / "plain")])
    out = ["--knowledge", str(tmp_path / "plain"), "--output-dir", str(tmp_path / "refused")]
    with pytest.raises(UserError, match="no tail at a temperature: the knowledge store lacks"):
        student.main(words(tmp_path, *out))
    assert not (tmp_path / "refused").exists()
