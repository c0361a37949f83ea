"""The words of the configuration as a reader meets them in tables and figures."""

from __future__ import annotations

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
METRICS = {"ece": "ECE", "accuracy": "Acc", "trust": "Trust"}
ONE_ANSWER = "one answer to all"  # a dead model: its ECE says nothing of calibration
PAPER_METHODS = ("teacher", "finetune", "distill", "distill_ls", "first_ts")


def method_name(method: str) -> str:
    """Return a method's name in print; an unknown method (a new arm) keeps its configured word."""
    return METHODS.get(method, method)


def dataset_name(dataset: str) -> str:
    """Return a corpus's or benchmark's name in print."""
    return DATASETS.get(dataset, dataset)


def family_name(family: str) -> str:
    """Return a family's name in print."""
    return FAMILIES.get(family, family)


def dead_mark(metrics: list[dict]) -> dict[str, bool]:
    """Return the figure's column that marks a dead model, where one of its seeds is dead."""
    return {"constant_output": True} if any(m.get("constant_output") for m in metrics) else {}


def is_dead(rows) -> bool:
    """Whether a part of a figure's data frame, not empty, is of a dead model."""
    return "constant_output" in rows and bool(rows["constant_output"].notna().any())


def setting_of(corpus: str, benchmark: str) -> str:
    """Return `in_domain` when a model is tested on what it was trained on, else `out_of_domain`."""
    return "in_domain" if corpus == benchmark else "out_of_domain"
