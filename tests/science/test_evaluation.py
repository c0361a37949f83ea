"""Evaluation: predictions from plain forward passes, metrics from predictions, errors in a line."""

from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from first_distill.errors import UserError
from first_distill.files import read_json, sha256_file, write_json
from first_distill.reporting.runs import estimates, load_runs
from scripts import evaluation
from tests import tiny_models as tiny

QUESTIONS = tiny.choice_rows(40)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model that answers with letters, so that accuracy and confidence are not all zero."""
    from first_distill.models.checkpoints import save_checkpoint

    model, folder = tiny.random_llama(3), tmp_path_factory.mktemp("model")
    with torch.no_grad():
        model.lm_head.weight[[tiny.tokenizer().encode(c)[1] for c in "abcde"]] *= 2
    save_checkpoint(model, folder, tiny.tokenizer_folder(), {"kind": "test"})
    return folder


def words(folder, model, table, *extra) -> list[str]:
    options = {
        "model": model,
        "tests": table,
        "output-dir": folder / "out",
        "scale": "tiny",
        "family": "alder",
        "corpus": "csqa",
        "method": "finetune",
        "seed": 7,
        "benchmarks": "csqa",
        "max-tokens": 600,
    }
    return [w for key, value in options.items() for w in (f"--{key}", str(value))] + list(extra)


def run(folder, model, rows=QUESTIONS, *extra):
    table = tiny.write_table(folder / "test.parquet", rows)
    evaluation.main(words(folder, model, table, *extra))
    record = read_json(folder / "out" / "metrics.json")
    predictions = pq.ParquetFile(folder / "out" / "predictions.parquet").read().to_pylist()
    return predictions, {**record, **record["benchmarks"]["csqa"]}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, model_folder):
    folder = tmp_path_factory.mktemp("evaluated")
    return folder, *run(folder, model_folder)


@cache
def load(model_folder):
    """The model, by transformers alone."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()


def log_probs(model_folder, row) -> np.ndarray:
    """float64 log-softmax (V,) after the whole prompt, from a plain forward pass."""
    ids = tiny.tokenizer().encode(row["prompt"])
    with torch.no_grad():
        return (
            load(model_folder)(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1).numpy()
        )


def test_predictions_by_hand(evaluated, model_folder):
    _, predictions, _ = evaluated
    letters = [tiny.tokenizer().encode(c)[1] for c in "abcde"]
    for row, found in zip(QUESTIONS, predictions, strict=True):
        own = log_probs(model_folder, row)[letters]
        best = int(own.argmax())
        assert (found["id"], found["answer"]) == (row["id"], row["answer"])
        assert found["prediction"] == "abcde"[best]
        assert found["correct"] == ("abcde"[best] == row["answer"])
        np.testing.assert_allclose(found["candidate_log_probs"], own, atol=1e-4)
        assert found["confidence"] == pytest.approx(np.exp(own[best]), rel=1e-4)
    assert 0 < sum(found["correct"] for found in predictions) < len(QUESTIONS)


def test_ranks_by_hand(evaluated, model_folder):
    folder, _, _ = evaluated
    ranks = pq.ParquetFile(folder / "out" / "ranks.parquet").read().to_pylist()
    assert len(ranks) == 5 * len(QUESTIONS)
    for i, row in enumerate(QUESTIONS):
        everything = log_probs(model_folder, row)
        order = np.argsort(-everything)[:5]
        gold = tiny.tokenizer().encode(row["answer"])[1]
        for rank, found in enumerate(ranks[5 * i : 5 * i + 5]):
            assert found["rank"] == rank + 1
            assert found["probability"] == pytest.approx(np.exp(everything[order[rank]]), rel=1e-3)
            assert found["correct"] == (order[rank] == gold)


def ece(confidence, correct) -> float:
    """In percent, bin by bin."""
    total = 0.0
    for low in range(10):
        inside = (confidence > low / 10) & (confidence <= (low + 1) / 10)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return 100 * total


def test_metrics_follow_from_the_predictions(evaluated):
    folder, predictions, metrics = evaluated
    confidence = np.asarray([p["confidence"] for p in predictions])
    correct = np.asarray([p["correct"] for p in predictions])

    gold = ["abcde".index(p["answer"]) for p in predictions]
    own = np.asarray([p["candidate_log_probs"] for p in predictions])
    renormalised = confidence / np.exp(own).sum(1)
    # Proper scores of the full vocabulary: the candidates and "anything else".
    outcomes = np.column_stack([np.exp(own), 1 - np.exp(own).sum(1)])
    answers = [p["answer"] for p in predictions]
    expected = {
        "n": 40,
        "accuracy": 100 * correct.mean(),
        "confidence": 100 * confidence.mean(),
        "ece": ece(confidence, correct),
        "trust": 100 * correct.mean() - ece(confidence, correct),
        "ece_candidates": ece(renormalised, correct),
        "trust_candidates": 100 * correct.mean() - ece(renormalised, correct),
        "candidate_mass": 100 * np.exp(own).sum(1).mean(),
        "nll": -own[np.arange(40), gold].mean(),
        "chance": 20.0,
        "majority": 100 * max(answers.count(a) for a in "abcde") / 40,
        "posthoc": {},
        "seed": 7,
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-9), name
    assert metrics["brier"] == pytest.approx(((outcomes - np.eye(6)[gold]) ** 2).sum(1).mean())
    assert metrics["constant_output"] == (len({p["prediction"] for p in predictions}) == 1)
    for name, (low, high) in metrics["intervals"].items():
        assert low <= high and name in expected
        assert low <= metrics[name] <= high
    (runs,) = load_runs([folder / "out/metrics.json"]).values()
    whole = estimates(runs)
    for name, ends in metrics["intervals"].items():  # Table 1 draws the same questions
        found = whole[name].interval()
        assert ends == pytest.approx([found["low"], found["high"]])
    for name, described in metrics["files"].items():
        assert described["sha256"] == sha256_file(folder / "out" / name)
    assert sorted(metrics["files"]) == ["predictions.parquet", "ranks.parquet"]
    assert metrics["made_from"]["test.parquet"] == sha256_file(folder / "test.parquet")
    assert str(folder) not in (folder / "out" / "metrics.json").read_text()


def test_same_inputs_give_the_same_bytes(evaluated, tmp_path, model_folder):
    folder, _, _ = evaluated
    run(tmp_path, model_folder)
    for name in ("predictions.parquet", "ranks.parquet", "metrics.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_several_benchmarks_give_what_each_gives_alone(tmp_path, model_folder):
    """In the given order, with a label on each row."""
    rows = {"csqa": QUESTIONS, "boolq": tiny.yes_no_rows(30)}
    folders = [tmp_path / "boolq", tmp_path / "csqa", tmp_path / "both"]
    for folder, names in zip(folders, (["boolq"], ["csqa"], ["boolq", "csqa"]), strict=True):
        tests = [tiny.write_table(folder / f"{name}.parquet", rows[name]) for name in names]
        line = words(folder, model_folder, "")
        at = line.index("--tests")
        line[at + 1 : at + 2] = map(str, tests)
        line[line.index("--benchmarks") + 1 : line.index("--benchmarks") + 2] = names
        evaluation.main(line)
    for name in ("predictions.parquet", "ranks.parquet"):
        first, second, both = (pq.ParquetFile(f / "out" / name).read() for f in folders)
        assert both.to_pylist() == first.to_pylist() + second.to_pylist()
    first, second, both = (read_json(f / "out/metrics.json")["benchmarks"] for f in folders)
    assert both == first | second and list(both) == ["boolq", "csqa"]


def posthoc(folder, **temperatures):
    write_json(folder / "validation.json", {"posthoc_temperatures": temperatures})
    return "--posthoc", str(folder / "validation.json")


def test_posthoc_temperatures_divide_all_logits_and_change_no_prediction(
    evaluated, tmp_path, model_folder
):
    """Numbers at T = 1 stay as they were; those at each T follow from logits divided by it."""
    _, original, plain = evaluated
    temperatures = {"nll": 2.5, "ece": 0.4}
    found, metrics = run(tmp_path, model_folder, QUESTIONS, *posthoc(tmp_path, **temperatures))
    assert [{k: row[k] for k in original[0]} for row in found] == original
    blocks = metrics.pop("posthoc")
    same = plain["benchmarks"]["csqa"].keys() - {"posthoc"}
    assert {k: metrics[k] for k in same} == {k: plain[k] for k in same}
    letters = [tiny.tokenizer().encode(c)[1] for c in "abcde"]
    correct = np.asarray([row["correct"] for row in original])
    gold = ["abcde".index(row["answer"]) for row in QUESTIONS]
    for fit, t in temperatures.items():
        expected = np.asarray(
            [
                torch.from_numpy(log_probs(model_folder, row) / t).log_softmax(-1)[letters]
                for row in QUESTIONS
            ]
        )
        own = np.asarray([row[f"candidate_log_probs_{fit}"] for row in found])
        np.testing.assert_allclose(own, expected, atol=1e-4)
        confidence = np.asarray([row[f"confidence_{fit}"] for row in found])
        np.testing.assert_array_equal(confidence, np.exp(own).max(axis=1))
        assert own.argmax(1).tolist() == ["abcde".index(row["prediction"]) for row in original]
        assert blocks[fit]["temperature"] == t
        assert blocks[fit]["accuracy"] == plain["accuracy"] == 100 * correct.mean()
        assert blocks[fit]["ece"] == pytest.approx(ece(confidence, correct))
        assert blocks[fit]["nll"] == pytest.approx(-own[np.arange(40), gold].mean())


def refused(folder, match, model, rows=QUESTIONS, *extra) -> None:
    with pytest.raises(UserError, match=match) as caught:
        run(folder, model, rows, *extra)
    assert "\n" not in str(caught.value)
    assert not (folder / "out").exists()


def test_wrong_test_files(tmp_path, model_folder):
    refused(tmp_path, "answer None is not a candidate", model_folder, tiny.instruction_rows(3))
    refused(tmp_path, "empty split", model_folder, [])
    refused(tmp_path, "repeated id", model_folder, [*QUESTIONS[:2], QUESTIONS[0]])


@pytest.mark.parametrize(
    "content",
    [
        {"posthoc_temperatures": {"nll": 0, "ece": 1.5}},
        {"posthoc_temperatures": {"nll": 1.5}},
        {"posthoc_temperature": 1.5},
        [],
    ],
)
def test_wrong_posthoc_files(tmp_path, model_folder, content):
    write_json(tmp_path / "other.json", content)
    refused(tmp_path, "other.json", model_folder, QUESTIONS, "--posthoc", f"{tmp_path}/other.json")


def test_missing_or_surplus_inputs_are_refused(tmp_path, model_folder):
    table = tiny.write_table(tmp_path / "t.parquet", QUESTIONS[:2])
    with pytest.raises(UserError, match="missing checkpoint"):
        evaluation.main(words(tmp_path, tmp_path / "nowhere", table))
    with pytest.raises(UserError, match="one file for each"):
        evaluation.main([*words(tmp_path, model_folder, table), "--benchmarks", "csqa", "boolq"])
    assert not (tmp_path / "out").exists()
