"""Token ids that an earlier job of the same run made already: a cache, by content.

Dozens of jobs encode the same splits with the same tokenizer. Where FIRST_ENCODINGS names a folder
(the rules do), the ids of a long list of texts are kept there, sealed with their hash, under the
hash of the texts, the tokenizer and the package that runs it. What is damaged or cannot be written
is encoded as ever: no result depends on it. An environment variable and no option for that reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scripts.first.errors import UserError
from scripts.first.runtime.state import read_seal, seal_part

VARIABLE = "FIRST_ENCODINGS"
AT_LEAST = 200  # texts; fewer are encoded faster than they are found


def cached(
    texts: list[str], identity: str, encode: Callable[[list[str]], list[list[int]]]
) -> list[list[int]]:
    """encode(texts), or what the cache has; `identity` names all that decides the ids."""
    folder = os.environ.get(VARIABLE)
    if not folder or len(texts) < AT_LEAST:
        return encode(texts)
    from safetensors import SafetensorError

    troubles = (OSError, UserError, SafetensorError)  # a full disk is the last of them
    path = Path(folder) / f"{_key(texts, identity)}.safetensors"
    with contextlib.suppress(*troubles):  # another job may be replacing it
        note = read_seal(path) or {}
        # The seal says whose ids they are: a file of other texts may have got this one's name.
        if note.get("key") == path.stem and note.get("texts") == len(texts):
            if len(ids := _read(path)) == len(texts):
                return ids
    ids = encode(texts)
    note = {"key": path.stem, "texts": len(texts)}
    try:
        seal_part(path, lambda temporary: _write(temporary, ids), note)
    except troubles as error:
        print(f"encodings are not kept: {error}", file=sys.stderr)
    return ids


def _key(texts: list[str], identity: str) -> str:
    digest = hashlib.sha256(identity.encode())
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]


def _write(path: Path, ids: list[list[int]]) -> None:
    from safetensors.numpy import save_file

    lengths = np.asarray([len(one) for one in ids], dtype=np.int32)
    flat = np.fromiter((i for one in ids for i in one), dtype=np.int32, count=int(lengths.sum()))
    save_file({"ids": flat, "lengths": lengths}, str(path))


def _read(path: Path) -> list[list[int]]:
    from safetensors.numpy import load_file

    arrays = load_file(path)
    ends = np.cumsum(arrays["lengths"]).tolist()
    flat = arrays["ids"].tolist()
    return [flat[a:b] for a, b in zip([0, *ends], ends, strict=False)]
