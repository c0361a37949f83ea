"""Printed names of methods, data and metrics; METRICS declares the columns of Table 1."""

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
ONE_ANSWER = "one answer to all"  # a dead model: its ECE says nothing of calibration


@dataclass(frozen=True)
class Metric:
    """A metric of Table 1: its key in metrics.json, cells and table1.csv, and how it is printed.

    `headline` metrics fill the table, with interval and the paper's value; the others stand below
    it. `resampled` ones come from intervals.Scores, the others are read from metrics.json.
    """

    key: str
    printed: str
    headline: bool = False
    resampled: bool = False
    interval: bool = False
    form: str = ".1f"  # percent, where it has one decimal

    def columns(self) -> list[str]:
        """Return the columns of table1.csv that hold its value and, if it has one, its interval."""
        return [self.key, *(f"{self.key}_{end}" for end in ("low", "high") if self.interval)]


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
HEADLINE = {metric.key: metric.printed for metric in METRICS if metric.headline}
SECONDARY = tuple(metric for metric in METRICS if not metric.headline)


def method_name(method: str) -> str:
    """Return a method's printed name; a new method keeps its name in the configuration."""
    return METHODS.get(method, method)


def dataset_name(dataset: str) -> str:
    """Return a corpus's or benchmark's printed name."""
    return DATASETS.get(dataset, dataset)


def family_name(family: str) -> str:
    """Return a family's printed name."""
    return FAMILIES.get(family, family)


def setting_of(corpus: str, benchmark: str) -> str:
    """Return `in_domain` when a model is tested on what it was trained on, else `out_of_domain`."""
    return "in_domain" if corpus == benchmark else "out_of_domain"
