"""Parts of a causal language model, whatever its architecture calls them."""

from __future__ import annotations


def output_size(model) -> int:
    """V, the number of outputs: rows of the head's weight, tokens or padding."""
    return model.get_output_embeddings().weight.shape[0]


def decoder_layers(model):
    """The repeated layers of the decoder: the list of modules with most of its parameters."""
    import torch

    lists = [m for m in model.get_decoder().modules() if isinstance(m, torch.nn.ModuleList)]
    return max(lists, key=lambda module: sum(p.numel() for p in module.parameters()))
