"""Stage evaluation: one model on its benchmarks, question by question (Eq. 1, Eq. 2).

Reads a checkpoint and the benchmarks' test splits; writes predictions.parquet (a row a question),
ranks.parquet (the top-5 tokens' probabilities and hits, for Figure 3) and metrics.json, each with
all benchmarks in the given order. Prompts are never truncated. The prediction is the argmax over
the candidates' tokens, its confidence that token's full-vocabulary softmax probability: no
temperature, unless --posthoc names the validation result of the `finetune_ts` baseline.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from scripts.first.errors import UserError, positive, whole
from scripts.first.runtime.launch import launch

RANKS = 5
LABELS = ("scale", "family", "corpus", "method", "seed")


def gold_columns(rows: list[dict]):
    """(n,) column of each row's answer among its candidates."""
    import numpy as np

    return np.asarray([list(row["candidates"]).index(row["answer"]) for row in rows])


def predict(model, rows: list[dict], tokenizer, max_tokens: int, temperature: float = 1.0):
    """Candidates' log_probs (n, m) float64, top probabilities and hits of the answer (n, 5)."""
    import numpy as np
    import torch

    from scripts.first.models.chunking import CACHED, rows_at_once, spans
    from scripts.first.models.encoding import candidate_ids, encode_prompts
    from scripts.first.models.inference import check_finite, iterate_logits

    ids = candidate_ids(rows, tokenizer)
    gold = ids[np.arange(len(rows)), gold_columns(rows)]
    encoded = encode_prompts(rows, tokenizer)
    log_probs = np.zeros(ids.shape)
    top = np.zeros((len(rows), RANKS))
    hit = np.zeros((len(rows), RANKS), dtype=bool)
    for batch, logits in iterate_logits(model, encoded, tokenizer.eos_id, max_tokens, what="tests"):
        length = rows_at_once(CACHED, logits.device.type, logits.shape[1])
        for part in spans(len(logits), length):
            chosen = batch.rows[part]
            everything = (logits[part].double() / temperature).log_softmax(-1)
            wanted = torch.from_numpy(ids[chosen]).to(everything.device)
            log_probs[chosen] = everything.gather(1, wanted).cpu().numpy()
            values, indices = everything.topk(RANKS, dim=-1)
            top[chosen] = values.exp().cpu().numpy()
            hit[chosen] = indices.cpu().numpy() == gold[chosen][:, None]
    check_finite(np.hstack([log_probs, top]), [row["id"] for row in rows])
    return log_probs, top, hit


def tables(benchmark: str, rows: list[dict], log_probs, top, hit):
    """Arrow tables of what `predict` returned: predictions, a row a question; ranks, five rows."""
    import numpy as np
    import pyarrow as pa

    chosen = log_probs.argmax(axis=1)
    predictions = {
        "benchmark": [benchmark] * len(rows),
        "id": [row["id"] for row in rows],
        "answer": [row["answer"] for row in rows],
        "prediction": [row["candidates"][i] for row, i in zip(rows, chosen, strict=True)],
        "correct": chosen == gold_columns(rows),
        "confidence": np.exp(log_probs).max(axis=1),
        "candidate_log_probs": pa.array(list(log_probs), pa.list_(pa.float64())),
    }
    ranks = {
        "benchmark": [benchmark] * top.size,
        "rank": np.tile(np.arange(1, RANKS + 1, dtype=np.int32), len(top)),
        "probability": top.ravel(),
        "correct": hit.ravel(),
    }
    return pa.table(predictions), pa.table(ranks)


def measure(benchmark: str, table, log_probs, gold, bins: int) -> dict:
    """Metrics of one model on one benchmark, in percent but NLL (nats) and Brier."""
    import numpy as np

    from scripts.first.calibration import metrics
    from scripts.first.calibration.intervals import question_weights, score

    confidence = table["confidence"].to_numpy()
    correct = table["correct"].to_numpy(zero_copy_only=False)
    mass = np.exp(log_probs).sum(axis=1)
    scores = score(confidence, correct, question_weights(benchmark, len(gold)), bins)
    headline = {name: scores.summary(name) for name in ("ece", "accuracy", "trust")}
    ece_candidates = 100 * metrics.expected_calibration_error(confidence / mass, correct, bins)
    return {
        "n": len(gold),
        "bins": bins,
        **{name: summary["value"] for name, summary in headline.items()},
        "intervals": {name: [s["low"], s["high"]] for name, s in headline.items()},
        "confidence": scores.value["confidence"],
        "adaptive_ece": 100 * metrics.adaptive_calibration_error(confidence, correct, bins),
        "brier": metrics.candidate_brier(log_probs, gold),
        "nll": metrics.candidate_nll(log_probs, gold),
        "ece_candidates": ece_candidates,
        "trust_candidates": metrics.trust_score(scores.value["accuracy"], ece_candidates),
        "candidate_mass": 100 * float(mass.mean()),
        "chance": 100 / log_probs.shape[1],
        "majority": 100 * max(Counter(table["answer"].to_pylist()).values()) / len(gold),
        "constant_output": len(set(table["prediction"].to_pylist())) == 1,
    }


def posthoc_temperature(path: Path) -> float:
    """The positive post-hoc temperature of a validation.json; UserError where it has none."""
    from scripts.first.files import read_json
    from scripts.first.provenance.records import verified

    content = read_json(verified(path))
    value = content.get("posthoc_temperature") if isinstance(content, dict) else None
    if not (isinstance(value, int | float) and value > 0):
        raise UserError(f"no posthoc_temperature: {path}: name a model's validation.json")
    return float(value)


def main(argv: list[str] | None = None) -> int:
    """Evaluate one model on its benchmarks."""
    from scripts.first import cli

    options = cli.parser("scripts.evaluation", __doc__)
    options.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    options.add_argument("--benchmarks", nargs="+", required=True, help="names of the test splits")
    options.add_argument("--tests", nargs="+", type=Path, required=True, help="same order, parquet")
    options.add_argument("--posthoc", nargs="?", type=Path, help="validation.json with T")
    options.add_argument("--bins", type=positive, default=10, help="bins of the ECE")
    options.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    for name in LABELS:
        kind = whole if name == "seed" else str
        options.add_argument(f"--{name}", type=kind, required=True, help="label of the model")
    cli.add_inference_options(options)
    arguments = options.parse_args(argv)
    names = arguments.benchmarks
    if len(names) != len(arguments.tests) or len({*names}) < len(names):
        raise UserError(f"--benchmarks {' '.join(names)}: --tests: give one file for each, once")

    import pyarrow as pa

    from scripts.first.data.rows import read_rows
    from scripts.first.files import write_parquet
    from scripts.first.models import checkpoints
    from scripts.first.models.determinism import seed_everything
    from scripts.first.models.tokenizer import load_tokenizer
    from scripts.first.provenance import records
    from scripts.first.provenance.made_by import provenance

    location, record = checkpoints.verify_checkpoint(arguments.model)
    tokenizer = load_tokenizer(location)
    tests = dict(zip(names, map(read_rows, arguments.tests), strict=True))
    temperature = posthoc_temperature(arguments.posthoc) if arguments.posthoc else 1.0
    seed_everything(0)
    model = checkpoints.load_model(arguments.model, arguments.dtype)
    predictions, ranks, benchmarks = [], [], {}
    for name, rows in tests.items():
        arrays = predict(model, rows, tokenizer, arguments.max_tokens, temperature)
        table, ranked = tables(name, rows, *arrays)
        predictions.append(table)
        ranks.append(ranked)
        gold = gold_columns(rows)
        benchmarks[name] = measure(name, table, arrays[0], gold, arguments.bins)
    write_parquet(arguments.output_dir / "predictions.parquet", pa.concat_tables(predictions))
    write_parquet(arguments.output_dir / "ranks.parquet", pa.concat_tables(ranks))
    records.write(
        arguments.output_dir / "metrics.json",
        {
            **{name: getattr(arguments, name) for name in LABELS},
            "posthoc_temperature": temperature,
            "model": checkpoints.weights_digest(record),
            "benchmarks": benchmarks,
            "provenance": provenance("evaluation"),
        },
        ["predictions.parquet", "ranks.parquet"],
        filter(None, [arguments.model / checkpoints.RECORD, *arguments.tests, arguments.posthoc]),
    )
    return 0


if __name__ == "__main__":
    launch("scripts.evaluation", main)
