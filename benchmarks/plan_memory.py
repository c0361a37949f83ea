"""The plan's memory formula against measured memory: `python -m benchmarks.plan_memory`.

Real training steps on small Llamas, on this machine.
Each configuration trains in a fresh process. The measurement is how far its peak resident memory
(Linux, VmHWM) rises above that after all imports and the training of one tiny model. Large blocks
are given back to the system at once (MALLOC_MMAP_THRESHOLD_), so that the peak is that of tensors.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from first_distill import ROOT, cli
from first_distill.errors import UserError, run_cli

BLOCK = "65536"  # bytes: allocations above it are mapped and unmapped one by one


@dataclass(frozen=True)
class Configuration:
    """A small Llama, float32, and how it is trained: rows of `length` ids, `positions` learnt."""

    what: str
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    rows: int
    length: int
    positions: int
    micro_batches: int
    checkpointing: bool

    def config(self) -> dict:
        """Content of its config.json."""
        return {
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
        }


CONFIGURATIONS = (
    Configuration("activations", 2000, 384, 1024, 12, 6, 6, 8, 128, 3, 2, False),
    Configuration("states", 2000, 640, 1728, 8, 10, 5, 4, 64, 3, 2, True),
    Configuration("logits", 32000, 128, 352, 2, 4, 4, 8, 128, 100, 1, True),
)


def formula(configuration: Configuration):
    """Memory of a configuration by the formula."""
    from first_distill.models.batching import LOGITS
    from first_distill.plan.architecture import from_config
    from first_distill.plan.memory import Batch, Training, training_memory

    c = configuration
    training = Training(
        "float32", checkpointing=c.checkpointing, micro_batches=c.micro_batches, loss="labels"
    )
    batch = Batch(c.rows, c.length, c.rows * c.positions)
    return training_memory(from_config(c.config(), c.what), batch, training, LOGITS["cpu"])


def measured(configuration: Configuration) -> int:
    """Peak bytes of training a configuration for two steps, in a separate process."""
    root = ROOT
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "MALLOC_MMAP_THRESHOLD_": BLOCK,
        "MALLOC_TRIM_THRESHOLD_": BLOCK,
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, "-m", "benchmarks.plan_memory", json.dumps(asdict(configuration))]
    process = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"cannot measure {configuration.what}: {last}")
    return int(process.stdout.strip().splitlines()[-1])


def run_check() -> int:
    """Print measured and computed memory of each configuration; return 1 where one is 10 % off."""
    worst = 0.0
    for configuration in CONFIGURATIONS:
        memory, peak = formula(configuration), measured(configuration)
        error = memory.total / peak - 1
        worst = max(worst, abs(error))
        print(
            f"{configuration.what:12} formula {memory.total / 1e6:7.1f} MB, "
            f"measured {peak / 1e6:7.1f} MB, error {100 * error:+.1f} % (moment: {memory.moment})"
        )
    print(f"largest relative error {100 * worst:.1f} %")
    return 1 if worst >= 0.1 else 0


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise UserError(f"no {name} in /proc/self/status: measure on Linux")


def _train(configuration: Configuration) -> None:
    import numpy as np
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from first_distill.models.encoding import EncodedRow
    from first_distill.training.loop import train
    from first_distill.training.losses import CrossEntropy
    from first_distill.training.settings import Settings

    c, draw = configuration, np.random.default_rng(0)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(**c.config()), dtype=torch.float32, trust_remote_code=False
    )
    model.config.use_cache = False
    rows = []
    for i in range(c.rows * c.micro_batches):
        ids = draw.integers(3, c.vocabulary, c.length - 3 * (i % 2)).astype(np.int32)  # padded
        labels = draw.integers(3, c.vocabulary, c.positions).astype(np.int32)
        rows.append(EncodedRow(str(i), ids, len(ids) - c.positions + 1, labels, bytes(16)))
    settings = Settings(
        epochs=2,
        batch_size=len(rows),
        learning_rate=1e-4,
        seed=0,
        micro_batch_size=c.rows,
        gradient_checkpointing=c.checkpointing,
    )
    train(model, rows, CrossEntropy(), settings, 0, c.what)


def _measure(configuration: Configuration) -> int:
    import torch

    torch.set_num_threads(1)
    # Everything is imported and every kernel loaded before the measurement starts.
    _train(Configuration("warm", 64, 16, 16, 1, 2, 2, 2, 8, 3, 2, configuration.checkpointing))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = _resident("VmRSS")
    _train(configuration)
    return _resident("VmHWM") - before


def main(argv: list[str]) -> int:
    """Check the formula; of one configuration, print the bytes that this process takes for it."""
    options = cli.parser("benchmarks.plan_memory", __doc__)
    options.add_argument("one", nargs="?", type=cli.json_object, help="measure this one (JSON)")
    if not (one := options.parse_args(argv).one):
        return run_check()
    print(_measure(Configuration(**one)))
    return 0


if __name__ == "__main__":
    run_cli(main)
