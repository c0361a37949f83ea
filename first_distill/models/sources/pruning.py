"""A smaller model from a larger one: some of its layers, evenly spaced, with unchanged weights.

DistilBERT and Minitron start their students so. The first and the last layer are always kept.
"""

from __future__ import annotations

from pathlib import Path

from first_distill.errors import UserError
from first_distill.models.checkpoints import (
    RECORD,
    save_checkpoint,
    verify_checkpoint,
    weights_digest,
)
from first_distill.models.loading import FLOATS, load_config, load_weights
from first_distill.models.structure import decoder_layers
from first_distill.provenance.made_by import provenance


def kept_layers(layers: int, wanted: int) -> list[int]:
    """Indices of the `wanted` layers (N, 2 or more) that are kept of `layers` (L), ascending.

    round(j (L - 1) / (N - 1)) for j = 0 to N - 1: no index twice, as the step is at least 1.
    """
    return [round(j * (layers - 1) / (wanted - 1)) for j in range(wanted)]


def prune_checkpoint(source: str | Path, wanted: int, target: str | Path) -> None:
    """Write a checkpoint with `wanted` layers of another one: the same bits, the same tokenizer.

    UserError where the source has fewer layers, and where the kept ones do not fit together.
    """
    source = Path(source)
    location, base = verify_checkpoint(source)
    config, kept = shortened(load_config(location), wanted, str(source))
    dtype = stored_dtype(location, base)
    model = load_weights(location, dtype, "cpu")
    layers = decoder_layers(model)
    for index in sorted({*range(len(layers))} - {*kept}, reverse=True):
        del layers[index]  # those behind it get their new numbers
    pruned = _built(config, dtype, model.state_dict(keep_vars=True), str(source))
    record = {
        "kind": "pruned",
        "base": weights_digest(base),
        "layers": kept,
        "provenance": provenance("prune"),
    }
    save_checkpoint(pruned, target, location, record, [source / RECORD])


def shortened(config, wanted: int, source: str):
    """(a model's configuration with `wanted` of its layers, the indices of these).

    What it lists layer by layer, such as `layer_types`, is cut in the same way. UserError, which
    names `source`, where there are fewer layers.
    """
    text = config.get_text_config()
    layers = text.num_hidden_layers
    if wanted > layers:
        raise UserError(
            f"too few layers: {source}: it has {layers}, {wanted} are to be kept: "
            f"set layers to {layers} or less"
        )
    kept = kept_layers(layers, wanted)
    content = config.to_dict()
    nested = [name for name in config.sub_configs if getattr(config, name) is text]
    part = content[nested[0]] if nested else content
    for key, value in part.items():
        # A model may by chance have as many end-of-text tokens as layers.
        if isinstance(value, list) and len(value) == layers and not key.endswith("token_id"):
            part[key] = [value[index] for index in kept]
    part[text.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = wanted
    try:
        return type(config).from_dict(content), kept
    except (ValueError, TypeError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"cannot prune: {source}: {line}: choose another model") from None


def stored_dtype(location: Path, record: dict) -> str:
    """The type of a checkpoint's weights, whatever config.json says; of several, one for all.

    That is float32, or float64 if it is among them: the weights keep their values.
    """
    from safetensors import safe_open

    found = set()
    for name in record["files"]:
        if name.endswith(".safetensors"):
            with safe_open(location / name, "pt") as file:
                found |= {file.get_slice(key).get_dtype() for key in file.keys()}
    found &= {*FLOATS}
    return FLOATS[found.pop() if len(found) == 1 else "F64" if "F64" in found else "F32"]


def _built(config, dtype: str, weights: dict, source: str):
    """The model of a configuration with these very weights; their ties are the source's."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    shapes, found = ({n: t.shape for n, t in s.items()} for s in (model.state_dict(), weights))
    if different := sorted(name for name, _ in shapes.items() ^ found.items()):
        raise UserError(
            f"cannot prune: {source}: its layers are not of one kind: {different[0]} would be "
            "another or missing: choose another model"
        )
    model.load_state_dict(weights, assign=True)
    return model
