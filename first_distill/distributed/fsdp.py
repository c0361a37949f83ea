"""A model sharded over the processes by FSDP2.

It is built without storage and wrapped by torch's `fully_shard`: each block, then the rest. The
first process loads the checkpoint as it would for itself and deals it out: values, buffers, and
which parameters are tied. Weights, gradients and
optimizer are float32; with dtype bfloat16 layers are gathered and computed in bfloat16 while
gradients are reduced in float32. The same calls run on GPUs (NCCL) and on CPUs (gloo), where
accelerate's own wrapper would silently fall back to data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from first_distill.distributed import comm
from first_distill.models.loading import default_device, load_weights, skeleton
from first_distill.models.structure import decoder_layers


def sharded_model(location: Path, wrap: Callable, dtype: str, offload: bool):
    """`wrap(model)` of a checkpoint's model, sharded, to be trained by all processes together.

    The module that `wrap` returns is the one to call; it has the model as its attribute `model`.
    `offload` keeps weights, gradients and whatever is made of them (the optimizer) in host memory.
    """
    from torch.distributed import fsdp
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
    from torch.distributed.device_mesh import init_device_mesh

    comm.join()
    device, half = default_device(), fsdp.MixedPrecisionPolicy(torch.bfloat16, torch.float32)
    options = {
        "mesh": init_device_mesh(device, (comm.world(),)),
        "mp_policy": half if dtype == "bfloat16" else fsdp.MixedPrecisionPolicy(),
    }
    if offload and device == "cuda":  # without a GPU everything is in host memory
        options["offload_policy"] = fsdp.CPUOffloadPolicy()
    model, weights = skeleton(location), {}

    def load() -> tuple[dict, dict]:
        loaded = load_weights(location, "float32", "cpu")
        weights.update(loaded.state_dict())
        return _names(loaded), dict(loaded.named_buffers(remove_duplicate=False))

    names, buffers = comm.from_main(load)
    _share(model, names)
    root = wrap(model)
    for block in decoder_layers(model):
        fsdp.fully_shard(block, **options)
    fsdp.fully_shard(root, **options)
    in_checkpoints = set(model.state_dict())
    root.to_empty(device="cpu" if offload else device)
    for name, buffer in buffers.items():
        owner, _, own_name = name.rpartition(".")
        holder = model.get_submodule(owner)
        holder.register_buffer(own_name, buffer.to(device), name in in_checkpoints)
    dealt_out = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, weights, options=dealt_out)
    return root


def _names(model) -> dict[str, str]:
    """{name of a parameter: first name of the same one}: tied parameters have two names."""
    first: dict[torch.nn.Parameter, str] = {}
    found = model.named_parameters(remove_duplicate=False)
    return {name: first.setdefault(parameter, name) for name, parameter in found}


def _share(model, names: dict[str, str]) -> None:
    """Tie the parameters of a model without data as `names`, of another, says."""
    made = {}
    for name, parameter in dict(model.named_parameters(remove_duplicate=False)).items():
        shared = made.setdefault(names[name], torch.nn.Parameter(torch.empty_like(parameter)))
        owner, _, own_name = name.rpartition(".")
        model.get_submodule(owner).register_parameter(own_name, shared)


def is_sharded(model) -> bool:
    """Whether the parameters are sharded over processes."""
    return isinstance(next(model.parameters()), DTensor)


def whole_model(model, location: Path | None, dtype: str):
    """An ordinary model in `dtype` with the trained weights, to be validated and saved.

    Sharded weights are gathered into the model at `location`, on the first process; None on others.
    """
    if not is_sharded(model):
        # Parameters only: a model that is loaded in `dtype` keeps its buffers, the frequencies of
        # the rotary embedding, in float32.
        kind = torch.bfloat16 if dtype == "bfloat16" else torch.float32
        for parameter in model.parameters():
            parameter.data = parameter.data.to(kind)
        return model

    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    gathered = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model.model, options=gathered)
    if not comm.is_main():
        return None
    whole = load_weights(location, dtype)
    whole.load_state_dict(weights)
    return whole


def local(tensor):
    """This process's shard of a tensor: all of it, unless it is sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
