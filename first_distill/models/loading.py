"""Load a causal language model from a folder in Hugging Face layout: one way, for every path.

transformers' own `from_pretrained` renames, merges and ties the tensors of its many architectures;
with the meta device it does so without reading them. What is no causal language model is refused by
what it is. No code of a model and no pickle is run.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from first_distill.errors import UserError, few
from first_distill.hub.weights import INDEX, WEIGHTS
from first_distill.models.structure import decoder_layers

CONFIG = "config.json"
WHOLE = "use a complete causal language model"
MATCHING = f"use the {CONFIG} that belongs to the weights"
NOISE = re.compile("drop|jitter")
# Types of weights by their names in a safetensors file.
FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
UNQUANTISED = "use the model that it was made from, in float32, float16 or bfloat16"
# Heads of classes that share a decoder with a language model, by the names of transformers.
OTHER_HEAD = re.compile(r"For(\w*Classification|QuestionAnswering|MultipleChoice|MaskedLM)$")


class Stored(NamedTuple):
    """A tensor of a file: its type by the name in the header, and its number of values."""

    file: Path
    dtype: str
    values: int


def load_weights(location: Path, dtype: str = "float32", device: str | None = None):
    """Load a model for `device` (default: CUDA if there is one), without dropout.

    Its configuration is what is true of it: the head that was read counts, whatever the file says
    about tying. UserError for a missing tensor, another shape, and what `load_config` refuses.
    """
    model, _ = _load(location, dtype=dtype)
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight is not embeddings.weight:
        for config in {id(c): c for c in (model.config, model.config.get_text_config())}.values():
            config.update({"tie_word_embeddings": False})
    return model.to(device or default_device()).eval()


def skeleton(location: Path):
    """The same model on the meta device: modules, names and shapes; no tensor is read.

    Where head and embeddings are both in the files they are two parameters, equal or not.
    UserErrors as above.
    """
    return _load(location, device_map={"": "meta"})[0]


def check_model(location: Path) -> None:
    """Raise the UserErrors of `load_weights` without reading a tensor; name tensors without use."""
    _, unused = _load(location, device_map={"": "meta"})
    if unused:
        print(f"unused tensors: {location}: {few(unused)}", file=sys.stderr)


def load_config(location: Path):
    """The configuration of a model, every probability of dropout and every jitter 0.

    UserError for a broken config.json, an unknown architecture, what is quantised or needs code of
    its own, an encoder or encoder-decoder, and another head than a language model's.
    """
    if not (location / CONFIG).is_file():
        raise UserError(f"no {CONFIG}: {location}: {WHOLE} in Hugging Face layout")
    with readable(location / CONFIG, advice=f"correct {CONFIG}"):
        from transformers import AutoConfig

        _refuse_settings(location / CONFIG, json.loads((location / CONFIG).read_bytes()))
        config = AutoConfig.from_pretrained(
            location, local_files_only=True, trust_remote_code=False
        )
        _refuse_class(location / CONFIG, config)
        for part in (config, config.get_text_config()):
            found = part.to_dict().items()
            noise = [k for k, v in found if NOISE.search(k) and isinstance(v, float)]
            part.update(dict.fromkeys(noise, 0.0))
    return config


def _refuse_settings(path: Path, settings: object) -> None:
    """Refuse what transformers cannot build, or only with packages or code of others."""
    from transformers import CONFIG_MAPPING, __version__

    if not isinstance(settings, dict):
        raise UserError(f"unusable model: {path}: expected a JSON object: correct {CONFIG}")
    for part in (settings, settings.get("text_config")):
        quantised = part.get("quantization_config") if isinstance(part, dict) else None
        if quantised:
            named = isinstance(quantised, dict) and quantised.get("quant_method")
            what = f"quantization_config: {named or 'unnamed method'}"
            raise UserError(f"quantised checkpoint: {path}: {what}: {UNQUANTISED}")
    if other := settings.get("transformers_weights"):
        advice = f"name them {WEIGHTS}, and remove the key"
        raise UserError(f"weights of another name: {path}: transformers_weights: {other}: {advice}")
    kind = settings.get("model_type")
    if not isinstance(kind, str):
        raise UserError(f"no model_type: {path}: add that of the model's architecture, as llama")
    if kind in CONFIG_MAPPING:
        return
    if settings.get("auto_map"):
        raise UserError(
            f"the model needs code of its own: {path}: auto_map: transformers {__version__} has no "
            f"model_type {kind}, and code of models is not run: use another architecture"
        )
    raise UserError(
        f"unknown architecture: {path}: model_type {kind}: transformers {__version__} does not "
        "have it: correct model_type, or use another architecture"
    )


def _refuse_class(path: Path, config) -> None:
    """Refuse what does not predict the next token of a text."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    kind, what, text = config.model_type, None, config.get_text_config()
    others = [name for name in config.architectures or [] if OTHER_HEAD.search(name)]
    if config.is_encoder_decoder:
        what = "an encoder-decoder"
    elif type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        what = "an encoder"
    elif getattr(text, "use_bidirectional_attention", False) is True:
        what = "an encoder (use_bidirectional_attention)"
    elif type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        what = "no language model"
    elif others:
        kind, what = others[0], "a model with another head (architectures)"
    if what:
        raise UserError(
            f"not a causal language model: {path}: {kind} is {what}: "
            "use a model that predicts the next token"
        )


def _load(location: Path, dtype: str = "float32", device_map: dict | None = None):
    """(model, names of tensors in the files that it has no use for)."""
    config, files = load_config(location), _tensors(location)
    with readable(location / CONFIG, advice=f"correct {CONFIG}"):
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

        logging.set_verbosity_error()  # its report on tensors; below is ours
        logging.disable_progress_bar()
        model, report = AutoModelForCausalLM.from_pretrained(
            location,
            config=config,
            # That in the files, if it contradicts itself, could not be saved again.
            generation_config=GenerationConfig.from_model_config(config),
            dtype=dtype,
            device_map=device_map,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        raise UserError(
            f"unsupported architecture: {location / CONFIG}: {type(model).__name__} cannot give "
            "the logits of chosen positions: use another architecture"
        )
    _check_tensors(location, model, report, files)
    model.config.use_cache = False
    return model, sorted(report["unexpected_keys"])


def _check_tensors(location: Path, model, report: dict, tensors: dict[str, Stored]) -> None:
    """UserError for tensors that transformers would draw at random, leave out, or misread.

    tensors: those of the files; the model may have one by another name, or merged.
    """
    files = {name: tensor.file for name, tensor in tensors.items()}
    modules, path = dict(model.named_modules()), location / CONFIG
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    names = {f"{name}.weight" for name, module in modules.items() if module in ends}
    for name, found, expected in sorted(report["mismatched_keys"]):
        if name in names and found[1:] == expected[1:]:
            raise UserError(
                f"wrong vocab_size: {path}: it says {expected[0]}, but the weights have {found[0]} "
                f"rows: {few([name])} of {files.get(name, location)}: correct vocab_size"
            )
        raise UserError(
            f"other shape: {files.get(name, location)}: {few([name])}: {tuple(found)}, but by "
            f"{CONFIG} {tuple(expected)}: {MATCHING}"
        )
    if missing := sorted(report["missing_keys"]):
        raise UserError(
            f"missing tensor: {location}: {few(missing)}: {type(model).__name__} needs "
            f"{'it' if len(missing) == 1 else 'them'}: {WHOLE}"
        )
    layers = decoder_layers(model)
    prefix = next(name for name, module in modules.items() if module is layers)
    head = next(name for name, module in modules.items() if module is ends[1])
    whole = {name for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
    for name in sorted(tensors.keys() - report["unexpected_keys"] - whole):
        if tensors[name].dtype not in FLOATS:
            raise UserError(
                f"quantised checkpoint: {files[name]}: {few([name])} is {tensors[name].dtype}: "
                f"{UNQUANTISED}"
            )
    own = {f"{name}." for name in (prefix, head, *_beside(modules, prefix))}
    own |= {name.removeprefix(f"{model.base_model_prefix}.") for name in own}  # GPT-2's on the hub
    for name in sorted(report["unexpected_keys"]):
        tensor = tensors.get(name)
        counts = tensor is None or (tensor.dtype in FLOATS and tensor.values > 1)  # no mask
        if counts and name.startswith((*own,)):
            raise UserError(
                f"tensor without a place: {files.get(name, location)}: {few([name])}: "
                f"{type(model).__name__} of {len(layers)} layers has no such part: {MATCHING}"
            )


def _beside(modules: dict, layers: str) -> list[str]:
    """Names of the modules beside the list of layers, such as embeddings and norm."""
    above = layers.rpartition(".")[0]
    return [name for name in modules if name and name.rpartition(".")[0] == above]


def _tensors(location: Path) -> dict[str, Stored]:
    """The tensors of all files by their names, from the headers; UserError for a damaged file."""
    from safetensors import safe_open

    names, index = {WEIGHTS}, location / INDEX
    if not (location / WEIGHTS).is_file() and index.is_file():
        with readable(index, advice=WHOLE):
            content = json.loads(index.read_bytes())
            names = {*content["weight_map"].values()}
        if not isinstance(content.get("metadata"), dict):
            raise UserError(f"unusable index: {index}: it has no metadata: {WHOLE}")
    found = {}
    for file in sorted(location / name for name in names):
        if not file.is_file():
            raise UserError(f"no weights: {file}: {WHOLE}, in safetensors")
        with readable(file, advice=WHOLE), safe_open(file, "pt") as tensors:
            for name in tensors.keys():
                part = tensors.get_slice(name)
                found[name] = Stored(file, part.get_dtype(), math.prod(part.get_shape()))
    return found


@contextlib.contextmanager
def readable(path: Path, advice: str) -> Iterator[None]:
    """Turn errors of transformers and safetensors about a file's content into one line."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    errors = (OSError, ValueError, TypeError, ArithmeticError, RuntimeError)
    errors += (LookupError, AttributeError, AssertionError, SafetensorError, StrictDataclassError)
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"package not installed: {path}: {_line(error)}: install it, or use a model without it"
        ) from None
    except errors as error:
        if getattr(error, "errno", None):  # of the disk
            raise
        raise UserError(f"unusable model: {path}: {_line(error)}: {advice}") from None


def _line(error: Exception) -> str:
    """The start of an error's text."""
    named = f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)
    words = " ".join((named or type(error).__name__).split()).rstrip(".")
    return words if len(words) < 200 else f"{words[:200]} ..."


def default_device() -> str:
    """`cuda` where there is one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
