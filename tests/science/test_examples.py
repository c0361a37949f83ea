"""The examples of docs/library.md: short, run from any folder, and right by other computations."""

import math
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
import torch
from sklearn.metrics import accuracy_score
from torchmetrics.functional.classification import binary_calibration_error

from first_distill import KnowledgeStore, id_dtype, row_hash, top_k, write_store
from tests import exams
from tests import tiny_models as tiny

EXAMPLES = sorted((tiny.REPOSITORY / "examples").glob("*.py"))


def run(folder, name: str, *words: object) -> str:
    """What an example prints, started as a program in another folder."""
    line = [sys.executable, str(tiny.REPOSITORY / f"examples/{name}.py"), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(tiny.REPOSITORY)}
    done = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", ["read_store", "lm_eval_metrics"])
def test_without_a_file_they_say_what_they_need(tmp_path, name):
    path = tiny.REPOSITORY / f"examples/{name}.py"
    environment = {**os.environ, "PYTHONPATH": str(tiny.REPOSITORY)}
    line = [sys.executable, str(path)]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode and f"{name}.py " in done.stderr and "Traceback" not in done.stderr


def ece(confidence, correct) -> float:
    """In percent, by torchmetrics."""
    confidence, correct = map(torch.as_tensor, (np.array(confidence), np.array(correct)))
    return 100 * float(binary_calibration_error(confidence, correct.int(), n_bins=10))


def divergence(logits: list[float], ids: list[int], p: list[float], c: float) -> float:
    """Eq. 4 and 5 at one position, in plain numbers."""
    weights = [math.exp(own / c) for own in p]
    q = [weight / sum(weights) for weight in weights]
    normaliser = math.log(sum(map(math.exp, logits)))
    return sum(a * (math.log(a) - logits[i] + normaliser) for a, i in zip(q, ids, strict=True))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_has_at_most_thirty_lines(path):
    assert len(path.read_text().splitlines()) <= 30


def test_there_are_four():
    assert [p.stem for p in EXAMPLES] == ["lm_eval_metrics", "read_store", "torch_loop", "trainer"]


def test_torch_loop(tmp_path):
    """c by brute force over the finest grid; the student's ECE is that of the target."""
    c, loss, teacher, student = map(float, re.findall(r"\d+\.\d+", run(tmp_path, "torch_loop")))
    torch.manual_seed(0)
    scores = 2 * torch.randn(400, 50)
    gold = torch.multinomial(scores.softmax(-1), 5, replacement=True)
    p, ids = (3 * scores).softmax(-1).topk(5)
    correct = (ids[:, :1] == gold).flatten()

    def calibration(at: float) -> float:
        return ece(torch.softmax(p.double() / at, -1)[:, 0].repeat_interleave(5), correct)

    best = min((h / 100 for h in range(2, 101, 2)), key=calibration)
    assert calibration(c) <= calibration(best) + 0.5
    assert teacher == pytest.approx(ece(p[:, 0].repeat_interleave(5), correct), abs=0.051)
    assert student == pytest.approx(calibration(c), abs=1.0) and student < teacher / 5
    assert 0 <= loss < 0.01


def test_trainer(tmp_path):
    """The first step's loss, whose rows the Trainer draws, is near the mean over all rows."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    last = run(tmp_path, "trainer").splitlines()[-1]
    first, end = map(float, re.findall(r"\d+\.\d+", last))
    set_seed(0)
    size = {"num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 40, "hidden_size": 32}
    made = [LlamaForCausalLM(LlamaConfig(**size, intermediate_size=64)) for _ in range(2)]
    made[0].lm_head.weight.data *= 40
    tokens = torch.randint(0, 40, (64, 8))
    with torch.no_grad():
        teacher, student = (model(tokens).logits.double().flatten(0, 1) for model in made)
    p, ids = teacher.softmax(-1).topk(5)
    losses = [
        divergence(*own, 0.3)
        for own in zip(student.tolist(), ids.tolist(), p.tolist(), strict=True)
    ]
    per_row = np.reshape(losses, (64, 8)).mean(1)
    assert abs(first - per_row.mean()) < 4 * per_row.std() / math.sqrt(8)
    assert end < first / 20


def test_read_store(tmp_path):
    """A store that the library wrote, read by the example and by the library."""
    teacher = 3 * torch.randn(6, 40, generator=torch.Generator().manual_seed(1))
    gold, k = torch.tensor([3, 7, 7, 0, 39, 2]), 8
    ids, log_probs, log_tail = top_k(teacher, k)
    rank = np.where(ids == gold.numpy()[:, None], np.arange(k), 255).min(1)
    arrays = {
        "ids": ids.astype(id_dtype(40)),
        "log_probs": log_probs,
        "log_tail": log_tail,
        "gold_rank": rank.astype(np.uint8),
        "offsets": np.array([0, 2, 6]),
        "row_hashes": np.frombuffer(b"".join(row_hash(np.arange(n), 1) for n in (2, 4)), np.uint8),
    }
    arrays["row_hashes"] = arrays["row_hashes"].reshape(2, 16)
    write_store(tmp_path / "store", arrays, {"vocabulary_size": 40})
    head, top, rest, *positions = run(tmp_path, "read_store", "store").splitlines()
    assert head == "2 rows, 6 positions, top 8 of the vocabulary"
    p = teacher.double().softmax(-1)
    sizes = [float(word) for word in re.findall(r"\d\.\d+", f"{top} {rest}")]
    right = accuracy_score(gold, p.argmax(-1))
    mass = float(p.topk(k).values.sum(-1).mean())
    expected = [float(p.amax(-1).mean()), right, mass, 1 - mass]
    assert sizes == pytest.approx(expected, abs=1e-3)
    assert [line.split()[0] for line in positions] == [str(i) for i in p.argmax(-1)[:2].tolist()]
    opened = KnowledgeStore.open(tmp_path / "store")
    assert len(opened) == 2 and opened.row_by_hash[row_hash(np.arange(4), 1)] == 1
    np.testing.assert_allclose(opened.probabilities(k)[:, 0], p.amax(-1), rtol=1e-3)


@pytest.mark.slow
def test_lm_eval_metrics(tmp_path):
    """A file that lm-eval has written."""
    pytest.importorskip("lm_eval")
    rows = tiny.choice_rows(40)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "exam.parquet")
    path = exams.samples(tmp_path, tiny.checkpoint("student", 3), tmp_path / "exam.parquet")
    lines = run(tmp_path, "lm_eval_metrics", path).splitlines()
    found = {
        words[0]: list(map(float, re.findall(r"-?\d+\.\d+", line)))
        for line in lines
        for words in [line.split()]
    }
    given = np.asarray(exams.log_likelihoods(path))
    gold = [row["candidates"].index(row["answer"]) for row in rows]
    accuracy = 100 * accuracy_score(gold, given.argmax(1))
    error = ece(np.exp(given.max(1)), given.argmax(1) == gold)
    assert found["accuracy"][0] == pytest.approx(accuracy, abs=0.006)
    assert found["ece"][0] == pytest.approx(error, abs=0.006)
    assert found["trust"][0] == pytest.approx(accuracy - error, abs=0.011)
    assert all(low <= value <= high and low < high for value, low, high in found.values())
