"""A model cut over the processes: FSDP2's full shard, made without any process holding it whole.

The model is built without storage, wrapped by torch's `fully_shard` (each decoder layer, then the
rest), and every process reads its own rows of each tensor from the checkpoint. Weights, gradients
and optimizer are float32; with dtype bfloat16 layers are gathered and computed in bfloat16 while
gradients are reduced in float32. The same calls run on GPUs (NCCL) and on CPUs (gloo); accelerate's
own wrapper would silently fall back to plain data parallelism on CPUs, so what the model was
wrapped in is asserted here.
"""

from __future__ import annotations

import types
from pathlib import Path

from scripts.first.distributed import comm as distributed
from scripts.first.errors import UserError

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"


def sharded_model(location: Path, dtype: str, offload: bool):
    """A checkpoint's model, ready to be trained by all processes together.

    `offload` keeps weights, gradients and whatever is made of them (the optimizer) in host memory.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        CPUOffloadPolicy,
        MixedPrecisionPolicy,
        OffloadPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    distributed.join()
    cuda = torch.cuda.is_available()
    mesh = init_device_mesh("cuda" if cuda else "cpu", (distributed.world(),))
    half = dtype == "bfloat16"
    options = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(torch.bfloat16, torch.float32)
        if half
        else MixedPrecisionPolicy(),
        # Without a GPU host memory is all there is.
        "offload_policy": CPUOffloadPolicy() if offload and cuda else OffloadPolicy(),
    }
    model = _without_storage(location)
    for layer in model.get_decoder().layers:
        fully_shard(layer, **options)
    fully_shard(model, **options)
    device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    _give_storage(model, torch.device("cpu") if offload else device)
    _read_shards(model, location)
    model.compute_device = device
    model.within = types.MethodType(lambda self, function: function(self), model)
    register_fsdp_forward_method(model, "within")
    assert_sharded(model)
    return model


def within(model, function):
    """function(model), as a forward pass: with the root's parameters gathered, where it has any."""
    return model.within(function) if hasattr(model, "within") else function(model)


def is_sharded(model) -> bool:
    """True where the parameters are cut over processes."""
    from torch.distributed.tensor import DTensor

    return isinstance(next(model.parameters()), DTensor)


def assert_sharded(model) -> None:
    """Raise RuntimeError unless each parameter is cut over all processes and held once in all."""
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor, Shard

    parameters = list(model.parameters())
    wrapped = isinstance(model, FSDPModule) and all(
        isinstance(layer, FSDPModule) for layer in model.get_decoder().layers
    )
    cut = all(
        isinstance(p, DTensor)
        and p.placements == (Shard(0),)
        and p.device_mesh.size() == distributed.world()
        for p in parameters
    )
    if not (wrapped and cut):
        raise RuntimeError("the model was not wrapped in FSDP2's full shard")
    held = distributed.totals(sum(p.to_local().numel() for p in parameters))[0]
    if held != sum(p.numel() for p in parameters):
        raise RuntimeError("the processes do not hold each parameter exactly once")


def whole_model(model, dtype: str):
    """An ordinary model in `dtype` with the trained weights, for validation and for the checkpoint.

    In the first process; None in the others.
    """
    import torch

    target = getattr(torch, dtype)
    if not is_sharded(model):
        # Parameters only: a model that is loaded in `dtype` keeps its buffers, the frequencies of
        # the rotary embedding, in float32.
        for parameter in model.parameters():
            parameter.data = parameter.data.to(target)
        return model
    weights = {}
    for name, parameter in model.named_parameters():
        whole = _on(parameter.detach(), model.compute_device).full_tensor()
        if distributed.is_main():
            weights[name] = whole.to(target).cpu()
    config, device = model.config, model.compute_device
    if not distributed.is_main():
        return None
    copy = _empty(config)
    copy.load_state_dict(weights, strict=False, assign=True)
    copy.tie_weights()
    _forbid_meta(copy)
    return copy.to(device).eval()


def local(tensor):
    """A tensor's part in this process: all of it, unless it is cut."""
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(parameter, part):
    """A tensor cut like `parameter` from this process's part."""
    from torch.distributed.tensor import DTensor

    if not isinstance(parameter, DTensor):
        return part
    return DTensor.from_local(
        part,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.size(),
        stride=parameter.stride(),
    )


def _on(parameter, device):
    return like(parameter, parameter.to_local().to(device))


def _without_storage(location: Path):
    from scripts.first.models.checkpoints import load_config

    return _empty(load_config(location))


def _empty(config):
    """A model whose parameters have no storage; its buffers, which no checkpoint has, do."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
    model.tie_weights()
    model.config.use_cache = False
    return model


def _give_storage(model, device) -> None:
    """Storage for every parameter, one for those that are tied; buffers move too."""
    import torch

    made = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in made:
                part = torch.empty(parameter.to_local().shape, dtype=torch.float32, device=device)
                made[id(parameter)] = torch.nn.Parameter(like(parameter, part))
            module._parameters[name] = made[id(parameter)]
        for name, buffer in module.named_buffers(recurse=False):
            place = "cuda" if torch.cuda.is_available() else "cpu"
            module._buffers[name] = buffer.to(place)


def _read_shards(model, location: Path) -> None:
    """Read this process's rows of each tensor; UserError where one is missing or of other shape."""
    import torch
    from safetensors import safe_open
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    from scripts.first.models.checkpoints import readable

    files = {}
    for name in _files(location):
        with readable(location / name), safe_open(location / name, framework="pt") as file:
            files |= dict.fromkeys(file.keys(), name)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in files:
                raise UserError(f"the checkpoint lacks the tensor {name}: {location}: remake it")
            shape, offset = compute_local_shape_and_global_offset(
                parameter.shape, parameter.device_mesh, parameter.placements
            )
            with safe_open(location / files[name], framework="pt") as file:
                stored = file.get_slice(name)
                if tuple(stored.get_shape()) != tuple(parameter.shape):
                    raise UserError(f"the tensor {name} has another shape: {location}: remake it")
                part = stored[offset[0] : offset[0] + shape[0]] if shape[0] else None
            if part is not None:
                parameter.to_local().copy_(part)


def _files(location: Path) -> list[str]:
    from scripts.first.files import read_json

    if not (location / WEIGHTS).is_file():  # as transformers has it: the whole comes first
        return sorted(set(read_json(location / INDEX)["weight_map"].values()))
    return [WEIGHTS]


def _forbid_meta(model) -> None:
    missing = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if missing:
        raise RuntimeError(f"no weights were gathered for {', '.join(missing)}")
