"""A model's shape, from the config.json it has, and its parameters, from building it without data.

Sources, first that exists: the checkpoint in results/ (its own files, or those of the hub cache
that its record names), the hub cache, a checkpoint that the repository ships, the recipe of a model
that is pretrained here, config/architectures/. The last holds facts of hub models for plans made
before anything was fetched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scripts.first import ROOT
from scripts.first.errors import UserError
from scripts.first.files import read_json
from scripts.first.hub.fetch import locate

SHIPPED = ROOT / "config" / "architectures"


@dataclass(frozen=True)
class Architecture:
    """Shape and parameter counts of one decoder; `source` says where the numbers come from."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    parameters: int
    layer_parameters: int
    source: str

    @property
    def queries(self) -> int:
        """Width of the queries, and of the attention's output."""
        return self.heads * self.head_width

    @property
    def keys(self) -> int:
        """Width of the keys, and of the values."""
        return self.key_value_heads * self.head_width

    @property
    def root_parameters(self) -> int:
        """Parameters outside the layers: embeddings, last norm and, where untied, the head."""
        return self.parameters - self.layers * self.layer_parameters

    @property
    def head_parameters(self) -> int:
        """Weights of the output head."""
        return self.vocabulary * self.hidden


def from_config(config: dict, source: str) -> Architecture:
    """Architecture of a config.json's content; UserError for what transformers cannot build."""
    parameters, layer = _count(json.dumps(config, sort_keys=True), source)
    shape = _built(config, source)
    width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    return Architecture(
        hidden=shape.hidden_size,
        intermediate=shape.intermediate_size,
        layers=shape.num_hidden_layers,
        heads=shape.num_attention_heads,
        key_value_heads=shape.num_key_value_heads,
        head_width=width,
        vocabulary=shape.vocab_size,
        parameters=parameters,
        layer_parameters=layer,
        source=source,
    )


def _built(config: dict, source: str):
    from transformers import AutoConfig

    settings = dict(config)
    kind = settings.pop("model_type", None)
    try:
        return AutoConfig.for_model(kind, **settings)
    except (ValueError, TypeError) as error:
        raise UserError(f"no usable model configuration: {source}: {error}") from None


@cache
def _count(config: str, source: str) -> tuple[int, int]:
    """(all parameters, those of one layer) of the model as transformers builds it, without data."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        shape = _built(json.loads(config), source)
        model = AutoModelForCausalLM.from_config(shape, trust_remote_code=False)
    decoder = model.get_decoder()
    layer = sum(p.numel() for p in decoder.layers[0].parameters())
    return sum(p.numel() for p in model.parameters()), layer


def architecture_of(scale: str, name: str, settings: dict, results: Path) -> Architecture:
    """Architecture of one entry of a scale's `models`; UserError where no source is at hand.

    settings: the scale's whole configuration. results: folder of results, for what was fetched.
    """
    model = settings["models"][name]
    found = _fetched(results / scale / "models" / name, model.get("hub"))
    if found is None and "bundled" in model:
        path = ROOT / model["bundled"] / "config.json"
        found = (read_json(path), model["bundled"]) if path.is_file() else None
    if found is None and "pretrain" in model:
        found = _recipe(scale, name, settings, results)
    if "hub" not in model:
        if found is None:
            raise UserError(f"no configuration of model {name}: scale {scale}: build it first")
        return from_config(*found)
    shipped = SHIPPED / (model["hub"]["repo"].replace("/", "--") + ".json")
    if found is not None:
        return from_config(*found)
    if not shipped.is_file():
        raise UserError(
            f"no configuration of {model['hub']['repo']}: fetch it (snakemake "
            f"results/{scale}/models/{name}/record.json) or write its facts into {shipped}"
        )
    kept = {k: v for k, v in read_json(shipped).items() if k[0] != "_"}
    return from_config(kept, f"config/architectures/{shipped.name}")


def fetched_files(folder: Path) -> Path | None:
    """Where the files of a finished checkpoint folder lie; None where it or they are not there."""
    if not (folder / "record.json").is_file():
        return None
    try:
        return locate(folder, read_json(folder / "record.json"))
    except UserError:  # gone from the hub cache or the mirror since: a plan needs no weights
        return None


def _fetched(folder: Path, hub: dict | None) -> tuple[dict, str] | None:
    """config.json of a finished checkpoint folder, or of the hub cache at the pinned revision."""
    files = fetched_files(folder)
    if files is not None and (files / "config.json").is_file():
        return read_json(files / "config.json"), str(folder)
    if hub is not None:
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(hub["repo"], "config.json", revision=hub["revision"])
        if isinstance(path, str):
            return read_json(path), "the hub cache"
    return None


def _recipe(scale: str, name: str, settings: dict, results: Path) -> tuple[dict, str]:
    """Configuration of a model that is pretrained here: the tokenizer decides its vocabulary."""
    recipe = settings["models"][name]["pretrain"]
    while "start_from" in recipe:
        recipe = settings["models"][recipe["start_from"]]["pretrain"]
    tokenizer = settings["tokenizers"][recipe["tokenizer"]]
    path = results / scale / "models" / "tokenizers" / recipe["tokenizer"]
    if (path / "tokenizer.json").is_file():
        from scripts.first.models.tokenizer import load_tokenizer

        size = load_tokenizer(path).vocabulary_size
    elif "vocabulary_size" in tokenizer:
        size = tokenizer["vocabulary_size"]
    else:
        raise UserError(
            f"no tokenizer yet: {path}: build it first: snakemake {path}/tokenizer.json"
        )
    config = {"model_type": "llama", "vocab_size": size, **recipe["architecture"]}
    return config, f"recipe of {name}"
