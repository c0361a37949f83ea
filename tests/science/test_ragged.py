"""Questions with three to five choices: evaluation and its tables, against plain Python."""

import csv
import json
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer

from first_distill.calibration.intervals import Estimate
from first_distill.calibration.statistic import question_weights, score
from first_distill.calibration.summary import measure
from first_distill.data import report
from first_distill.data.prompts import Row
from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.models.checkpoints import save_checkpoint
from first_distill.models.predictions import gold_columns, predict, tables
from scripts import evaluation
from tests import tiny_models as tiny
from tests.science import independent, plain_meters
from tests.science.artifacts_world import artifact

N, BINS = 120, 10
QUESTIONS = tiny.ragged_rows(N)
METHODS = ("finetune", "distill", "first_ts")
LABELS = {"scale": "tiny", "family": "alder", "corpus": "csqa"}


def checkpoint(folder, seed):
    """A model whose next token is any of the letters, the first and the last id (index -1).

    Prompts end alike, and so does what the head reads: its mean speaks for each of the seven, what
    is left for one or the other.
    """
    model, encode = tiny.random_llama(seed), tiny.tokenizer().encode
    ids = [*(encode(letter)[1] for letter in "abcde"), 0, 262]
    with torch.no_grad():
        prompts = [torch.tensor([encode(row["prompt"])]) for row in QUESTIONS]
        last = torch.stack([model.model(p).last_hidden_state[0, -1] for p in prompts])
        mean = torch.nn.functional.normalize(last.mean(0), dim=0)
        drawn = 1.5 * torch.randn(7, 16, generator=torch.Generator().manual_seed(seed))
        model.lm_head.weight[ids] = drawn + torch.outer(1.8 - drawn @ mean, mean)
    save_checkpoint(model, folder, tiny.tokenizer_folder(), {"kind": "test"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """test.parquet, and of each method the folders METHOD, a model, and METHOD-out."""
    folder = tmp_path_factory.mktemp("ragged")
    table = tiny.write_table(folder / "test.parquet", QUESTIONS)
    for seed, method in enumerate(METHODS, start=8):
        checkpoint(folder / method, seed)
        labels = LABELS | {"method": method, "seed": seed, "benchmarks": "arc"}
        options = {"model": folder / method, "tests": table, "max-tokens": 600, **labels}
        options["output-dir"] = folder / f"{method}-out"
        evaluation.main([w for name, value in options.items() for w in (f"--{name}", str(value))])
    return folder


def probabilities(model, tokenizer, row) -> list[float]:
    """Softmax of the logits after a row's prompt."""
    with torch.no_grad():
        ids = torch.tensor([tokenizer(row["prompt"])["input_ids"]])
        logits = model(ids).logits[0, -1].tolist()
    total = math.fsum(math.exp(logit - max(logits)) for logit in logits)
    return [math.exp(logit - max(logits)) / total for logit in logits]


@pytest.fixture(scope="module")
def expected(folder):
    """{method: [{candidate: probability} of each question]}; `every`: the first one's outputs."""
    found = {}
    for method in METHODS:
        model = independent.load(folder / method)
        tokenizer = AutoTokenizer.from_pretrained(folder / method)
        found[method], every = [], []
        for row in QUESTIONS:
            every.append(probabilities(model, tokenizer, row))
            ids = {c: tokenizer(row["prompt"] + c)["input_ids"][-1] for c in row["candidates"]}
            found[method].append({c: every[-1][i] for c, i in ids.items()})
        found.setdefault("every", every)
    return found


def predicted(folder, method="finetune") -> list[dict]:
    return pq.read_table(folder / f"{method}-out" / "predictions.parquet").to_pylist()


def test_predictions_are_among_the_rows_own_candidates(folder, expected):
    letters = {c: tiny.tokenizer().encode(c)[1] for c in "abcde"}
    elsewhere = Counter()
    rows = zip(QUESTIONS, predicted(folder), expected["finetune"], expected["every"], strict=True)
    for row, found, own, every in rows:
        best = max(own, key=own.get)
        assert found["prediction"] == best
        assert found["correct"] == (best == row["answer"])
        assert found["confidence"] == pytest.approx(own[best], rel=1e-4)
        logs = [math.log(p) for p in own.values()]
        assert found["candidate_log_probs"] == pytest.approx(logs, abs=1e-4)
        absent = [i for c, i in letters.items() if c not in own]
        elsewhere["absent"] += any(every[i] > own[best] for i in absent)
        elsewhere["first id"] += every[0] > own[best] and len(own) < 5
        elsewhere["last id"] += every[-1] > own[best] and len(own) < 5
    assert min(elsewhere[name] for name in ("absent", "first id", "last id")) >= 5, elsewhere


def ece(pairs: list[tuple[float, bool]], bins: int = BINS) -> float:
    """Eq. 1 in percent, of (confidence, correct)."""
    gaps = [0.0] * bins
    for confidence, correct in pairs:
        inside = [b for b in range(bins) if b / bins < confidence <= (b + 1) / bins]
        gaps[inside[0]] += confidence - correct
    return 100 * sum(map(abs, gaps)) / len(pairs)


def adaptive_ece(pairs: list[tuple[float, bool]]) -> float:
    """The same with bins of equally many questions."""
    ordered, size = sorted(pairs), len(pairs) // BINS
    parts = [ordered[start : start + size] for start in range(0, len(pairs), size)]
    return 100 * sum(abs(sum(p - hit for p, hit in part)) for part in parts) / len(pairs)


def accuracy(pairs: list[tuple[float, bool]]) -> float:
    return 100 * sum(hit for _, hit in pairs) / len(pairs)


def headline(pairs) -> dict[str, float]:
    """ECE, accuracy and trust."""
    return {"ece": ece(pairs), "accuracy": accuracy(pairs), "trust": accuracy(pairs) - ece(pairs)}


def every_meter(pairs) -> dict[str, float]:
    """Those of a confidence, in percent."""
    loops = ("smooth_ece", "auroc", "aurc", "excess_aurc")
    found = {name: 100 * getattr(plain_meters, name)(pairs) for name in loops}
    return {
        "ece": ece(pairs),
        "ece_15": ece(pairs, 15),
        "adaptive_ece": adaptive_ece(pairs),
        **found,
    }


def intervals(pairs) -> dict[str, list[float]]:
    """Those of the pairs alone; tests/science/test_intervals.py holds them against others."""
    columns = map(np.array, zip(*pairs, strict=True))
    found = score(*columns, question_weights("arc", N))
    ends = {name: Estimate([found[name]]).interval() for name in headline(pairs)}
    return {name: [own["low"], own["high"]] for name, own in ends.items()}


def scores(own: list[dict[str, float]]) -> tuple[dict[str, float], list[tuple[float, bool]]]:
    """What metrics.json has of a benchmark but its intervals; (confidence, correct)."""
    golds, numbers = [row["answer"] for row in QUESTIONS], Counter()
    pairs, shares = [], []
    for p, gold in zip(own, golds, strict=True):
        best, mass = max(p, key=p.get), sum(p.values())
        pairs.append((p[best], best == gold))
        shares.append((p[best] / mass, best == gold))
        numbers["confidence"] += 100 * p[best]
        numbers["candidate_mass"] += 100 * mass
        numbers["nll"] -= math.log(p[gold])
        numbers["brier"] += (1 - mass) ** 2
        numbers["brier"] += sum((value - (name == gold)) ** 2 for name, value in p.items())
        numbers["nll_candidates"] -= math.log(p[gold] / mass)
        rescaled = [(value / mass - (name == gold)) ** 2 for name, value in p.items()]
        numbers["brier_candidates"] += sum(rescaled)
        numbers["chance"] += 100 / len(p)
    means = {name: total / N for name, total in numbers.items()}
    means |= headline(pairs) | every_meter(pairs) | {"n": N}
    means |= {f"{name}_candidates": value for name, value in every_meter(shares).items()}
    means |= {"trust_candidates": accuracy(shares) - ece(shares)}
    return means | {"majority": 100 * max(map(golds.count, "abcde")) / N}, pairs


def test_metrics(folder, expected):
    metrics = read_json(folder / "finetune-out" / "metrics.json")["benchmarks"]["arc"]
    own, pairs = scores(expected["finetune"])
    assert 20 < own["chance"] < 100 / 3 and 5 < own["accuracy"] < 95 and own["ece"] > 1
    for name, value in own.items():
        tolerance = 1e-2 if "smooth" in name else 1e-4  # a sum of 400 points for an integral
        assert metrics[name] == pytest.approx(value, abs=tolerance), name
    assert metrics["intervals"].keys() == headline(pairs).keys()
    for name, ends in intervals(pairs).items():
        assert metrics["intervals"][name] == pytest.approx(ends, abs=1e-4), name
    left_out = metrics.keys() - own.keys()
    assert left_out == {"bins", "intervals", "constant_output", "posthoc"}
    assert not metrics["constant_output"]


def test_cell_of_table_1(folder, expected):
    own, pairs = scores(expected["finetune"])
    options = LABELS | {"method": "finetune", "benchmark": "arc", "setting": "in_domain"}
    metrics, output = folder / "finetune-out" / "metrics.json", folder / "cell.json"
    artifact("cell", metrics=metrics, output=output, **options)
    cell = read_json(output)
    for name in ("chance", "majority"):
        assert cell[name] == pytest.approx(own[name])
    for name, ends in intervals(pairs).items():
        found = [cell[name][key] for key in ("value", "low", "high")]
        assert found == pytest.approx([own[name], *ends], abs=1e-4)
    lowest = intervals(pairs)["accuracy"][0]
    assert cell["above_chance"] == (lowest > max(own["chance"], own["majority"]))


def test_table_2(folder, expected):
    metrics = [folder / f"{method}-out" / "metrics.json" for method in METHODS]
    options = {"questions": folder / "test.parquet", "output_prefix": folder / "table2"}
    artifact("table2", metrics=metrics, benchmark="arc", **options)
    with (folder / "table2.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == 3 * len(METHODS)
    for line in found:
        own = expected[line["method"]][int(line["id"].partition("/")[2])]
        for name in ("gold", "finetune_answer"):
            probability = float(line[f"probability_{name}"])
            assert probability == pytest.approx(100 * own[line[name]], rel=1e-3, abs=1e-5)
        assert line["answer"] == max(own, key=own.get)


def test_a_real_candidate_without_probability_is_refused():
    """An absent `e` is impossible as well, and that is no error."""
    model = tiny.random_llama(3)
    biased = torch.nn.Linear(16, 263)
    with torch.no_grad():
        biased.weight.copy_(model.lm_head.weight)
        biased.bias.zero_()
        biased.bias[tiny.tokenizer().encode("e")[1]] = -torch.inf
    model.lm_head = biased
    with_e = [row["id"] for row in QUESTIONS if "e" in row["candidates"]]
    without = [row for row in QUESTIONS if "e" not in row["candidates"]]
    log_probs, *_ = predict(model, without, tiny.tokenizer(), 600)
    assert log_probs.shape == (len(without), 4)
    assert np.isfinite(log_probs).sum(1).tolist() == [len(row["candidates"]) for row in without]
    with pytest.raises(UserError, match=f"output is not finite: rows {with_e[0]}"):
        predict(model, QUESTIONS, tiny.tokenizer(), 600)


def row(candidates: str, answer: str) -> Row:
    return Row("prompt", answer, tuple(candidates), answer)


def test_report_of_the_answers():
    rows = [row("abc", "b"), row("abcde", "e"), row("abcd", "b"), row("abc", "e")]
    found = report.answers(rows)
    assert json.dumps(found["counts"]) == '{"a": 0, "b": 2, "c": 0, "d": 0, "e": 2}'
    assert (found["majority"], found["majority_share"]) == ("b", 0.5)  # a tie: the earlier one
    assert found["chance_share"] == pytest.approx((1 / 3 + 1 / 5 + 1 / 4 + 1 / 3) / 4, rel=1e-15)


@pytest.mark.parametrize("m", [2, 3, 4, 5, 7])
def test_equally_many_choices_have_the_chance_of_one(m):
    """To the bit: the mean of 25 floats 1 / 3, or of eleven floats 100 / 7, is another number."""
    for n in range(1, 60):
        assert report.answers([row("abcdefg"[:m], "b")] * n)["chance_share"] == 1 / m
    rows = tiny.choice_rows(11, letters="abcdefg"[:m])
    arrays = predict(tiny.random_llama(3), rows, tiny.tokenizer(), 600)
    metrics = measure("arc", tables("arc", rows, *arrays)[0], arrays[0], gold_columns(rows), BINS)
    assert metrics["chance"] == 100 / m


def test_candidates_of_next_to_no_probability_are_still_compared():
    """Theirs underflows, not its ratio; and where all are right the AUROC is undefined."""
    log_probs = np.log([[0.5, 0.25], [0.2, 0.6]])
    log_probs[1] = [-800.0, -800.0 - math.log(4)]
    rows = {"correct": [True, True], "answer": ["a", "a"]}
    table = pa.table({**rows, "prediction": ["a", "a"]})
    found = measure("csqa", table, log_probs, np.array([0, 0]), BINS)
    assert found["ece_candidates"] == pytest.approx(100 * (1 / 3 + 1 / 5) / 2)
    assert found["nll_candidates"] == pytest.approx(-math.log(2 / 3 * 4 / 5) / 2)
    assert found["brier_candidates"] == pytest.approx((2 / 9 + 2 / 25) / 2)
    assert found["nll"] == pytest.approx((800 + math.log(2)) / 2)
    assert found["auroc"] is found["auroc_candidates"] is None
    assert found["aurc"] == found["excess_aurc_candidates"] == 0
