"""Base models from the hub at a pinned revision: files stay in the hub cache, a record stands in.

Only safetensors, configuration and tokenizer files are fetched; no pickle is ever loaded.
"""

from __future__ import annotations

from pathlib import Path

from scripts.first.checkpoints import RECORD, describe_files
from scripts.first.errors import UserError
from scripts.first.files import write_json

PATTERNS = ["*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer*"]


def resolve(repo: str, revision: str, folder: Path) -> None:
    """Fetch a model's files into the hub cache and write the record that names and hashes them."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot = Path(snapshot_download(repo, revision=revision, allow_patterns=PATTERNS))
    except LocalEntryNotFoundError:
        raise UserError(
            f"cannot reach the hub: {repo} at {revision}: run this rule where there is network"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise UserError(
            f"the hub refused {repo} at {revision} ({status}): if the model is gated, accept its "
            f"licence on its page https://huggingface.co/{repo} and set HF_TOKEN"
        ) from None
    names = sorted(p.name for p in snapshot.iterdir() if p.is_file())
    if not any(name.endswith(".safetensors") for name in names):
        raise UserError(f"no safetensors: {repo} at {revision}: choose a revision that has them")
    write_json(
        folder / RECORD,
        {
            "kind": "hub",
            "repo": repo,
            "revision": revision,
            "commit": snapshot.name,
            "location": str(snapshot),
            "files": describe_files(snapshot, names),
        },
    )
