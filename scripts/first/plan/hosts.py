"""Host memory of a job, and what offloading moves between host and GPUs. All in bytes."""

from __future__ import annotations

import math

from scripts.first.plan.architecture import Architecture
from scripts.first.plan.memory import Training

# One process with nothing loaded: Python and torch; with CUDA and NCCL beside them.
PROCESS_CPU, PROCESS_GPU = 1.0e9, 3.5e9
# Bytes a parameter, once a machine: the float32 checkpoint that is loaded and dealt out; what one
# process gathers of a sharded model (float32, then bfloat16) to write it; the resumable state.
LOADING, GATHERING, STATE = 4, 6, 12
# Two float32 moments; AdamW steps over one parameter at a time and makes no copy of all.
MOMENTS = 8
# What reading a knowledge store takes, whatever its size: it is mapped into memory.
STORE = 0.1e9


def training_host(model: Architecture, training: Training, nodes: int, gpu: bool) -> float:
    """Host memory of one machine's processes of a training job.

    The largest of loading, gathering and writing the resumable state from host memory, over what
    is there all the while. Offloaded weights and gradients are pinned and stay so; the moments are
    gone when the weights are gathered. A state in host memory is written from where it lies.
    Without a GPU `memory` counts what is not offloaded: there it is in host memory too.
    """
    processes = training.processes / nodes
    base = processes * (PROCESS_GPU if gpu else PROCESS_CPU)
    if not gpu:
        return base + (2 + (8 + MOMENTS) * training.offload / nodes) * model.parameters
    if training.offload:
        held = 2 * processes * pinned(model, training.processes)
        return base + held + max(MOMENTS / nodes, GATHERING) * model.parameters
    return base + max(LOADING, GATHERING, STATE / nodes) * model.parameters


def pinned(model: Architecture, processes: int) -> float:
    """Pinned bytes of one process's shard of the float32 weights; of its gradients as many.

    torch's allocator rounds every pinned tensor up to a power of two bytes.
    """
    h, matrices = model.hidden, [model.queries * model.hidden] * 2
    matrices += [model.keys * h] * 2 + [model.intermediate * h] * 3 + [h] * 2
    roots = [model.head_parameters] * round(model.root_parameters / model.head_parameters) + [h]
    in_layers, in_root = (
        sum(2.0 ** math.ceil(math.log2(4 * math.ceil(n / processes))) for n in tensors)
        for tensors in (matrices, roots)
    )
    return model.layers * in_layers + in_root


def reading_host(model: Architecture, width: int, gpu: bool) -> float:
    """Host memory of extraction or evaluation: weights are read there, then moved to the GPU."""
    return PROCESS_GPU + width * model.parameters if gpu else PROCESS_CPU


def searching_host(positions: int, stored_k: int, k: int = 5) -> float:
    """All log-probabilities of a store, twice, and those of k tokens in float64, six times."""
    return STORE + positions * (2 * 2 * stored_k + 8 * 6 * k)


def validating_weights(model: Architecture, training: Training) -> float:
    """Bytes of weights on one GPU while a model that was just trained is validated."""
    if not training.sharded:
        return (4 + (2 if training.compute == 2 else 0)) * model.parameters
    gathered = training.compute * (3 * model.layer_parameters + model.root_parameters)
    return gathered + (0 if training.offload else 4 * model.parameters / training.processes)


def moved_bytes(model: Architecture, training: Training) -> float:
    """Bytes between host memory and one process in one optimizer step where it is offloaded.

    A micro-batch brings the float32 weights twice (forward, backward) and takes the gradients back;
    AdamW on the host reads and writes about ten float32 numbers a parameter.
    """
    if not training.offload:
        return 0.0
    return (12 * training.micro_batches + 40) * model.parameters / training.processes
