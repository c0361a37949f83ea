"""A model's shape, from the config.json it has, and its parameters, from building it without data.

Sources, first that exists: the checkpoint in results/, one that the repository ships, the recipe of
a model that is pretrained here, what a pruned one is made from, and for hub models before they are
fetched the mirror and config/architectures/.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from first_distill import ROOT
from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.hub.mirror import given_mirror
from first_distill.hub.models import locate
from first_distill.models.inference import linear_head
from first_distill.models.loading import load_config
from first_distill.models.sources.pruning import shortened
from first_distill.models.structure import decoder_layers, output_size
from first_distill.plan.layers import Layer, describe, passed
from first_distill.plan.scale import Scale

SHIPPED = ROOT / "config" / "architectures"


# What building a model of a configuration raises.
ERRORS = (ValueError, TypeError, AttributeError, LookupError, AssertionError, RuntimeError)
ERRORS += (ImportError, ArithmeticError)


@dataclass(frozen=True)
class Architecture:
    """Shape of one decoder; `queries` is the width of all heads; `tensors` are sizes.

    matrices: elements that one token passes in all layers; head: elements of the output head, of
    `vocabulary` rows; chunked: whether the head's logits can be made in chunks; capped: whether a
    tanh caps them. Where layers differ, `layer_parameters` and `layer` are those of the largest.
    """

    hidden: int
    layers: int
    heads: int
    queries: int
    vocabulary: int
    parameters: int
    layer_parameters: int
    root_parameters: int  # outside the layers: embeddings, last norm and, where untied, the head
    tensors: tuple[int, ...]
    matrices: int
    head: int
    chunked: bool
    capped: bool
    layer: Layer


def from_config(config: dict, source: str) -> Architecture:
    """Architecture of a config.json's content; UserError for what transformers cannot build."""
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {name: value for name, value in config.items() if name != "model_type"}
    try:
        whole = AutoConfig.for_model(config.get("model_type"), **settings)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(whole, trust_remote_code=False)
        shape, layers = whole.get_text_config(), decoder_layers(model)
        sizes = [sum(p.numel() for p in layer.parameters()) for layer in layers]
        tensors = tuple(p.numel() for p in model.parameters())
        heads = shape.num_attention_heads
        width = getattr(shape, "head_dim", None) or shape.hidden_size // heads
        queries = heads * width
        keys = (getattr(shape, "num_key_value_heads", None) or heads) * width
        return Architecture(
            hidden=shape.hidden_size,
            layers=len(layers),
            heads=heads,
            queries=queries,
            vocabulary=output_size(model),
            parameters=sum(tensors),
            layer_parameters=max(sizes),
            root_parameters=sum(tensors) - sum(sizes),
            tensors=tensors,
            matrices=passed(model.get_decoder(), shape),
            head=model.get_output_embeddings().weight.numel(),
            chunked=linear_head(model) is not None,
            capped=bool(getattr(shape, "final_logit_softcapping", None)),
            layer=describe(layers[sizes.index(max(sizes))], shape, queries, keys),
        )
    except ERRORS + (StrictDataclassError,) as error:
        # One line, without the list of all architectures that there are.
        why = " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__
        raise UserError(
            f"cannot plan this kind of model: {source}: {why}: "
            "plan with an architecture of docs/models.md"
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
    if "folder" in model:
        path = Path(model["folder"], "config.json").expanduser()
        load_config(path.parent)  # it is a causal language model
        return read_json(path), str(path)
    elif "hub" in model:
        mirror = given_mirror("model", scale.mirror)
        if mirror and (path := mirror / model["hub"]["repo"] / "config.json").is_file():
            load_config(path.parent)
            return read_json(path), str(path)
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
