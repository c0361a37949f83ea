"""FIRST: recalibrated top-k distillation, in rooms; imports run one way, from bottom to top.

For other programs the names of docs/library.md are here too, as `from first_distill import
prob_softmax`: each is imported when it is first asked for (PEP 562), and so is `__version__`.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]  # of the repository

PUBLIC = {
    "calibration.recalibration": "normalise label_smoothing prob_softmax logit_temperature "
    "recalibrate",
    "calibration.temperature_search": "search_temperature temperature_curve",
    "calibration.posthoc": "PosthocTemperature",
    "calibration.metrics": "expected_calibration_error adaptive_calibration_error trust_score "
    "reliability_bins",
    "calibration.meters": "smooth_calibration_error auroc aurc",
    "calibration.statistic": "score question_weights",
    "calibration.intervals": "Estimate",
    "knowledge.topk": "top_k",
    "knowledge.store": "KnowledgeStore write_store id_dtype",
    "models.encoding": "row_hash",
    "training.losses": "matching_loss KnowledgeTargets",
}
__all__ = [name for names in PUBLIC.values() for name in names.split()]


def __getattr__(name: str) -> Any:
    """One of the library's names, or the installed version; AttributeError for any other.

    `__version__` is "0+unknown" in a clone that is not installed.
    """
    if name == "__version__":
        metadata = import_module("importlib.metadata")
        try:
            return metadata.version("first-distill")
        except metadata.PackageNotFoundError:
            return "0+unknown"
    for module, names in PUBLIC.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, also those that are not imported yet."""
    return sorted({*globals(), *__all__, "__version__"})
