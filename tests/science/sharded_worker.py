"""Run by test_sharding.py in several processes: train sharded, write what came out.

`python -m first_distill.distributed.launcher --processes N MODULE FOLDER` reads the
checkpoints `plain` and `tied` of the folder.
"""

import dataclasses
import sys
from pathlib import Path

from first_distill.distributed import comm
from first_distill.distributed.fsdp import sharded_model, whole_model
from first_distill.files import write_json
from first_distill.models import batching
from first_distill.models.checkpoints import save_checkpoint
from first_distill.models.determinism import seed_everything
from first_distill.models.loading import load_weights
from first_distill.training.loop import train
from first_distill.training.losses import CrossEntropy
from first_distill.training.model import TrainingModel
from first_distill.training.settings import Settings
from tests import tiny_models as tiny

VOCABULARY = 263
ROWS = 14  # 14 rows in batches of 5, 5, 4 and micro-batches of 2: neither 2 nor 3 divides them
SETTINGS = Settings(
    epochs=2, batch_size=5, micro_batch_size=2, learning_rate=0.01, seed=3, weight_decay=0.1
)
CASES = {
    "plain": {},
    "tied": {},
    "checkpointed": {"gradient_checkpointing": True},
    "half": {"dtype": "bfloat16"},
    "chunks": {},
    "tied-chunks": {},
    "half-chunks": {"dtype": "bfloat16"},
}
# Positions of a chunk of the head. Micro-batches have 3 to 35: with 8, one process cuts its own
# while another holds all logits, and yet they pass through the model together.
CHUNKS = {"chunks": 2, "tied-chunks": 8, "half-chunks": 2}


def trainable(folder: Path, case: str, sharded: bool):
    """The model of a case and its settings."""
    settings = dataclasses.replace(SETTINGS, **CASES[case])
    base = folder / ("tied" if case.startswith("tied") else "plain")
    seed_everything(1)
    if sharded:
        return sharded_model(base, TrainingModel, settings.dtype, False), settings
    return load_weights(base), settings


def rows():
    """Encoded training rows, of two kinds."""
    return tiny.encode(tiny.choice_rows(ROWS // 2) + tiny.instruction_rows(ROWS // 2))


def main() -> int:
    """Train every case; the first process writes."""
    folder = Path(sys.argv[1])
    comm.join()
    report = {"world": comm.world(), "cases": {}, "local": {}}
    for name in ("plain", "tied"):
        model = sharded_model(folder / name, TrainingModel, "float32", False)
        _save(model, folder / name, folder / f"untouched-{name}")
    at_once = batching.LOGITS["cpu"]
    for case in CASES:
        batching.LOGITS["cpu"] = CHUNKS[case] * VOCABULARY if case in CHUNKS else at_once
        model, settings = trainable(folder, case, sharded=True)
        own = sum(p.to_local().numel() for p in model.parameters())
        report["local"][case] = comm.gathered(own)
        report["cases"][case] = train(model, rows(), CrossEntropy(), settings, tiny.EOS, case)
        base = folder / ("tied" if case.startswith("tied") else "plain")
        _save(model, base, folder / f"trained-{case}", settings.dtype)
    if comm.is_main():
        write_json(folder / "report.json", report)
    comm.leave()
    return 0


def _save(model, base: Path, target: Path, dtype: str = "float32") -> None:
    whole = whole_model(model, base, dtype)
    if whole is not None:
        save_checkpoint(whole, target, tiny.tokenizer_folder(), {"kind": "test"})


if __name__ == "__main__":
    sys.exit(main())
