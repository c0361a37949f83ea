"""Printed names of methods, data and families, and the metrics of Table 1."""

PRINTED = {
    "teacher": "Teacher",
    "finetune": "Fine-tune",
    "distill": "Distill",
    "distill_ls": "Distill w/ LS",
    "first_ts": "FIRST w/ TS",
    "base": "Untuned student",
    "base_teacher": "Untuned teacher",
    "finetune_ts": "Fine-tune + post-hoc T",
    **{"csqa": "CSQA", "boolq": "BoolQ", "obqa": "OBQA", "alpaca": "Alpaca"},
    **{"llama1": "Llama-1", "llama2": "Llama-2", "openllama": "OpenLlama"},
    **{"in_domain": "in-domain", "out_of_domain": "out-of-domain"},
}
UNTUNED = ("base", "base_teacher")  # they have no training corpus: `none` in paths
LABELS = ("scale", "family", "method", "setting", "corpus", "benchmark")  # of a cell of Table 1
ONE_ANSWER = "one answer to all"  # a dead model: its ECE says nothing of calibration
HEADLINE = {"ece": "ECE", "accuracy": "Acc", "trust": "Trust"}
SECONDARY = (  # below the table; percent, where the format has one decimal
    *("confidence", "gap", "adaptive_ece", "brier", "nll"),
    *("ece_candidates", "trust_candidates", "candidate_mass"),
)
FORMATS = {"gap": "+.1f", "brier": ".3f", "nll": ".3f", "c": ".2f"}  # others .1f
RESAMPLED = (*HEADLINE, "gap")  # with an interval, from intervals.Scores; others: metrics.json


def printed(name: str) -> str:
    """Return the printed name of a method, dataset, family or setting; a new one keeps its own."""
    return PRINTED.get(name, name)
