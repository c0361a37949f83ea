"""Where a checkpoint's files lie: beside its record, in the hub cache, or in a mirror.

The record of a model from the hub names its repository and commit and no path, so that it says the
same on every machine.
"""

from __future__ import annotations

from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.hub.mirror import MODEL_MIRROR, mirror_folder


def locate(folder: str | Path, record: dict) -> Path:
    """Folder of the files that `record`, read from `folder`, names. Never asks the network.

    Raises UserError when they are no longer in the hub cache or the mirror.
    """
    folder, names, kind = Path(folder), list(record["files"]), record.get("kind")
    if kind not in ("hub", "mirror") or all((folder / name).is_file() for name in names):
        return folder
    again = f"delete {folder}/record.json and run its rule again where there is network"
    if kind == "mirror":
        root = mirror_folder(None, MODEL_MIRROR).resolve() / record["repo"]
        if root.is_dir():
            return root
        raise UserError(
            f"model not in the mirror: {root}: {folder}/record.json was made from it: "
            f"put it back, name the right mirror in {MODEL_MIRROR}, or {again}"
        )
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                record["repo"],
                revision=record["commit"],
                allow_patterns=names,
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        raise UserError(
            f"no longer in the hub cache {constants.HF_HUB_CACHE}: model {record['repo']} at "
            f"{record['commit']}: set HF_HOME to the cache that has it, or {again}"
        ) from None
