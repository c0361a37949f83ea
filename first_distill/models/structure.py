"""Parts and limits of a causal language model, whatever its architecture calls them."""

from __future__ import annotations

from first_distill.errors import UserError


def output_size(model) -> int:
    """V, the number of outputs: rows of the head's weight, tokens or padding."""
    return model.get_output_embeddings().weight.shape[0]


def decoder_layers(model):
    """The repeated layers of the decoder: the list of modules with most of its parameters."""
    import torch

    for part in (model.get_decoder(), model):  # ModernBERT's `decoder` is its head
        lists = [m for m in part.modules() if isinstance(m, torch.nn.ModuleList)]
        if lists:
            return max(lists, key=lambda module: sum(p.numel() for p in module.parameters()))
    raise UserError(f"unsupported architecture: {type(model).__name__}: it has no list of layers")


def most_positions(config) -> int | None:
    """Tokens that a model reads at once; None where its configuration states no limit.

    A configuration with scaled rotary positions states the scaled length or the original one. It is
    the original if it is the one of the scaling, or the scaling names none: then the factor counts.
    Where layers scale differently, the shortest counts.
    """
    text = config.get_text_config()
    stated = getattr(text, "max_position_embeddings", None)
    if not stated:
        return None
    rotary = getattr(text, "rope_parameters", None) or {}
    kinds = [part for part in rotary.values() if isinstance(part, dict)] or [rotary]
    lengths = []
    for kind in kinds:
        short = kind.get("original_max_position_embeddings") in (None, stated)
        lengths.append(int(stated * float(kind.get("factor") or 1)) if short else stated)
    return min(lengths)
