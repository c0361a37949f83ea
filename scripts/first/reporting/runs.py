"""One evaluated model on one benchmark: its rows of predictions.parquet and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.first.calibration.intervals import Scores, mean_scores, question_weights, score
from scripts.first.errors import UserError
from scripts.first.files import read_parquet
from scripts.first.provenance import records

COLUMNS = ["id", "answer", "prediction", "correct", "confidence", "candidate_log_probs"]
LABELS = ("scale", "family", "corpus", "method", "seed")
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Run:
    """The answers of one model on one benchmark; arrays have one entry a question, in file order.

    `metrics` holds the labels and the metrics of this benchmark.
    """

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
    path: str  # of predictions.parquet

    @property
    def key(self) -> Key:
        """(family, corpus, method, benchmark): the runs of one key differ only in their seed."""
        return (self.family, self.corpus, self.method, self.benchmark)


def read_metrics(path: str) -> dict[str, dict]:
    """{benchmark: labels and metrics} of a metrics.json; UserError where a key is missing."""
    record = records.read(path)
    if missing := {*LABELS, "benchmarks"} - {*record}:
        raise UserError(f"missing key {min(missing)}: {path}: evaluate the model again")
    labels = {label: record[label] for label in LABELS}
    return {b: {**labels, "benchmark": b, **values} for b, values in record["benchmarks"].items()}


def metrics_on(path: str, benchmark: str) -> dict:
    """The labels and metrics of one benchmark; UserError where the file does not have it."""
    metrics = read_metrics(path)
    if benchmark not in metrics:
        raise UserError(f"no {benchmark} in {path}: evaluated on {', '.join(metrics) or 'nothing'}")
    return metrics[benchmark]


def read_runs(predictions: str, metrics: str) -> list[Run]:
    """Read and verify a model's runs, one a benchmark; UserError where the files disagree on n."""
    table = read_parquet(records.verified(predictions), columns=["benchmark", *COLUMNS])
    names = np.asarray(table["benchmark"].to_pylist(), dtype=object)
    runs = []
    for benchmark, values in read_metrics(metrics).items():
        rows = table.take(np.flatnonzero(names == benchmark))
        if rows.num_rows != values["n"] or not rows.num_rows:
            raise UserError(
                f"{values['n']} questions of {benchmark} in {metrics} but {rows.num_rows} in "
                f"{predictions}: different evaluations: evaluate the model again"
            )
        run = Run(
            **{label: values[label] for label in (*LABELS, "benchmark")},
            metrics=values,
            ids=tuple(rows["id"].to_pylist()),
            answers=tuple(rows["answer"].to_pylist()),
            predictions=tuple(rows["prediction"].to_pylist()),
            confidence=rows["confidence"].to_numpy().astype(np.float64),
            correct=rows["correct"].to_numpy().astype(bool),
            candidate_log_probs=rows["candidate_log_probs"].to_pylist(),
            path=predictions,
        )
        runs.append(run)
    return runs


def load_runs(
    predictions: Sequence[str], metrics: Sequence[str], benchmark: str | None = None
) -> dict[Key, list[Run]]:
    """Read runs, those of one benchmark where it is given; seeds grouped by `Run.key`, in order.

    Raises UserError when the two lists differ in length, a seed occurs twice, or two runs on one
    benchmark saw different questions (a paired comparison would be meaningless).
    """
    if len(predictions) != len(metrics):
        raise UserError(
            f"{len(predictions)} files for --predictions but {len(metrics)} for --metrics: "
            "the two lists pair up: give one metrics.json for each predictions.parquet"
        )
    groups: dict[Key, list[Run]] = {}
    questions: dict[tuple[str, str], Run] = {}
    for run in (run for pair in zip(predictions, metrics, strict=True) for run in read_runs(*pair)):
        if benchmark not in (None, run.benchmark):
            continue
        first = questions.setdefault((run.scale, run.benchmark), run)
        if first.ids != run.ids or first.answers != run.answers:
            raise UserError(
                f"different questions of {run.benchmark}: {run.path} and "
                f"{first.path}: evaluate both on the same test table"
            )
        group = groups.setdefault(run.key, [])
        if any(other.seed == run.seed for other in group):
            raise UserError(f"seed {run.seed} given twice: {run.path}: list it once")
        group.append(run)
    return {key: sorted(group, key=lambda run: run.seed) for key, group in groups.items()}


def score_run(run: Run) -> Scores:
    """Return the scores of one run, with the bins of its evaluation."""
    weights = question_weights(run.benchmark, len(run.ids))
    return score(run.confidence, run.correct, weights, run.metrics["bins"])


def score_runs(runs: Sequence[Run]) -> Scores:
    """Return the mean over the seeds of one model; runs of one benchmark share their resamples."""
    return mean_scores([score_run(run) for run in runs])
