"""Find the files of a checkpoint: beside its record, in the Hub cache, or in a mirror."""

from __future__ import annotations

from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.hub.mirror import given_mirror, mirrored


def locate(folder: str | Path, record: dict) -> Path:
    """Folder of the files named by `record`, which was read from `folder`. Sends no request.

    Raises UserError if they are no longer in the Hub cache or the mirror.
    """
    folder, names, kind = Path(folder), list(record["files"]), record.get("kind")
    if kind not in ("hub", "mirror") or all((folder / name).is_file() for name in names):
        return folder
    if kind == "mirror":
        return mirrored("model", given_mirror("model"), record["repo"])
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    place = {"repo_id": record["repo"], "revision": record["commit"]}
    try:
        return Path(snapshot_download(**place, allow_patterns=names, local_files_only=True))
    except LocalEntryNotFoundError:
        where = f"{constants.HF_HUB_CACHE}: model {record['repo']} at {record['commit']}"
        advice = f"set HF_HOME to the cache that has it, or delete {folder} and run its rule again"
        raise UserError(f"no longer in the Hub cache {where}: {advice}") from None
