"""Copies of the families' models, changed."""

import json
import shutil
from pathlib import Path

from tests import families


def variant(folder: Path, name: str, changes=(), tensors=None) -> Path:
    """A copy in `folder` with other settings (a key may be `a.b`; None removes) or tensors."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(families.model(name), folder)
    config = json.loads((folder / "config.json").read_text())
    for path, value in dict(changes).items():
        *above, key = path.split(".")
        part = config
        for one in above:
            part = part[one]
        part[key] = value
        if value is None:
            del part[key]
    (folder / "config.json").write_text(json.dumps(config))
    if tensors:
        weights = folder / "model.safetensors"
        save_file(tensors(load_file(weights)), weights, {"format": "pt"})
    return folder


def tensors_of(folder: Path) -> dict:
    """{name: tensor} of all files of a model."""
    from safetensors.torch import load_file

    return {
        k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()
    }


def with_own_head(tensors: dict, equal: bool = False) -> dict:
    """The tensors of a tied model, and a head that is not its embedding, or an equal one."""
    embedding = tensors["model.embed_tokens.weight"]
    return {**tensors, "lm_head.weight": embedding.clone() if equal else 0.9 * embedding.flip(0)}
