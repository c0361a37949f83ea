"""What the stages should have written, by transformers and the equations of the method alone.

One row at a time, without padding, all logits, eager attention, in float64 as far as transformers
itself does not ask for float32 (norms, rotary angles: about 1e-7 of a log-probability). It shares
with the code under test the order of rows in a step, and nothing else.
"""

import hashlib
import json
import math
from dataclasses import dataclass

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from first_distill.models.batching import training_batches


@dataclass(frozen=True)
class Training:
    """Settings of a training, and the options that they are."""

    epochs: int = 2
    batch_size: int = 4
    learning_rate: float = 0.01
    seed: int = 3
    warmup_ratio: float = 0.3
    weight_decay: float = 0.1
    # Rounding of a gradient g becomes, in the step, learning rate * error / (|g| + eps): with the
    # usual 1e-6, weights that have next to no gradient would move by its sign, that is by chance.
    adam_eps: float = 1e-3
    max_grad_norm: float = 0.5
    length_pool: int = 2

    def options(self) -> list[str]:
        """As words of a command line."""
        pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in vars(self).items())
        return [word for pair in pairs for word in pair]


def load(folder, dtype=torch.float64):
    """The model of a folder; in eval mode there is no dropout."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    if model.config.model_type == "mixtral":
        model.set_experts_implementation("eager")
    return model.eval()


def encode(folder, rows: list[dict]) -> list[tuple[list[int], int, list[int]]]:
    """(ids, number of the prompt's ids, labels) of each row; special tokens are AutoTokenizer's."""
    tokenizer, encoded = AutoTokenizer.from_pretrained(folder), []
    for row in rows:
        prompt = tokenizer(row["prompt"])["input_ids"]
        ids = tokenizer(row["prompt"] + row["response"])["input_ids"]
        assert ids[: len(prompt)] == prompt
        encoded.append((ids, len(prompt), [*ids[len(prompt) :], tokenizer.eos_token_id]))
    return encoded


def row_hash(ids: list[int], prompt: int) -> np.ndarray:
    """(16,) uint8, by which knowledge joins rows."""
    content = b"".join(value.to_bytes(4, "little") for value in (prompt, *ids))
    return np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), np.uint8)


def log_probs(model, row) -> torch.Tensor:
    """(positions, V) at the supervised positions of an encoded row."""
    ids, prompt, _ = row
    return model(torch.tensor([ids])).logits[0, prompt - 1 :].double().log_softmax(-1)


def every_log_prob(model, rows) -> np.ndarray:
    """(N, V) row after row."""
    with torch.no_grad():
        return torch.cat([log_probs(model, row) for row in rows]).numpy()


def candidates(folder, model, rows: list[dict]) -> list[list[float]]:
    """Log-probability of each candidate's token after its row's prompt."""
    tokenizer, found = AutoTokenizer.from_pretrained(folder), []
    for row in rows:
        prompt = tokenizer(row["prompt"])["input_ids"]
        tokens = []
        for candidate in row["candidates"]:
            ids = tokenizer(row["prompt"] + candidate)["input_ids"]
            assert ids[:-1] == prompt
            tokens.append(ids[-1])
        with torch.no_grad():
            found.append(log_probs(model, (prompt, len(prompt), None))[0, tokens].tolist())
    return found


def token_ids(folder) -> set[int]:
    """Ids of the tokens in a tokenizer's files, less those that a class adds to them."""
    if (folder / "vocab.json").is_file():
        return {*json.loads((folder / "vocab.json").read_text()).values()}
    content = json.loads((folder / "tokenizer.json").read_text())
    return {*content["model"]["vocab"].values(), *(t["id"] for t in content["added_tokens"])}


def top(log_p: np.ndarray, labels: np.ndarray, k: int, tokens: set[int]):
    """ids, log_probs (N, k), log of the mass outside (N,), rank of the label (N,) or 255.

    Outputs that are none of the `tokens` come last.
    """
    padding = np.asarray([i not in tokens for i in range(log_p.shape[1])])
    order = np.argsort(np.where(padding, np.inf, -log_p), axis=1, kind="stable")
    tail = np.log(np.exp(np.take_along_axis(log_p, order[:, k:], 1)).sum(axis=1))
    ranks = (order == labels[:, None]).argmax(axis=1)
    ids = order[:, :k]
    return ids, np.take_along_axis(log_p, ids, 1), tail, np.where(ranks < k, ranks, 255)


def cross_entropy(model, rows, indices):
    """Mean over the labelled positions of a step."""
    total, count = 0.0, 0
    for i in indices:
        labels = torch.tensor(rows[i][2])
        total = total - log_probs(model, rows[i])[torch.arange(len(labels)), labels].sum()
        count += len(labels)
    return total / count


class Matching:
    """Eq. 5 with Eq. 4's targets, mean over the rows of a step, from a store's arrays."""

    def __init__(self, arrays: dict, k: int, c: float):
        p = np.exp(arrays["log_probs"][:, :k].astype(np.float64))
        weights = np.exp(p / c)
        self.q = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True))
        self.ids = torch.from_numpy(arrays["ids"][:, :k].astype(np.int64))
        self.offsets = arrays["offsets"]

    def __call__(self, model, rows, indices):
        total = 0.0
        for i in indices:
            here = slice(self.offsets[i], self.offsets[i + 1])
            q, log_p = self.q[here], log_probs(model, rows[i]).gather(1, self.ids[here])
            total = total + (q * (q.log() - log_p)).sum()
        return total / len(indices)


def train(model, rows, loss, settings: Training) -> tuple[list[float], list[float]]:
    """Train in place by AdamW as written in its paper; (losses, norms of the gradient)."""
    lengths = np.asarray([len(ids) for ids, _, _ in rows])
    batch = (settings.batch_size, settings.seed)
    order = [
        indices
        for epoch in range(settings.epochs)
        for indices in training_batches(lengths, *batch, epoch, settings.length_pool)
    ]
    warmup = math.ceil(settings.warmup_ratio * len(order))
    moments: dict[str, tuple] = {}
    losses, norms = [], []
    for step, indices in enumerate(order):
        if step < warmup:
            rate = settings.learning_rate * step / warmup
        else:
            share = (step - warmup) / (len(order) - warmup)
            rate = settings.learning_rate * (1 + math.cos(math.pi * share)) / 2
        model.zero_grad()
        value = loss(model, rows, indices)
        value.backward()
        # A parameter that has no part in the loss, such as those for images, is left alone.
        trained = {n: p for n, p in model.named_parameters() if p.grad is not None}
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in trained.values()))
        clip = min(1.0, settings.max_grad_norm / norm)
        losses.append(value.item())
        norms.append(norm)
        with torch.no_grad():
            for name, p in trained.items():
                g = clip * p.grad
                m, v = moments.get(name, (torch.zeros_like(g), torch.zeros_like(g)))
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                moments[name] = m, v
                ahead = m / (1 - 0.9 ** (step + 1))
                spread = (v / (1 - 0.999 ** (step + 1))).sqrt()
                p -= rate * settings.weight_decay * p
                p -= rate * ahead / (spread + settings.adam_eps)
    return losses, norms
