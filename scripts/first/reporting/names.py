"""Printed names of methods, data and families; METRICS declares the columns of Table 1."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = {
    "teacher": "Teacher",
    "finetune": "Fine-tune",
    "distill": "Distill",
    "distill_ls": "Distill w/ LS",
    "first_ts": "FIRST w/ TS",
    "base": "Untuned student",
    "base_teacher": "Untuned teacher",
    "finetune_ts": "Fine-tune + post-hoc T",
}
UNTUNED = ("base", "base_teacher")  # they have no training corpus: `none` in paths
DATASETS = {"csqa": "CSQA", "boolq": "BoolQ", "obqa": "OBQA", "alpaca": "Alpaca"}
FAMILIES = {"llama1": "Llama-1", "llama2": "Llama-2", "openllama": "OpenLlama"}
SETTINGS = {"in_domain": "in-domain", "out_of_domain": "out-of-domain"}
LABELS = ("scale", "family", "method", "setting", "corpus", "benchmark")  # of a cell of Table 1
ONE_ANSWER = "one answer to all"  # a dead model: its ECE says nothing of calibration


def printed(name: str) -> str:
    """Return the printed name of a method, dataset, family or setting; a new one keeps its own."""
    return (METHODS | DATASETS | FAMILIES | SETTINGS).get(name, name)


@dataclass(frozen=True)
class Metric:
    """A metric of Table 1: its key in metrics.json, cells and table1.csv, and how it is printed.

    `headline` metrics fill the table, with interval and the paper's value; the others stand below
    it. `resampled` ones come from intervals.Scores, the others are read from metrics.json.
    """

    key: str
    name: str
    headline: bool = False
    resampled: bool = False
    interval: bool = False
    form: str = ".1f"  # percent, where it has one decimal

    def columns(self) -> dict[str, str]:
        """Return {column of table1.csv: key in the cell} of its value and any interval."""
        ends = ("low", "high") if self.interval else ()
        return {self.key: "value"} | {f"{self.key}_{end}": end for end in ends}


METRICS = (
    Metric("ece", "ECE", headline=True, resampled=True, interval=True),
    Metric("accuracy", "Acc", headline=True, resampled=True, interval=True),
    Metric("trust", "Trust", headline=True, resampled=True, interval=True),
    Metric("confidence", "Confidence", resampled=True),
    Metric("gap", "Confidence - accuracy", resampled=True, interval=True, form="+.1f"),
    Metric("adaptive_ece", "Adaptive ECE"),
    Metric("brier", "Brier", form=".3f"),
    Metric("nll", "NLL", form=".3f"),
    Metric("ece_candidates", "ECE over candidates"),
    Metric("trust_candidates", "Trust over candidates"),
    Metric("candidate_mass", "Candidate mass"),
)
HEADLINE = {metric.key: metric.name for metric in METRICS if metric.headline}
SECONDARY = tuple(metric for metric in METRICS if not metric.headline)
