"""Memory of jobs: of the GPU of each process, measured by benchmarks.plan_memory, and of a host.

All in bytes. Training keeps float32 weights, gradients and two AdamW moments (16 a parameter). With
bfloat16 the layers compute in bfloat16: under autocast in one process (a cached copy of the
weights, a float32 residual), by FSDP2's mixed precision where the model is sharded (gathered
bfloat16 layers).
What autograd keeps of a layer is counted from its modules (layers.py). The attention stores no
scores, unless it caps them, and a sliding window saves nothing: both as transformers computes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from first_distill.models.batching import LOGITS
from first_distill.plan.architecture import Architecture
from first_distill.plan.corpora import Counts

# Copies of float32 logits (N, V) at the loss, where a micro-batch has no more than one chunk of the
# head: cross-entropy keeps a log-softmax and makes two gradients; Eq. 5 keeps the logits of its
# logsumexp and makes three more (tail_bucket: five). In chunks there is one, of one chunk.
LOSS_COPIES = {"labels": 3, "knowledge": 4, "knowledge tail_bucket": 6}
# The same without gradients: a chunk; logits in both types while those of the batch before are
# still there, and for validation a part of them in slices. Where a head's logits are not made in
# chunks, extraction has those of whole batches too; a tanh that caps them is one copy more.
READING_COPIES = {"extraction": 1, "evaluation": 2.5, "validation": 3.1}
CHUNK = LOGITS["cuda"]
COLUMNS = ("weights", "gradients", "optimizer", "activations", "logits")
BYTES = {"float32": 4, "bfloat16": 2}

# Host memory of one process with nothing loaded: Python and torch; with CUDA and NCCL beside them.
PROCESS_CPU, PROCESS_GPU = 1.0e9, 3.5e9
# Bytes a parameter, once a machine: the float32 checkpoint that is loaded and dealt out; what one
# process gathers of a sharded model (float32, then bfloat16) to write it; AdamW's two moments,
# which on a host are stepped over one parameter at a time; the resumable state.
LOADING, GATHERING, MOMENTS, STATE = 4, 6, 8, 12
# What reading a knowledge store takes, whatever its size: it is mapped into memory.
STORE = 0.1e9


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at its largest moment, named `moment`, by what they are."""

    moment: str
    weights: float
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    logits: float = 0.0

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


def kept_of_layer(model: Architecture, batch: Batch, training: Training) -> float:
    """What autograd keeps of one layer from its forward to its backward pass.

    Of a token: what norms keep, what attention and feed-forward part read (2 h), queries, keys,
    values and the result with the log of its normaliser, and the feed-forward part's elements.
    """
    h, layer = model.hidden, model.layer
    elements = layer.attention + layer.feed_forward
    if training.dtype == "float32":
        token = layer.norms + 4 * (2 * h + elements + layer.experts)
    elif training.sharded:  # a bfloat16 residual, of which norms keep a float32 copy
        token = layer.half_norms + 2 * (3 * h + elements + layer.experts)
    else:  # autocast: a float32 residual; each projection casts its own input
        token = layer.norms + 2 * (layer.readers * h + elements) + 4 * layer.experts
    scores = layer.scores * model.heads * batch.length
    return batch.rows * batch.length * (token + 4 * model.heads + scores)


def training_memory(
    model: Architecture, batch: Batch, training: Training, chunk: int = CHUNK
) -> Memory:
    """Memory of one process of a training run, at the largest of its moments.

    chunk: logits that the head makes at once.

    head: the loss and its backward pass; layer: the backward pass of the last layer, with the
    gradients of earlier micro-batches; root (sharded): the embeddings' gradients are reduced;
    step: the optimizer. With `offload`, weights, gradients and moments are in host memory.
    """
    c, n, h = BYTES[training.dtype], training.processes, model.hidden
    layer, root, head = model.layer_parameters, model.root_parameters, model.head
    shard = 0.0 if training.offload else 4 * model.parameters / n
    before = shard if training.micro_batches > 1 else 0.0
    reduced = c if c == 4 else c + 4  # a gradient as computed and, for the reduction, in float32
    weights, head_gradient, layer_gradients = shard, 4.0 * head, 0.0
    if training.sharded:
        # Gathered: this layer, the next and the buffer it comes in; embeddings and head all along.
        weights += c * (3 * layer + root)
        if training.offload:
            weights += 2 * 4 * layer / n  # their float32 shards on the way
        head_gradient, layer_gradients = c * head, (2 * reduced + 4 / n) * layer
    elif c == 2:
        weights += 2 * model.parameters  # autocast's cache

    tokens = batch.rows * batch.length
    state = (c if training.sharded else 4) * tokens * h
    kept = kept_of_layer(model, batch, training)
    held, working = model.layers * kept, 0.0
    if training.checkpointing:  # a layer keeps the hidden state alone, until it is run again
        held, working = model.layers * state, kept
    held += 5 * batch.rows * batch.length**2 + 3 * state  # mask, bool and as it is added; last norm
    scores = tokens * batch.length * model.heads * model.layer.scores
    working += tokens * c * 2 * model.layer.intermediate + scores
    logits = 4.0 * batch.positions * model.vocabulary
    at_loss = (LOSS_COPIES[training.loss] + model.capped * c / 4) * logits
    if model.chunked and batch.positions * model.vocabulary > chunk:
        # The chunk, in bfloat16 and back too, and the head's gradient until autograd has taken it.
        at_loss, logits = (4 if c == 4 else 8) * chunk + reduced * head, 0.0

    def at(moment: str, gradients: float, activations: float, logits: float = 0.0) -> Memory:
        return Memory(moment, weights, gradients, 2 * shard, activations, logits)

    after_head = before + head_gradient
    moments = [
        at("head", after_head if before else 0.0, held, at_loss),
        at("head weights", after_head, held, logits),
        at("layer", after_head + layer_gradients, held + working),
        Memory("step", shard, shard, 2 * shard),  # nothing is gathered or cached any more
    ]
    if training.sharded:  # else every gradient is added in place
        moments.append(at("root", shard + reduced * root, state))
    return max(moments, key=lambda memory: memory.total)


def reading_memory(
    model: Architecture, counts: Counts, max_tokens: int, dtype: str, what: str
) -> Memory:
    """Memory of extraction, evaluation or validation, in a batch of a split's longest rows."""
    c, rows = BYTES[dtype], min(counts.rows, max(1, max_tokens // counts.longest))
    # Short rows crowd a batch with supervised positions, long rows with attention masks.
    most = math.ceil(counts.density * max(max_tokens, counts.longest))
    tokens, mask = rows * counts.longest, 5 * rows * counts.longest**2
    # Stored scores: in the model's type, as float32, and their softmax.
    scores = 1.25 * tokens * counts.longest * model.heads * model.layer.scores
    logits = min(counts.positions, most) * model.vocabulary
    copies = READING_COPIES[what] + model.capped
    if what == "extraction" and model.chunked:
        logits = min(logits, CHUNK) * (1 if c == 4 else 1.5)
    elif what == "extraction":
        copies += READING_COPIES["evaluation"] - READING_COPIES[what]
    return Memory(
        moment=what,
        weights=c * model.parameters,
        # In the feed-forward part: residual, its norm and output; and what is inside.
        activations=tokens * c * (3 * model.hidden + model.layer.inside) + mask + scores,
        logits=4.0 * copies * logits,
    )


def validating_weights(model: Architecture, training: Training) -> float:
    """Bytes of weights on one GPU while a model that was just trained is validated."""
    if not training.sharded:
        return {"float32": 4, "bfloat16": 6}[training.dtype] * model.parameters
    gathered = BYTES[training.dtype] * (3 * model.layer_parameters + model.root_parameters)
    return gathered + (0 if training.offload else 4 * model.parameters / training.processes)


def training_host(model: Architecture, training: Training, nodes: int, gpu: bool) -> float:
    """Host memory of one machine's processes of a training job.

    The largest of loading, gathering and writing the resumable state, over what is there all the
    while: offloaded weights and gradients, which are pinned; their moments are gone when the
    weights are gathered. Without a GPU `training_memory`, in host memory too, counts the rest.
    """
    processes = training.processes / nodes
    if not gpu:
        states = 2 + (8 + MOMENTS) * training.offload / nodes
        return processes * PROCESS_CPU + states * model.parameters
    base = processes * PROCESS_GPU
    if training.offload:
        held = 2 * processes * pinned(model, training.processes)
        return base + held + max(MOMENTS / nodes, GATHERING) * model.parameters
    return base + max(LOADING, GATHERING, STATE / nodes) * model.parameters


def pinned(model: Architecture, processes: int) -> float:
    """Pinned bytes of one process's shard of the float32 weights; of its gradients as many.

    torch's allocator rounds every pinned tensor up to a power of two bytes.
    """
    tensors = [4 * math.ceil(n / processes) for n in model.tensors]
    return sum(2.0 ** math.ceil(math.log2(size)) for size in tensors)
