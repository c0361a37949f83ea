"""One evaluated model on one benchmark: its rows of predictions.parquet and its metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from scripts.first.calibration.intervals import Scores, mean_scores, question_weights, score
from scripts.first.errors import UserError
from scripts.first.files import read_parquet
from scripts.first.provenance import records

if TYPE_CHECKING:
    import pandas

COLUMNS = ["id", "answer", "prediction", "correct", "confidence", "candidate_log_probs"]


class Key(NamedTuple):
    """What a run shows; the runs of one key differ only in their seed."""

    family: str
    corpus: str
    method: str
    benchmark: str


@dataclass(frozen=True)
class Run:
    """The answers of one model on one benchmark.

    metrics: the labels and the metrics of this benchmark; rows: COLUMNS, a row a question in file
    order; path: of predictions.parquet.
    """

    metrics: dict
    rows: pandas.DataFrame
    path: str

    @property
    def key(self) -> Key:
        return Key(*(self.metrics[label] for label in Key._fields))


def read_metrics(path: str) -> dict[str, dict]:
    """{benchmark: labels and metrics} of a metrics.json."""
    record = records.read(path)
    return {b: {**record, "benchmark": b, **own} for b, own in record.pop("benchmarks").items()}


def read_runs(predictions: str, metrics: str) -> list[Run]:
    """Read and verify a model's runs, one a benchmark; UserError where the files disagree on n."""
    table = read_parquet(records.verified(predictions), columns=["benchmark", *COLUMNS]).to_pandas()
    table = table.astype({"confidence": float, "correct": bool})
    runs = []
    for benchmark, values in read_metrics(metrics).items():
        rows = table[table["benchmark"] == benchmark].reset_index(drop=True)
        if len(rows) != values["n"]:
            raise UserError(
                f"{values['n']} questions of {benchmark} in {metrics}, but {len(rows)} in "
                f"{predictions}: evaluate the model again"
            )
        runs.append(Run(values, rows, predictions))
    return runs


def load_runs(
    files: Iterable[tuple[str, str]], benchmark: str | None = None
) -> dict[Key, list[Run]]:
    """Read runs from (predictions.parquet, metrics.json); seeds grouped by `Run.key`, in order.

    benchmark: the only one to read, all when None. Raises UserError when a seed occurs twice, or
    two runs on one benchmark saw different questions (a paired comparison would be meaningless).
    """
    groups: dict[Key, list[Run]] = {}
    first: dict[str, Run] = {}
    for run in (run for pair in files for run in read_runs(*pair)):
        if benchmark not in (None, run.key.benchmark):
            continue
        other = first.setdefault(run.key.benchmark, run)
        if not other.rows[["id", "answer"]].equals(run.rows[["id", "answer"]]):
            raise UserError(
                f"different questions of {run.key.benchmark}: {run.path} and {other.path}: "
                "evaluate both on the same test table"
            )
        group = groups.setdefault(run.key, [])
        if any(seed.metrics["seed"] == run.metrics["seed"] for seed in group):
            raise UserError(f"seed {run.metrics['seed']} given twice: {run.path}: list it once")
        group.append(run)
    return {
        key: sorted(group, key=lambda run: run.metrics["seed"]) for key, group in groups.items()
    }


def score_run(run: Run) -> Scores:
    """Return the scores of one run, with the bins of its evaluation."""
    weights = question_weights(run.key.benchmark, len(run.rows))
    confidence, correct = run.rows["confidence"].to_numpy(), run.rows["correct"].to_numpy()
    return score(confidence, correct, weights, run.metrics["bins"])


def score_runs(runs: Sequence[Run]) -> Scores:
    """Return the mean over the seeds of one model; runs of one benchmark share their resamples."""
    return mean_scores([score_run(run) for run in runs])
