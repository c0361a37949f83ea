"""A model's shape, from the config.json it has, and its parameters, from building it without data.

Sources, first that exists: the checkpoint in results/, one that the repository ships, the recipe of
a model that is pretrained here, what a pruned one is made from, and config/architectures/ for hub
models before they are fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scripts.first import ROOT
from scripts.first.errors import UserError
from scripts.first.files import read_json
from scripts.first.hub.models import locate
from scripts.first.models.sources.pruning import shortened
from scripts.first.plan.scale import Scale

SHIPPED = ROOT / "config" / "architectures"


@dataclass(frozen=True)
class Architecture:
    """Shape of one decoder; `queries` and `keys` are widths of all heads; `tensors` are sizes."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    queries: int
    keys: int
    vocabulary: int
    parameters: int
    layer_parameters: int
    root_parameters: int  # outside the layers: embeddings, last norm and, where untied, the head
    tensors: tuple[int, ...]


def from_config(config: dict, source: str) -> Architecture:
    """Architecture of a config.json's content; UserError for what transformers cannot build."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {name: value for name, value in config.items() if name != "model_type"}
    try:
        shape = AutoConfig.for_model(config.get("model_type"), **settings)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(shape, trust_remote_code=False)
        tensors = tuple(p.numel() for p in model.parameters())
        layer = sum(p.numel() for p in model.get_decoder().layers[0].parameters())
        width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
        return Architecture(
            hidden=shape.hidden_size,
            intermediate=shape.intermediate_size,
            layers=shape.num_hidden_layers,
            heads=shape.num_attention_heads,
            queries=shape.num_attention_heads * width,
            keys=shape.num_key_value_heads * width,
            vocabulary=shape.vocab_size,
            parameters=sum(tensors),
            layer_parameters=layer,
            root_parameters=sum(tensors) - shape.num_hidden_layers * layer,
            tensors=tensors,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"cannot plan this kind of model: {source}: {error}: plan with a model like Llama"
        ) from None


@cache
def architecture_of(scale: Scale, name: str) -> Architecture:
    """Architecture of one of a scale's `models`; UserError where no source is at hand."""
    config, source = _configuration(scale, name)
    scale.sources[f"model {name}"] = source
    return from_config(config, source)


def fetched_files(folder: Path) -> Path | None:
    """Where the files of a checkpoint folder lie; None where it has not been finished."""
    record = folder / "record.json"
    return locate(folder, read_json(record)) if record.is_file() else None


def _configuration(scale: Scale, name: str) -> tuple[dict, str]:
    """(content of config.json, where it is from)."""
    from transformers import AutoConfig

    models, folder = scale.settings["models"], scale.folder("models", name)
    model, advice = models[name], scale.build(folder / "record.json")
    if files := fetched_files(folder):
        return read_json(files / "config.json"), str(folder)
    if "bundled" in model:
        return read_json(ROOT / model["bundled"] / "config.json"), model["bundled"]
    if "hub" in model:
        shipped = SHIPPED / f"{model['hub']['repo'].replace('/', '--')}.json"
        if shipped.is_file():
            return read_json(shipped), str(shipped.relative_to(ROOT))
        advice += f", or save its config.json as {shipped}"
    elif "prune" in model:
        origin, layers = model["prune"]["from"], model["prune"]["layers"]
        architecture_of(scale, origin)  # it can be built
        config, source = _configuration(scale, origin)
        shorter, _ = shortened(AutoConfig.for_model(**config), layers, source)
        return shorter.to_dict(), f"{layers} layers of {source}"
    else:
        recipe = model["pretrain"]
        while "start_from" in recipe:
            recipe = models[recipe["start_from"]]["pretrain"]
        tokenizer = scale.settings["tokenizers"][recipe["tokenizer"]]
        if size := tokenizer.get("vocabulary_size"):
            config = {"model_type": "llama", "vocab_size": size, **recipe["architecture"]}
            return config, f"recipe of {name}"
    raise UserError(f"no configuration of model {name}: scale {scale.name}: {advice}")
