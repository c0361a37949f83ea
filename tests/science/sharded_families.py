"""Run by test_sharding_families.py in several processes: train each family, write what came out.

`python -m first_distill.distributed.launcher --processes N MODULE FOLDER` reads FOLDER/NAME/base.
"""

import sys
from pathlib import Path

import numpy as np

from first_distill.distributed import comm
from first_distill.distributed.fsdp import sharded_model, whole_model
from first_distill.files import write_json
from first_distill.models.checkpoints import save_checkpoint
from first_distill.models.determinism import seed_everything
from first_distill.models.encoding import EncodedRow, row_hash
from first_distill.training.loop import train
from first_distill.training.losses import CrossEntropy
from first_distill.training.model import TrainingModel
from first_distill.training.settings import Settings

SETTINGS = Settings(
    epochs=1,
    batch_size=4,
    micro_batch_size=2,
    learning_rate=0.003,
    seed=3,
    weight_decay=0.1,
    gradient_checkpointing=True,
)


def rows(count: int = 10, vocabulary: int = 300) -> list[EncodedRow]:
    """Rows of random tokens, supervised from their middles on."""
    draw, made = np.random.default_rng(5), []
    for i in range(count):
        ids = draw.integers(3, vocabulary, draw.integers(8, 40)).astype(np.int32)
        middle = len(ids) // 2
        labels = np.append(ids[middle:], ids[0])
        made.append(EncodedRow(f"r{i}", ids, middle, labels, row_hash(ids, middle)))
    return made


def main() -> int:
    """Each model untouched, trained, and resumed before its last step."""
    folder, curves = Path(sys.argv[1]), {}
    comm.join()
    for base in sorted(folder.glob("*/base")):
        state = base.parent / "state"
        for name in ("untouched", "trained", "resumed"):
            seed_everything(1)
            model = sharded_model(base, TrainingModel, "float32", False)
            if name != "untouched":
                how = (rows(), CrossEntropy(), SETTINGS, 0, name, state)
                curves[f"{base.parent.name} {name}"] = train(model, *how)
            whole = whole_model(model, base, "float32")
            if whole is not None:
                save_checkpoint(whole, base.parent / name, base, {"kind": "test"})
    if comm.is_main():
        write_json(folder / "curves.json", curves)
    comm.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
