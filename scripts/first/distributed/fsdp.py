"""A model sharded over the processes by FSDP2.

It is built without storage and wrapped by torch's `fully_shard`: each block, then the rest. The
first process loads the checkpoint as it would for itself and deals it out. Weights, gradients and
optimizer are float32; with dtype bfloat16 layers are gathered and computed in bfloat16 while
gradients are reduced in float32. The same calls run on GPUs (NCCL) and on CPUs (gloo), where
accelerate's own wrapper would silently fall back to data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from scripts.first.distributed import comm
from scripts.first.models.checkpoints import default_device, load_config, load_weights


def sharded_model(location: Path, wrap: Callable, dtype: str, offload: bool):
    """`wrap(model)` of a checkpoint's model, sharded, to be trained by all processes together.

    The module that `wrap` returns is the one to call; it has the model as its attribute `model`.
    `offload` keeps weights, gradients and whatever is made of them (the optimizer) in host memory.
    """
    from accelerate import init_empty_weights
    from torch.distributed import fsdp
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from transformers import AutoModelForCausalLM

    comm.join()
    device, half = default_device(), fsdp.MixedPrecisionPolicy(torch.bfloat16, torch.float32)
    options = {
        "mesh": init_device_mesh(device, (comm.world(),)),
        "mp_policy": half if dtype == "bfloat16" else fsdp.MixedPrecisionPolicy(),
    }
    if offload and device == "cuda":  # without a GPU everything is in host memory
        options["offload_policy"] = fsdp.CPUOffloadPolicy()
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(
            load_config(location), dtype=torch.float32, trust_remote_code=False
        )
    model.tie_weights()
    model.config.use_cache = False
    root = wrap(model)
    # The decoder's repeated blocks: the list of modules that holds most of its parameters.
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    for block in max(lists, key=lambda module: sum(p.numel() for p in module.parameters())):
        fsdp.fully_shard(block, **options)
    fsdp.fully_shard(root, **options)
    # Storage for weights, but not for the buffers (rotary frequencies): no checkpoint has them.
    buffers = dict(root.named_buffers(remove_duplicate=False))
    root.to_empty(device="cpu" if offload else device)
    in_checkpoints = set(root.state_dict())
    for name, buffer in buffers.items():
        owner, _, own_name = name.rpartition(".")
        root.get_submodule(owner).register_buffer(own_name, buffer, name in in_checkpoints)
    model.tie_weights()
    weights = {}
    if comm.is_main():
        weights = load_weights(location, "float32", "cpu").state_dict()
    dealt_out = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, weights, options=dealt_out)
    return root


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
