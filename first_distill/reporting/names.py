"""Printed names of methods, data and families, and the metrics of Table 1."""

from collections.abc import Iterable

from first_distill.calibration import intervals

LEVEL_SHOWN = f"{100 * intervals.LEVEL:.0f} %"  # of every interval
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
FORMATS = {"gap": "+z.1f", "c": ".2f"}  # others z.1f
FORMATS |= {name + end: ".3f" for name in ("brier", "nll") for end in ("", "_candidates")}
# With an interval, from runs.score_run; others: metrics.json.
RESAMPLED = (*HEADLINE, "gap", "nll", "brier", "ece_15", "ece_candidates")

MEANINGS = {  # by printed name
    "Confidence": "the probability that a model gives to its answer, out of its whole vocabulary; "
    "among the candidates: out of the possible answers alone",
    "ECE": "expected calibration error: the distance between mean confidence and accuracy in bins "
    "of confidence, weighted by the questions in each; 0 is best",
    "Acc": "accuracy: the share of questions answered correctly",
    "Trust": "accuracy minus ECE: the mean confidence, where every bin is under-confident",
    "Untuned student": "the smaller model as pretrained",
    "Untuned teacher": "the larger model as pretrained",
    "Teacher": "the larger model, fine-tuned on the answers",
    "Fine-tune": "the student, fine-tuned on the answers, without a teacher",
    "Fine-tune + post-hoc T": "Fine-tune, its logits divided by one temperature: that of the "
    "lowest NLL (negative log-likelihood) on the validation split",
    "Fine-tune + post-hoc T by ECE": "Fine-tune with the temperature of the lowest ECE there",
    "Distill": "the student learns the probabilities of the teacher's most probable tokens",
    "Distill w/ LS": "Distill, after label smoothing of these probabilities",
    "Distill w/ logit T": "Distill, after one temperature on the teacher's logits",
    "FIRST w/ TS": "Distill, after the paper's temperature scaling of these probabilities (Eq. 4), "
    "with a c found on the validation split",
    "Self-distill": "Distill, with a fine-tuned student in the teacher's place",
    "Self-distill, FIRST": "FIRST w/ TS, with a fine-tuned student in the teacher's place",
}


def meanings(methods: Iterable[str]) -> dict[str, str]:
    """Return what confidence, the metrics of Table 1 and printed methods mean, of those known."""
    shown = {"Confidence", *HEADLINE.values(), *methods}
    return {name: text for name, text in MEANINGS.items() if name in shown}


def printed(name: str) -> str:
    """Return the printed name of a method, dataset, family or setting; a new one keeps its own."""
    return PRINTED.get(name, name)
