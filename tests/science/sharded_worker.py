"""Run by test_sharding.py in several processes: train sharded, write what came out.

`python -m scripts.first.distributed.launcher --processes N MODULE FOLDER` reads the
checkpoints `plain` and `tied` of the folder.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from pathlib import Path

from scripts.first.distributed import comm as distributed
from scripts.first.distributed.fsdp import assert_sharded, sharded_model, whole_model
from scripts.first.files import write_json
from scripts.first.models import head
from scripts.first.models.checkpoints import load_weights, save_checkpoint
from scripts.first.models.determinism import seed_everything
from scripts.first.training.cross_entropy import train_on_labels
from scripts.first.training.loop import Settings
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
    model = sharded_model(base, settings.dtype, False) if sharded else load_weights(base)
    return model, settings


def rows():
    """Encoded training rows, of two kinds."""
    return tiny.encode(tiny.choice_rows(ROWS // 2) + tiny.instruction_rows(ROWS // 2))


def unwrapped_is_refused() -> bool:
    """Plain data parallelism must not pass for sharding."""
    from torch.nn.parallel import DistributedDataParallel

    distributed.join()
    try:
        assert_sharded(DistributedDataParallel(copy.deepcopy(tiny.random_llama(0))).module)
    except RuntimeError as error:
        return "not wrapped" in str(error)
    return False


def main() -> int:
    """Train every case; the first process writes."""
    folder = Path(sys.argv[1])
    refused = unwrapped_is_refused()
    report = {"refused": refused, "world": distributed.world(), "cases": {}, "local": {}}
    for name in ("plain", "tied"):
        _save(sharded_model(folder / name, "float32", False), folder / f"untouched-{name}")
    at_once = head.ELEMENTS["cpu"]
    for case in CASES:
        head.ELEMENTS["cpu"] = CHUNKS[case] * VOCABULARY if case in CHUNKS else at_once
        model, settings = trainable(folder, case, sharded=True)
        own = sum(p.to_local().numel() for p in model.parameters())
        report["local"][case] = distributed.gathered(own)
        report["cases"][case] = train_on_labels(model, rows(), settings, tiny.EOS, case)
        _save(model, folder / f"trained-{case}", settings.dtype)
    if distributed.is_main():
        write_json(folder / "report.json", report)
    distributed.leave()
    return 0


def _save(model, target: Path, dtype: str = "float32") -> None:
    whole = whole_model(model, dtype)
    if whole is not None:
        save_checkpoint(whole, target, tiny.tokenizer_folder(), {"kind": "test"})


if __name__ == "__main__":
    sys.exit(main())
