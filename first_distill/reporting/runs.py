"""One evaluated model on one benchmark: its rows of predictions.parquet and its metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas
from scipy.special import log_softmax

from first_distill.calibration import metrics
from first_distill.calibration.intervals import Estimate
from first_distill.calibration.statistic import (
    Statistic,
    ece_statistic,
    mean_statistic,
    question_weights,
    score,
)
from first_distill.errors import UserError
from first_distill.files import read_parquet
from first_distill.provenance import records
from first_distill.reporting.output import read

PREDICTIONS = "predictions.parquet"
TEMPERED = ["confidence", "candidate_log_probs"]  # what a post-hoc temperature changes
COLUMNS = ["id", "answer", "gold", "prediction", "correct", *TEMPERED]
EVALUATE = "evaluate the model with its validation.json (--posthoc)"


class Key(NamedTuple):
    """What a run shows; the runs of one key differ only in their seed."""

    family: str
    corpus: str
    method: str
    benchmark: str


class Run(NamedTuple):
    """A model on one benchmark: an entry of `read_metrics`, and COLUMNS, a row a question."""

    metrics: dict
    rows: pandas.DataFrame

    @property
    def key(self) -> Key:
        return Key(*(self.metrics[label] for label in Key._fields))


def read_metrics(paths: Sequence[str], benchmark: str | None = None) -> list[dict]:
    """Return labels, metrics and path of each metrics.json, by benchmark, or on the one named.

    Raises UserError for a file without that benchmark, a seed given twice, and several scales.
    """
    found: dict[tuple, dict] = {}
    for path in paths:
        labels = read("metrics.json", path, "benchmarks", "scale", "seed")
        benchmarks = labels.pop("benchmarks")
        if benchmark not in (None, *benchmarks):
            raise UserError(f"no {benchmark}: {path}: choose from {', '.join(benchmarks)}")
        for name in [benchmark] if benchmark else benchmarks:
            own = {**labels, "benchmark": name, **benchmarks[name], "path": path}
            key = tuple(own[label] for label in (*Key._fields, "seed"))
            if key in found:
                raise UserError(f"seed {own['seed']} given twice: {path}: list it once")
            found[key] = own
            if own["scale"] != (scale := next(iter(found.values()))["scale"]):
                raise UserError(f"scales {scale} and {own['scale']}: {path}: name files of one")
    return list(found.values())


def load_runs(
    paths: Sequence[str], benchmark: str | None = None, posthoc: Sequence[str] = ()
) -> dict[Key, list[Run]]:
    """Read and verify metrics.json and the predictions.parquet beside it; group runs by key.

    posthoc: methods that are a post-hoc temperature on another's logits, as NAME=OF:FIT; each is a
    run of its own beside that of OF. Raises UserError as `read_metrics` does, where a run has no
    such temperature, and where two runs on one benchmark saw different questions (a paired
    comparison would be meaningless).
    """
    variants = [_variant(word) for word in posthoc]
    groups: dict[Key, list[Run]] = {}
    first: dict[str, Run] = {}
    for own in read_metrics(paths, benchmark):
        name, path = own["benchmark"], records.verified(Path(own["path"]).with_name(PREDICTIONS))
        here = [(method, fit) for method, of, fit in variants if of == own["method"]]
        if missing := [fit for _, fit in here if fit not in own.get("posthoc", {})]:
            raise UserError(f"no post-hoc temperature by {missing[0]}: {own['path']}: {EVALUATE}")
        own_columns = [f"{column}_{fit}" for _, fit in here for column in TEMPERED]
        table = read_parquet(path, columns=["benchmark", *COLUMNS, *own_columns]).to_pandas()
        rows = table[table["benchmark"] == name].reset_index(drop=True).astype({"correct": bool})
        run = Run(own, rows[COLUMNS])
        other = first.setdefault(name, run)
        if not other.rows[["id", "answer"]].equals(rows[["id", "answer"]]):
            raise UserError(
                f"different questions of {name}: {own['path']} and {other.metrics['path']}: "
                "evaluate both on the same test table"
            )
        groups.setdefault(run.key, []).append(run)
        for method, fit in here:
            tempered = rows.assign(**{column: rows[f"{column}_{fit}"] for column in TEMPERED})
            run = Run({**own, **own["posthoc"][fit], "method": method}, tempered[COLUMNS])
            groups.setdefault(run.key, []).append(run)
    return groups


def _variant(word: str) -> tuple[str, ...]:
    """(NAME, OF, FIT) of NAME=OF:FIT; UserError for anything else."""
    if found := re.fullmatch(r"([^=:]+)=([^=:]+):([^=:]+)", word):
        return found.groups()
    raise UserError(f"no post-hoc method: --posthoc: {word}: write NAME=OF:FIT")


def score_run(run: Run) -> dict[str, Statistic]:
    """Return the metrics that have an interval; runs of one benchmark share their resamples.

    Beside those of intervals.score: ece_15, ece_candidates, nll (nats) and brier.
    """
    weights, bins = question_weights(run.key.benchmark, len(run.rows)), run.metrics["bins"]
    confidence, correct = run.rows["confidence"].to_numpy(), run.rows["correct"].to_numpy()
    gold = run.rows["gold"].to_numpy()
    lists = run.rows["candidate_log_probs"]
    log_probs = np.full((len(lists), lists.str.len().max()), -np.inf)
    for row, own in zip(log_probs, lists, strict=True):
        row[: len(own)] = own
    share = np.exp(log_softmax(log_probs, axis=1).max(axis=1))
    found = score(confidence, correct, weights, bins)
    for name, own, count in (("ece_15", confidence, 15), ("ece_candidates", share, bins)):
        found[name] = ece_statistic(own, correct, count, weights)
    found["nll"] = mean_statistic(-log_probs[np.arange(len(gold)), gold], weights)
    found["brier"] = mean_statistic(metrics.brier_scores(log_probs, gold), weights)
    return found


def estimates(runs: Sequence[Run]) -> dict[str, Estimate]:
    """Return each metric of `score_run`: the mean over a model's seeds, for further seeds."""
    scores = [score_run(run) for run in runs]
    return {name: Estimate([own[name] for own in scores]) for name in scores[0]}
