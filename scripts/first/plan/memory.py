"""Memory of one process that trains or reads a decoder: the formula that `check` measures.

All in bytes. Training keeps float32 weights, gradients and two AdamW moments (16 a parameter);
torch's foreach AdamW makes one more float32 copy of the parameters while it steps. With bfloat16
the layers compute in bfloat16: under autocast in one process (a cached copy of the weights, a
float32 residual), by FSDP2's mixed precision where the model is sharded (gathered bfloat16 layers).
What autograd keeps of a layer is counted from transformers' Llama: RMSNorm, rotary embedding,
scaled dot product attention without stored scores, SwiGLU.
"""

from __future__ import annotations

from dataclasses import dataclass

from scripts.first.plan.architecture import Architecture

# Copies of float32 logits (N, V) at the loss, where a micro-batch has no more than one chunk of the
# head: cross-entropy keeps a log-softmax and makes two gradients; Eq. 5 keeps the logits of its
# logsumexp and makes three more (tail_bucket: five). In chunks there is one, of one chunk.
LOSS_COPIES = {"labels": 3, "knowledge": 4, "knowledge tail_bucket": 6}
# The same without gradients: a chunk; logits in both types while those of the batch before are
# still there, and for validation a part of them in slices.
READING_COPIES = {"extraction": 1, "evaluation": 2.5, "validation": 3.1}
CHUNK = 2**26  # logits of one chunk of the head on a GPU (scripts.first.models.chunking)
COLUMNS = ("weights", "gradients", "optimizer", "activations", "logits")


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at its largest moment, named `moment`, by what they are."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    moment: str

    @property
    def total(self) -> float:
        """Sum of the columns."""
        return sum(getattr(self, name) for name in COLUMNS)


@dataclass(frozen=True)
class Batch:
    """One forward pass: rows, padded length of each, supervised positions of all."""

    rows: int
    length: int
    positions: int

    @property
    def tokens(self) -> int:
        """Padded tokens."""
        return self.rows * self.length


@dataclass(frozen=True)
class Training:
    """How a model is trained; `processes` share it by FSDP2 where there are several."""

    dtype: str
    processes: int = 1
    offload: bool = False
    checkpointing: bool = False
    micro_batches: int = 1
    loss: str = "labels"

    @property
    def sharded(self) -> bool:
        """Whether FSDP2 wraps the model: with several processes, or to offload."""
        return self.processes > 1 or self.offload

    @property
    def compute(self) -> int:
        """Bytes of a number in the layers."""
        return 2 if self.dtype == "bfloat16" else 4


def kept_of_layer(model: Architecture, batch: Batch, training: Training) -> float:
    """What autograd keeps of one layer from its forward to its backward pass.

    A token's elements: residual in and between, both norms' inputs and outputs, q, k, v, the
    attention's output (with the log of its normaliser), gate, its SiLU, up, their product.
    """
    h, q, k, i = model.hidden, model.queries, model.keys, model.intermediate
    if model.heads != model.key_value_heads:
        k = q  # a mask makes transformers repeat keys and values for all heads
    scalars = 4 * (2 + model.heads)
    if training.compute == 4:
        token = 4 * (2 * h + 4 * h + 2 * q + 2 * k + 4 * i) + scalars
    elif training.sharded:  # a bfloat16 residual; each norm keeps a float32 copy of its input
        token = 2 * (4 * h + h) + 4 * (2 * h) + 2 * (2 * q + 2 * k + 4 * i) + scalars
    else:  # autocast: a float32 residual; each of the five projections casts its own input
        token = 4 * (2 * h + 2 * h) + 2 * (5 * h) + 2 * (2 * q + 2 * k + 4 * i) + scalars
    return batch.tokens * token


def residual(model: Architecture, batch: Batch, training: Training) -> float:
    """One hidden state: what a checkpointed layer keeps."""
    width = 2 if training.compute == 2 and training.sharded else 4
    return width * batch.tokens * model.hidden


def training_memory(
    model: Architecture, batch: Batch, training: Training, chunk: int = CHUNK
) -> Memory:
    """Memory of one process of a training run, at the largest of its moments.

    chunk: logits that the head makes at once.

    head: the loss and its backward pass; layer: the backward pass of the last layer, with the
    gradients of earlier micro-batches; root (sharded): the embeddings' gradients are reduced;
    step: the optimizer. With `offload`, weights, gradients and moments are in host memory.
    """
    c, n = training.compute, training.processes
    shard = 0.0 if training.offload else 4 * model.parameters / n
    layer, head = model.layer_parameters, model.head_parameters
    weights, one_gradient, all_gradients = shard, 4.0 * layer, shard
    head_gradient, root_gradient = 4.0 * head, 0.0
    if training.sharded:
        # Gathered: this layer, the next and the buffer it comes in; embeddings and head all along.
        weights += c * (3 * layer + model.root_parameters)
        if training.offload:
            weights += 2 * 4 * layer / n  # their float32 shards on the way
        # Unsharded gradients in the compute type, in float32 for the reduction, and its result.
        one_gradient, head_gradient = (2 * (c + 4.0) + 4 / n) * layer, c * head
        root_gradient = (c + 4.0) * model.root_parameters
        if c == 4:
            one_gradient, root_gradient = (8.0 + 4 / n) * layer, 4.0 * model.root_parameters
    elif c == 2:
        weights += 2 * model.parameters  # autocast's cache
    moments = 2 * shard
    before = all_gradients if training.micro_batches > 1 else 0.0

    kept = kept_of_layer(model, batch, training)
    state = residual(model, batch, training)
    mask = 5 * batch.rows * batch.length**2  # bool, and as the attention adds it
    if training.checkpointing:
        held, working = model.layers * state + mask, kept
    else:
        held, working = model.layers * kept + mask, 0.0
    held += 3 * state  # last norm
    width = 4 if c == 4 else 2
    gradients_of_layer = batch.tokens * width * 2 * model.intermediate
    logits = 4.0 * batch.positions * model.vocabulary
    at_loss = LOSS_COPIES[training.loss] * logits
    if batch.positions * model.vocabulary > chunk:
        # The chunk, in bfloat16 and back too, and the head's gradient until autograd has taken it.
        at_loss = (4.0 if c == 4 else 8.0) * chunk + (4.0 if c == 4 else 6.0) * head
        logits = 0.0
    moments_of = {
        "head": (before + head_gradient if before else 0.0, held, at_loss),
        "head weights": (before + head_gradient, held, logits),
        "layer": (before + head_gradient + one_gradient, held + working + gradients_of_layer, 0.0),
        "root": (all_gradients + root_gradient, state, 0.0),
        "step": (all_gradients, 0.0, 0.0),
    }
    if not training.sharded:
        # Without shards every gradient is added in place: at the end they are all there once.
        moments_of["layer"] = (before + head_gradient, *moments_of["layer"][1:])
        del moments_of["root"]
    found = []
    for moment, (gradients, activations, copies) in moments_of.items():
        optimizer = moments + (shard if moment == "step" else 0.0)
        if moment == "step":  # nothing is gathered or cached any more
            found.append(Memory(shard, gradients, optimizer, 0.0, 0.0, moment))
        else:
            found.append(Memory(weights, gradients, optimizer, activations, copies, moment))
    return max(found, key=lambda memory: memory.total)


def reading_memory(
    model: Architecture, batch: Batch, dtype: str, what: str, weights: float | None = None
) -> Memory:
    """Memory of a forward pass without gradients: extraction, evaluation or validation.

    weights: their bytes where they are not one copy in `dtype` (validation after training).
    """
    c = 2 if dtype == "bfloat16" else 4
    h, i = model.hidden, model.intermediate
    # In the feed-forward part: residual, its norm and output; SiLU, up and their product.
    token = c * (3 * h + 3 * i)
    activations = batch.tokens * token + 5 * batch.rows * batch.length**2
    logits = batch.positions * model.vocabulary
    if what == "extraction":
        logits = min(logits, CHUNK) * (1 if c == 4 else 1.5)
    return Memory(
        weights=c * model.parameters if weights is None else weights,
        gradients=0.0,
        optimizer=0.0,
        activations=activations,
        logits=4.0 * READING_COPIES[what] * logits,
        moment=what,
    )
