"""Random models of real shapes, random rows, and the place where they are checked."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.rows import Clock
from first_distill.models.encoding import EncodedRow, row_hash
from first_distill.plan.architecture import Architecture, from_config

# The two published shapes whose speed is measured: content of their config.json.
SMOLLM2_135M = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
QWEN25_1_5B = {
    "model_type": "qwen2",
    "vocab_size": 151936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}
# Many tokens, so that a CPU's chunk of logits does not hold all positions either.
TINY = {
    **SMOLLM2_135M,
    "vocab_size": 16384,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
}
SPREAD = 3.0  # standard deviation of the logits of a position, about that of a trained model


@dataclass(frozen=True)
class Sizes:
    """How much is computed: of rows their number, longest length and supervised positions.

    layers: of the model whose numbers are compared, which has the width and tokens of `shapes[0]`.
    compared, trained, timed: (rows, length, positions); questions: (rows, length). matmul: side of
    the square product. seconds: of timing one thing.
    """

    shapes: tuple[tuple[str, dict], ...]
    layers: int
    compared: tuple[int, int, int]
    trained: tuple[int, int, int]
    timed: tuple[int, int, int]
    questions: tuple[int, int]
    matmul: int
    seconds: float


WHOLE = Sizes(
    shapes=(("135M", SMOLLM2_135M), ("1.5B", QWEN25_1_5B)),
    layers=6,
    compared=(12, 128, 128),
    trained=(12, 512, 200),
    timed=(8, 512, 128),
    questions=(64, 200),
    matmul=8192,
    seconds=8.0,
)
REDUCED = Sizes(
    shapes=(("tiny", TINY),),
    layers=2,
    compared=(12, 100, 100),
    trained=(6, 24, 8),
    timed=(4, 32, 8),
    questions=(8, 20),
    matmul=256,
    seconds=0.2,
)


@dataclass(frozen=True)
class Place:
    """Where the checks run: the device, how much they compute, scratch folder and clock."""

    device: str
    sizes: Sizes
    scratch: Path
    clock: Clock

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def free(self) -> None:
        """Give memory of things that are gone back to the device."""
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def held(self) -> int:
        """Bytes of the GPU that tensors hold now."""
        return torch.cuda.memory_allocated() if self.device == "cuda" else 0


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def random_model(config: dict, seed: int, device: str = "cpu"):
    """A float32 model in eval mode with random weights under which errors behave as in a trained
    one: variance is kept by every product, no norm or bias is trivial, logits spread by SPREAD.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    shape = AutoConfig.for_model(**config, initializer_range=config["hidden_size"] ** -0.5)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            shape, dtype=torch.float32, trust_remote_code=False
        )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.get_decoder().norm.weight.mul_(SPREAD)
    model.config.use_cache = False
    return model.eval()


def architecture(config: dict, name: str) -> Architecture:
    """The plan's view of a shape."""
    return from_config(dict(config), name)


def random_rows(vocabulary: int, sizes: tuple[int, int, int], seed: int) -> list[EncodedRow]:
    """Encoded rows of (rows, length, positions); every second one is shorter, so that it is padded.

    positions: supervised ones, the last of each row; fewer in rows that are shorter than that.
    """
    draw, rows = np.random.default_rng(seed), []
    count, length, positions = sizes
    for i in range(count):
        ids = draw.integers(3, vocabulary, length - 3 * (i % 2)).astype(np.int32)
        labels = draw.integers(3, vocabulary, min(positions, len(ids))).astype(np.int32)
        start = len(ids) - len(labels) + 1
        rows.append(EncodedRow(str(i), ids, start, labels, row_hash(ids, start)))
    return rows


def random_questions(vocabulary: int, sizes: tuple[int, int], seed: int) -> list[dict]:
    """Rows of a benchmark, of (rows, length), whose words are numbers of tokens (`Numbers`)."""
    draw, rows = np.random.default_rng(seed), []
    count, length = sizes
    for i in range(count):
        words = draw.integers(3, vocabulary, length - 3 * (i % 2))
        candidates = [str(c) for c in draw.choice(np.arange(3, vocabulary), 5, replace=False)]
        prompt = " ".join(map(str, words)) + " "
        answer = candidates[i % 5]
        rows.append(
            {"id": str(i), "prompt": prompt, "response": answer, "candidates": candidates}
            | {"answer": answer, "shorten_start": -1, "shorten_end": -1}
        )
    return rows


class Numbers:
    """A tokenizer of texts that are numbers: `17 4 9` is the ids 17, 4 and 9; no BOS, EOS is 0."""

    prefix: tuple[int, ...] = ()
    eos_id = 0

    def __init__(self) -> None:
        self.known: dict[str, list[int]] = {}

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text."""
        for text in texts:
            if text not in self.known:
                self.known[text] = [int(word) for word in text.split()]
        return [self.known[text] for text in texts]
