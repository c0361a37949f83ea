"""What one decoder layer computes and keeps of a token, from its modules.

Architectures name and merge their projections differently, normalise in two ways and gate or do not
gate. Here a projection is a module with a matrix; of those with one parent, the last that is as
wide as the residual writes it, and the others read a norm's output. What norms and activation
functions keep is seen by running them on one token.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass

STORED_SCORES = 8  # bytes of a head, query and key where scores are capped: tanh, and the weights


@dataclass(frozen=True)
class Layer:
    """What autograd keeps of one token in one layer, from its forward to its backward pass.

    norms, half_norms: bytes of the norms, of a residual in float32 and in bfloat16; readers:
    projections that read a norm's output; attention, feed_forward: elements in the type of the
    computation; experts: the same, but of experts, which autocast leaves in float32.
    intermediate: width of the feed-forward part, of all experts that one token passes; inside: the
    elements that are there at once where nothing is kept.
    scores: bytes of a head, query and key; 0 where the attention does not store them.
    """

    norms: int
    half_norms: int
    readers: int
    attention: int
    feed_forward: int
    experts: int
    intermediate: int
    inside: int
    scores: int


def describe(layer, config, queries: int, keys: int) -> Layer:
    """The Layer of a decoder layer without data; `config` is that of its text model.

    queries, keys: widths of all heads together.
    """
    import torch

    hidden, groups, norms = config.hidden_size, defaultdict(list), []
    activation, experts = torch.nn.SiLU(), []
    for path, module in layer.named_modules():
        parent, _, name = path.rpartition(".")
        attends = "att" in parent
        if is_projection(module):
            groups[parent].append(module)
        elif "norm" in type(module).__name__.lower():
            # Beside the residual's norms there are those of each head.
            width = (queries if "q" in name else keys) if attends else hidden
            norms.append((module, width))
        elif "act" in name and not attends and not list(module.children()):
            activation = module
        if matrices := [p for p in module.parameters(recurse=False) if p.ndim == 3]:
            experts.append([p.numel() // len(p) // hidden for p in matrices])

    # Elements of an activation's input and output that are kept, where nothing gates it.
    both = _kept(activation, 1, torch.float32, result=True) // 4
    readers, attention, feed_forward, intermediate, inside = 0, 0, 0, 0, 0
    for parent, members in groups.items():
        writers = [m for m in members if _outputs(m) == hidden]
        reading = [m for m in members if m is not writers[-1]] if writers else members
        readers += len(reading)
        if "att" in parent:
            attention += _attention(config, queries, keys, merged=len(reading) == 1)
        elif reading and writers:
            width, outputs = _inputs(writers[-1]), sum(map(_outputs, reading))
            intermediate += width
            # Gate's activation, up and their product, and a merged gate and up besides; or what an
            # activation makes on its way.
            whole = len(reading) == 1 and outputs > width
            inside += width * (4 if whole else max(3, both))
            feed_forward += both * width + 2 * (outputs - width)
    mixed = 0
    for *outputs, width in experts:
        chosen = config.num_experts_per_tok
        intermediate += chosen * width
        inside += chosen * (hidden + 4 * width)
        # Its input, and its output before the router's weight.
        mixed += chosen * (2 * hidden + both * width + 2 * (sum(outputs) - width))
    capped = getattr(config, "attn_logit_softcapping", None)
    return Layer(
        norms=sum(_norm(module, width, torch.float32) for module, width in norms),
        half_norms=sum(_norm(module, width, torch.bfloat16) for module, width in norms),
        readers=readers,
        attention=attention,
        feed_forward=feed_forward,
        experts=mixed,
        intermediate=intermediate,
        inside=inside,
        scores=STORED_SCORES if capped else 0,
    )


def is_projection(module) -> bool:
    """Whether a module has a matrix of its own and is no table of embeddings."""
    import torch

    weight = getattr(module, "weight", None)
    found = isinstance(weight, torch.nn.Parameter) and weight.ndim == 2
    return found and not isinstance(module, torch.nn.Embedding)


def passed(decoder, config) -> int:
    """Elements of all matrices that one token passes: of experts, of those it is sent to."""
    import torch

    tables = [m.weight for m in decoder.modules() if isinstance(m, torch.nn.Embedding)]
    weights = [p for p in decoder.parameters() if not any(p is table for table in tables)]
    dense = sum(p.numel() for p in weights if p.ndim == 2)
    stacked = sum(p.numel() // len(p) for p in weights if p.ndim == 3)
    return dense + (stacked * config.num_experts_per_tok if stacked else 0)


def _attention(config, queries: int, keys: int, merged: bool) -> int:
    """Elements: queries, keys, values and the result; a mask repeats keys and values for all heads.

    Where one projection makes all three, rotated queries and keys are copies, in an order in which
    the result is copied too, and values that are not repeated keep the whole of the projection.
    """
    kept = 4 * queries
    if merged and getattr(config, "rope_parameters", None):
        kept += queries + (2 * queries if keys == queries else 0)
    return kept


def _inputs(projection) -> int:
    """Width of what a projection reads: GPT-2's has its matrix the other way round."""
    from transformers.pytorch_utils import Conv1D

    return projection.weight.shape[0 if isinstance(projection, Conv1D) else 1]


def _outputs(projection) -> int:
    """Width of what a projection makes."""
    return projection.weight.numel() // _inputs(projection)


def _norm(module, width: int, dtype) -> int:
    """Bytes of a token that a norm over `width` elements, or over parts of them, keeps."""
    weight = getattr(module, "weight", None)
    size = width if weight is None else weight.numel()
    return _kept(module, size, dtype) * max(1, width // size)


def _kept(module, width: int, dtype, result: bool = False) -> int:
    """Bytes of distinct storages that autograd keeps of one more token; with its result or not."""
    import torch

    module, sizes = copy.deepcopy(module).to_empty(device="cpu").to(dtype), []
    for tokens in (1, 2):
        kept = {}

        def pack(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            given = torch.ones(tokens, width, dtype=dtype, requires_grad=True)
            made = module(given)
        if result:
            pack(made)
        sizes.append(sum(storage.nbytes() for storage in kept.values()))
    return sizes[1] - sizes[0]
