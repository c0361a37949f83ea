"""One evaluated model on one benchmark: its predictions.parquet and the metrics.json beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.first.calibration.intervals import Scores, mean_scores, question_weights, score
from scripts.first.errors import UserError
from scripts.first.files import read_parquet
from scripts.first.provenance import records

COLUMNS = ["id", "answer", "prediction", "correct", "confidence", "candidate_log_probs"]
LABELS = ("scale", "family", "corpus", "method", "seed", "benchmark")
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Run:
    """What one model answered on one benchmark; arrays have one entry a question, in file order."""

    scale: str
    family: str
    corpus: str
    method: str
    seed: int
    benchmark: str
    metrics: dict
    ids: tuple[str, ...]
    answers: tuple[str, ...]
    predictions: tuple[str, ...]
    confidence: np.ndarray
    correct: np.ndarray
    candidate_log_probs: list[list[float]]
    predictions_path: str
    metrics_path: str

    @property
    def key(self) -> Key:
        """(family, corpus, method, benchmark): the runs of one key differ only in their seed."""
        return (self.family, self.corpus, self.method, self.benchmark)


def load_run(predictions: str, metrics: str) -> Run:
    """Read one run, verified. UserError when a label is missing or the two files disagree on n."""
    record = records.read(metrics)
    missing = [label for label in LABELS if label not in record]
    if missing:
        raise UserError(f"missing key(s) {', '.join(missing)}: {metrics}: evaluate the model again")
    table = read_parquet(records.verified(predictions), columns=COLUMNS)
    if table.num_rows == 0:
        raise UserError(f"no predictions: {predictions}: evaluate the model again")
    if record["n"] != table.num_rows:
        raise UserError(
            f"{record['n']} questions in {metrics} but {table.num_rows} in {predictions}: "
            "different evaluations: evaluate the model again"
        )
    return Run(
        **{label: record[label] for label in LABELS},
        metrics=record,
        ids=tuple(table["id"].to_pylist()),
        answers=tuple(table["answer"].to_pylist()),
        predictions=tuple(table["prediction"].to_pylist()),
        confidence=table["confidence"].to_numpy().astype(np.float64),
        correct=table["correct"].to_numpy().astype(bool),
        candidate_log_probs=table["candidate_log_probs"].to_pylist(),
        predictions_path=predictions,
        metrics_path=metrics,
    )


def load_runs(predictions: Sequence[str], metrics: Sequence[str]) -> dict[Key, list[Run]]:
    """Read runs and group the seeds of each (family, corpus, method, benchmark), in seed order.

    Raises UserError when the two lists differ in length, a seed comes twice, or two runs on one
    benchmark saw different questions (a paired comparison would be meaningless).
    """
    if len(predictions) != len(metrics):
        raise UserError(
            f"{len(predictions)} files for --predictions but {len(metrics)} for --metrics: "
            "the two lists pair up: give one metrics.json for each predictions.parquet"
        )
    groups: dict[Key, list[Run]] = {}
    questions: dict[tuple[str, str], Run] = {}
    for run in map(load_run, predictions, metrics):
        first = questions.setdefault((run.scale, run.benchmark), run)
        if first.ids != run.ids or first.answers != run.answers:
            raise UserError(
                f"different questions: {run.predictions_path} and {first.predictions_path}: "
                "evaluate both on the same test table"
            )
        group = groups.setdefault(run.key, [])
        if any(other.seed == run.seed for other in group):
            raise UserError(f"seed {run.seed} given twice: {run.predictions_path}: list it once")
        group.append(run)
    return {key: sorted(group, key=lambda run: run.seed) for key, group in groups.items()}


def score_run(run: Run) -> Scores:
    """Return the scores of one run, with the bins of its metrics.json."""
    weights = question_weights(run.benchmark, len(run.ids))
    return score(run.confidence, run.correct, weights, run.metrics["bins"])


def score_runs(runs: Sequence[Run]) -> Scores:
    """Return the mean over the seeds of one model; runs of one benchmark share their resamples."""
    return mean_scores([score_run(run) for run in runs])
