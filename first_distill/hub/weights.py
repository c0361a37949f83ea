"""Which files of a repository a model needs; its index names those of its weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path, PurePath

from first_distill.errors import UserError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
ADVICE = "use a complete model, or a revision that is complete"
# Nothing here generates text, so generation_config.json is left out: transformers refuses to save
# a model whose generation settings contradict each other.
OTHERS = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def is_part(name: str) -> bool:
    """Whether a file in a model's folder would be read as a part of the model."""
    parts = {INDEX, "adapter_config.json", *OTHERS, *(one for names in TOKENIZERS for one in names)}
    return name in parts or name.endswith(".safetensors")


def is_pickle(name: str) -> bool:
    """Whether a file of a record holds pickled weights, or names the files that do."""
    return name.endswith(".bin") or name == PICKLE_INDEX


def model_files(
    what: str, listed: Collection[str], fetch: Callable[[str], Path], pickles: bool = False
) -> list[str]:
    """The files to use of those that a repository, called `what` in messages, lists.

    `fetch` returns the path of one of them: an index is read before the weights are fetched.
    `pickles` allows PyTorch's pickles where there are no safetensors. Raises UserError where a
    part of the model is missing.
    """
    if "config.json" not in listed:
        alone = "adapter_config.json" in listed
        advice = "merge the adapter into its base model" if alone else ADVICE
        raise UserError(f"no config.json: {what}: {advice}")
    if not any({*names} <= {*listed} for names in TOKENIZERS):
        choice = " or ".join(" with ".join(names) for names in TOKENIZERS)
        raise UserError(f"no tokenizer: {what}: expected {choice}: {ADVICE}")
    wanted = {*OTHERS, *(name for names in TOKENIZERS for name in names)}
    wanted |= {*_weights(what, listed, fetch, pickles)}
    return [name for name in listed if name in wanted]


def _weights(
    what: str, listed: Collection[str], fetch: Callable[[str], Path], pickles: bool
) -> list[str]:
    """One file of weights if there is one, else an index and the files that it names."""
    for whole, index in ((WEIGHTS, INDEX), (PICKLE, PICKLE_INDEX)):
        if not {whole, index} & {*listed}:
            continue
        if is_pickle(whole) and not pickles:
            advice = "use one that has them, or allow pickles for this one model by its "
            advice += "key `weights: pickle` (--weights pickle)"
            raise UserError(f"no safetensors: {what}: its weights are pickles: {advice}")
        if whole in listed:  # transformers prefers it
            return [whole]
        names = sorted({*weight_map(what, fetch(index)).values()})
        suffix = PurePath(whole).suffix
        for name in names:
            if PurePath(name).name != name or PurePath(name).suffix != suffix:
                reason = f"{index} names {ascii(name)[:80]}: no plain name of a {suffix} file"
                raise UserError(f"unusable index: {what}: {reason}: {ADVICE}")
            if name not in listed:
                missing = ascii(name)[1:-1][:200]  # an index may hold anything
                raise UserError(f"no {missing}: {what}: {index} names it: use a complete model")
        return [index, *names]
    missing = f"no {WEIGHTS} and no {INDEX}"
    raise UserError(f"no safetensors: {what}: {missing}: {ADVICE}")


def weight_map(what: str, index: Path) -> dict[str, str]:
    """{tensor: file} of an index; UserError where it holds none."""
    try:
        found = json.loads(index.read_bytes())["weight_map"]
        if found and all(isinstance(name, str) for name in found.values()):
            return found
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    reason = f"{index.name} should have a weight_map of tensors to files"
    raise UserError(f"unusable index: {what}: {reason}: {ADVICE}")
