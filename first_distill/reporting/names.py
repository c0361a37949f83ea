"""Printed names of methods, data and families, and the metrics of Table 1."""

PRINTED = {
    "teacher": "Teacher",
    "finetune": "Fine-tune",
    "distill": "Distill",
    "distill_ls": "Distill w/ LS",
    "first_ts": "FIRST w/ TS",
    "distill_lt": "Distill w/ logit T",
    "self_distill": "Self-distill",
    "self_first": "Self-distill, FIRST",
    "base": "Untuned student",
    "base_teacher": "Untuned teacher",
    "finetune_ts": "Fine-tune + post-hoc T",
    "finetune_ts_ece": "Fine-tune + post-hoc T by ECE",
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
# Meters of calibration, from calibration/summary.py `every_meter`: lower is better, but for HIGHER.
METERS = {
    "ece": "ECE",
    "ece_15": "ECE, 15 bins",
    "adaptive_ece": "Adaptive ECE",
    "smooth_ece": "Smooth ECE",
    "brier": "Brier score",
    "nll": "NLL",
    "aurc": "AURC",
    "excess_aurc": "Excess AURC",
    "auroc": "AUROC",
}
METERS |= {f"{name}_candidates": f"{text}, candidates" for name, text in METERS.items()}
HIGHER = ("auroc", "auroc_candidates")
OTHER = tuple(
    name for name in METERS if name not in (*HEADLINE, *SECONDARY)
)  # a table of their own
FORMATS = {"gap": "+.1f", "c": ".2f"}  # others .1f
FORMATS |= {name + end: ".3f" for name in ("brier", "nll") for end in ("", "_candidates")}
# With an interval, from runs.score_run; others: metrics.json.
RESAMPLED = (*HEADLINE, "gap", "nll", "brier", "ece_15", "ece_candidates")


def printed(name: str) -> str:
    """Return the printed name of a method, dataset, family or setting; a new one keeps its own."""
    return PRINTED.get(name, name)
