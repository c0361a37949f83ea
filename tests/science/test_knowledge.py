"""Extraction, against a full forward pass in float64 and torch's own log-softmax and top-k."""

import numpy as np
import pytest
import torch

from first_distill.errors import UserError
from first_distill.files import read_json, sha256_file
from first_distill.knowledge.extraction import extract
from first_distill.knowledge.store import LOG_TAIL_FLOOR, MANIFEST, KnowledgeStore
from first_distill.knowledge.topk import top_k
from scripts import knowledge
from tests import tiny_models as tiny

ENCODED = tiny.encode(tiny.choice_rows(4) + tiny.yes_no_rows(3) + tiny.instruction_rows(3))
V = 263


@pytest.fixture(scope="module")
def model():
    return tiny.random_llama(7)


@pytest.fixture(scope="module")
def reference(model):
    """float64 log-softmax of single rows at their supervised positions, (N, V)."""
    parts = [tiny.full_logits(model, r)[r.prompt_length - 1 :].log_softmax(-1) for r in ENCODED]
    return torch.cat(parts).numpy()


def labels() -> np.ndarray:
    return np.concatenate([row.labels for row in ENCODED])


@pytest.mark.parametrize("k", [1, 5, V])
def test_top_k_is_that_of_a_plain_forward_pass(model, reference, k):
    arrays = extract(model, ENCODED, k, tiny.EOS, 400)
    values, ids = torch.from_numpy(reference).topk(k)
    if k < V:  # far down the list, float32 and float64 may order near-ties differently
        np.testing.assert_array_equal(arrays["ids"], ids.numpy())
    else:
        assert (np.sort(arrays["ids"], axis=1) == np.arange(V)).all()
    own = np.take_along_axis(reference, arrays["ids"].astype(np.int64), axis=1)
    found = arrays["log_probs"].astype(np.float64)
    np.testing.assert_allclose(found, own, rtol=6e-4, atol=1e-5)  # float16: 2 ** -11 relative
    np.testing.assert_allclose(found, values.numpy(), rtol=6e-4, atol=1e-4)
    assert arrays["ids"].dtype == np.uint16 and arrays["log_probs"].dtype == np.float16


def test_tail_of_a_saturated_position_keeps_its_digits():
    """1 - 0.9999999 in float16 or float32 would be 0 or noise."""
    logits = torch.zeros(1, 1000)
    logits[0, 17] = 30.0
    ids, log_probs, log_tail = top_k(logits, 1)
    assert ids.tolist() == [[17]] and log_probs[0, 0] <= 0
    assert float(log_tail[0]) == pytest.approx(np.log(999) - 30, rel=1e-3)


def test_rows_and_gold_ranks_by_hand(model, reference):
    arrays = extract(model, ENCODED, 20, tiny.EOS, 400)
    assert np.diff(arrays["offsets"]).tolist() == [len(row.labels) for row in ENCODED]
    assert [h.tobytes() for h in arrays["row_hashes"]] == [row.row_hash for row in ENCODED]
    for position, label in enumerate(labels()):
        rank = int((reference[position] > reference[position][label]).sum())
        assert arrays["gold_rank"][position] == (rank if rank < 20 else 255)


def run(tmp_path, rows, *extra, k=8, model=None, block=400):
    table = tiny.write_table(tmp_path / "train.parquet", rows)
    knowledge.main(
        ["--model", str(model or tiny.checkpoint("teacher", 7)), "--data", str(table)]
        + ["--k", str(k), "--block-length", str(block), "--output-dir", str(tmp_path / "store")]
        + list(extra)
    )
    return KnowledgeStore.open(tmp_path / "store")


def test_stage_writes_what_extract_gives(tmp_path, model):
    rows = tiny.choice_rows(4)
    store = run(tmp_path, rows)
    expected = extract(model, tiny.encode(rows), 8, tiny.EOS, 8192)
    found = store.arrays
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    manifest = store.manifest
    teacher = read_json(tiny.checkpoint("teacher", 7) / "record.json")["files"]
    assert manifest["teacher"] == teacher["model.safetensors"]["sha256"]
    assert manifest["tokenizer"] == sha256_file(tiny.tokenizer_folder() / "tokenizer.json")
    assert manifest["corpus"] == sha256_file(tmp_path / "train.parquet")
    assert (manifest["vocabulary_size"], manifest["k"], manifest["scored"]) == (V, 8, "answer")
    assert str(tmp_path) not in (tmp_path / "store" / MANIFEST).read_text()


def test_stage_scores_responses_of_instruction_rows(tmp_path):
    assert run(tmp_path, tiny.instruction_rows(3)).manifest["scored"] == "response"


@pytest.mark.parametrize("k", [V + 1, 256])
def test_stage_refuses_k_out_of_range(tmp_path, k):
    with pytest.raises(UserError, match="--k"):
        run(tmp_path, tiny.choice_rows(2), k=k)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("shared", [V, 200])
def test_outputs_that_are_no_shared_token_are_in_the_tail(tmp_path, shared):
    """Against the padded teacher's full float64 softmax; the student's head may be shorter."""
    from first_distill.models.checkpoints import load_model, save_checkpoint

    rows = tiny.choice_rows(4)
    folder, student = tiny.padded_checkpoint(), tmp_path / "student"
    short = tiny.random_llama(0, vocabulary=shared)
    save_checkpoint(short, student, tiny.tokenizer_folder(), {"kind": "test"})
    store = run(tmp_path, rows, "--student", str(student), model=folder)
    model = load_model(folder, device="cpu")
    parts = [tiny.full_logits(model, r)[r.prompt_length - 1 :] for r in tiny.encode(rows)]
    reference = torch.cat(parts).softmax(-1).numpy()
    ids = np.argsort(-reference[:, :shared], axis=1)[:, :8]
    assert store.manifest["tokens"] == shared
    np.testing.assert_array_equal(store.arrays["ids"], ids)
    own = np.take_along_axis(reference, ids, axis=1)
    found = np.exp(store.arrays["log_probs"].astype(np.float64))
    np.testing.assert_allclose(found, own, rtol=0.02, atol=1e-7)  # float16 of a log near -20
    tail = np.exp(store.arrays["log_tail"].astype(np.float64))
    np.testing.assert_allclose(tail, 1 - own.sum(axis=1), atol=1e-3)
    mass = reference[:, shared:].sum(axis=1)
    assert np.median(mass) > 0.5
    np.testing.assert_allclose(store.arrays["padding"], mass, rtol=1e-5)
    facts = store.manifest["padding"]
    assert facts["share"] == pytest.approx(mass.mean(), rel=1e-5)
    assert facts["largest"] == pytest.approx(mass.max(), rel=1e-5)


def test_a_head_without_padding_stores_none(tmp_path):
    store = run(tmp_path, tiny.choice_rows(2))
    assert "padding" not in store.arrays
    assert store.manifest["padding"] == {"share": 0.0, "largest": 0.0}


@pytest.mark.parametrize("vocabulary", [5, 64, 200, 4097])
@pytest.mark.parametrize("kind", ["distinct", "few values", "bfloat16", "zeros of both signs"])
def test_top_k_is_a_stable_sort_of_all_logits(vocabulary, kind):
    """Ties or none, within a block, across blocks and where the last block is not full."""
    g = torch.Generator().manual_seed(vocabulary)
    logits = 4 * torch.randn(40, vocabulary, generator=g)
    if kind == "few values":
        logits = logits.round()
    elif kind == "bfloat16":
        logits = logits.bfloat16().float()
    elif kind == "zeros of both signs":
        logits *= 0
    for k in sorted({1, 2, 5, 20, 100, vocabulary} & set(range(1, vocabulary + 1))):
        before = logits.clone()
        ids, log_probs, log_tail = top_k(logits, k)
        assert torch.equal(logits, before)
        expected = logits.double().log_softmax(-1)
        order = logits.argsort(dim=-1, descending=True, stable=True)[:, :k]
        assert ids.tolist() == order.tolist()
        np.testing.assert_allclose(log_probs, expected.gather(1, order), rtol=2e-3, atol=1e-6)
        outside = expected.scatter(1, order, float("-inf")).logsumexp(-1)
        np.testing.assert_allclose(log_tail, outside.clamp(LOG_TAIL_FLOOR), rtol=2e-3, atol=1e-6)
