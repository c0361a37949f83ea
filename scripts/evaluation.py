"""Stage evaluation: one model on one benchmark, question by question (Eq. 1, Eq. 2).

Reads a checkpoint and data/{benchmark}/test.parquet; writes predictions.parquet (a row a question),
ranks.parquet (the top-5 tokens' probabilities and hits, for Figure 3) and metrics.json. Prompts are
never truncated. The prediction is the argmax over the candidates' tokens, its confidence their
full-vocabulary softmax probability: the student's plain softmax, no temperature, unless --posthoc
names the validation result of the `finetune_ts` baseline.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scripts.first.errors import positive
from scripts.first.runtime.launch import launch

if TYPE_CHECKING:
    import numpy as np

RANKS = 5


def predict(model, rows: list[dict], tokenizer, max_tokens: int, temperature: float = 1.0):
    """(log_probs (n, candidates) float64, top log-probs (n, 5), gold ranks (n,)) of test rows."""
    import numpy as np
    import torch

    from scripts.first.models.chunking import CACHED, rows_at_once, spans
    from scripts.first.models.encoding import candidate_ids, encode_prompts, encode_questions
    from scripts.first.models.inference import check_finite, iterate_logits

    known = encode_questions(rows, tokenizer)
    ids = candidate_ids(rows, tokenizer, known)
    gold = np.asarray(
        [ids[i][list(r["candidates"]).index(r["answer"])] for i, r in enumerate(rows)]
    )
    encoded = encode_prompts(rows, tokenizer, known)
    log_probs = np.zeros(ids.shape)
    top = np.zeros((len(rows), RANKS))
    hit = np.zeros((len(rows), RANKS), dtype=bool)
    for batch, logits in iterate_logits(model, encoded, tokenizer.eos_id, max_tokens, "questions"):
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


def predictions_table(rows: list[dict], log_probs: np.ndarray, top: np.ndarray, hit: np.ndarray):
    """Arrow table of predictions, one row a question, in the order of the test split."""
    import numpy as np
    import pyarrow as pa

    chosen = log_probs.argmax(axis=1)
    probabilities = np.exp(log_probs)
    mass = probabilities.sum(axis=1)
    confidence = probabilities[np.arange(len(rows)), chosen]
    predicted = [row["candidates"][i] for row, i in zip(rows, chosen, strict=True)]
    return pa.table(
        {
            "id": [row["id"] for row in rows],
            "answer": [row["answer"] for row in rows],
            "prediction": predicted,
            "correct": [p == row["answer"] for p, row in zip(predicted, rows, strict=True)],
            "confidence": confidence,
            "confidence_candidates": confidence / mass,
            "candidate_mass": mass,
            "candidate_log_probs": pa.array(list(log_probs), pa.list_(pa.float64())),
            "top1_is_candidate": top[:, 0] <= confidence * (1 + 1e-12),
        }
    )


def ranks_table(top: np.ndarray, hit: np.ndarray):
    """Arrow table (rank 1..5, probability, correct), five rows a question."""
    import numpy as np
    import pyarrow as pa

    ranks = np.tile(np.arange(1, RANKS + 1, dtype=np.int32), len(top))
    return pa.table({"rank": ranks, "probability": top.ravel(), "correct": hit.ravel()})


def measure(rows: list[dict], table, bins: int, benchmark: str) -> dict:
    """Metrics of one model on one benchmark, in percent but NLL (nats) and Brier."""
    import numpy as np

    from scripts.first.calibration import metrics
    from scripts.first.calibration.intervals import RESAMPLES, SEED, question_weights, score

    confidence = table["confidence"].to_numpy()
    correct = table["correct"].to_numpy(zero_copy_only=False)
    renormalised = table["confidence_candidates"].to_numpy()
    log_probs = np.asarray(table["candidate_log_probs"].to_pylist())
    gold = np.asarray([list(row["candidates"]).index(row["answer"]) for row in rows])
    accuracy = float(correct.mean())
    ece = metrics.expected_calibration_error(confidence, correct, bins)
    ece_candidates = metrics.expected_calibration_error(renormalised, correct, bins)
    counts = np.unique(table["answer"].to_numpy(zero_copy_only=False), return_counts=True)[1]
    scores = score(confidence, correct, question_weights(benchmark, len(rows)), bins)
    summaries = {name: scores.summary(name) for name in ("ece", "accuracy", "trust")}
    return {
        "n": len(rows),
        "bins": bins,
        "ece": 100 * ece,
        "accuracy": 100 * accuracy,
        "trust": 100 * metrics.trust_score(accuracy, ece),
        "intervals": {name: [s["low"], s["high"]] for name, s in summaries.items()},
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED},
        "confidence": 100 * float(confidence.mean()),
        "adaptive_ece": 100 * metrics.adaptive_calibration_error(confidence, correct, bins),
        "brier": metrics.candidate_brier(log_probs, gold),
        "nll": metrics.candidate_nll(log_probs, gold),
        "ece_candidates": 100 * ece_candidates,
        "trust_candidates": 100 * metrics.trust_score(accuracy, ece_candidates),
        "candidate_mass": 100 * float(table["candidate_mass"].to_numpy().mean()),
        "chance": 100 / log_probs.shape[1],
        "majority": 100 * float(counts.max() / len(rows)),
        "constant_output": len(set(table["prediction"].to_pylist())) == 1,
    }


def posthoc_temperature(path: Path) -> float:
    """The positive post-hoc temperature of a validation.json; UserError where it has none."""
    from scripts.first.errors import UserError
    from scripts.first.files import read_json
    from scripts.first.provenance.records import verified

    content = read_json(verified(path))
    value = content.get("posthoc_temperature") if isinstance(content, dict) else None
    if not (isinstance(value, int | float) and value > 0):
        raise UserError(f"no posthoc_temperature: {path}: name a model's validation.json")
    return float(value)


def main(argv: list[str] | None = None) -> int:
    """Evaluate one model on one benchmark."""
    from scripts.first import cli

    options = cli.parser("scripts.evaluation", __doc__.split("\n")[0])
    options.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    options.add_argument("--test", type=Path, required=True, help="test split (parquet)")
    options.add_argument("--posthoc", type=Path, help="validation.json with a post-hoc temperature")
    options.add_argument("--bins", type=positive, default=10, help="bins of the ECE")
    options.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    for name in ("scale", "family", "corpus", "method", "seed", "benchmark"):
        options.add_argument(f"--{name}", required=True, help="identity, for the metrics file")
    cli.add_inference_options(options)
    arguments = options.parse_args(argv)

    from scripts.first.data.rows import read_rows
    from scripts.first.files import write_parquet
    from scripts.first.models.checkpoints import (
        RECORD,
        load_model,
        verify_checkpoint,
        weights_digest,
    )
    from scripts.first.models.determinism import seed_everything
    from scripts.first.models.tokenizer import load_tokenizer
    from scripts.first.provenance import records
    from scripts.first.provenance.made_by import provenance

    location, record = verify_checkpoint(arguments.model)
    tokenizer = load_tokenizer(location)
    rows = read_rows(arguments.test)
    temperature = posthoc_temperature(arguments.posthoc) if arguments.posthoc else 1.0
    seed_everything(0)
    model = load_model(arguments.model, arguments.dtype)
    arrays = predict(model, rows, tokenizer, arguments.max_tokens, temperature)
    table = predictions_table(rows, *arrays)
    write_parquet(arguments.output_dir / "predictions.parquet", table)
    write_parquet(arguments.output_dir / "ranks.parquet", ranks_table(*arrays[1:]))
    names = ("scale", "family", "corpus", "method", "seed", "benchmark")
    identity = {name: getattr(arguments, name) for name in names}
    identity["seed"] = int(identity["seed"])
    records.write(
        arguments.output_dir / "metrics.json",
        {
            **identity,
            **measure(rows, table, arguments.bins, arguments.benchmark),
            "posthoc_temperature": temperature,
            "model": weights_digest(record),
            "provenance": provenance("evaluation"),
        },
        ["predictions.parquet", "ranks.parquet"],
        [arguments.model / RECORD, arguments.test, *filter(None, [arguments.posthoc])],
    )
    return 0


if __name__ == "__main__":
    launch("scripts.evaluation", main)
