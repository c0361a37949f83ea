"""Models and datasets of the hub at a pinned commit: fetched, checked against the hub's hashes.

Files stay in the hub cache (HF_HOME), where other programs find them too. What the hub said of them
(hashes, licence, gating) is kept there as well, once every file was checked: a later run asks the
network nothing, says the same to the byte, and works with HF_HUB_OFFLINE=1.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import read_json, sha256_file, write_json
from scripts.first.hub.messages import calm_logging, explain, page, patiently
from scripts.first.hub.mirror import MODEL_MIRROR, compare_checksums, mirror_folder, mirror_given

COMMIT = re.compile(r"[0-9a-f]{40}")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# Nothing that could hold a pickle. generation_config.json is left out: nothing here generates, and
# transformers refuses to save a model whose generation settings contradict each other.
MODEL_FILES = (
    *(WEIGHTS, "model-*-of-*.safetensors", INDEX, "config.json"),
    *("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
)
DATASET_FILES = ("README.md", "*.parquet", "*.json", "*.jsonl", "*.csv")


@dataclass(frozen=True)
class Snapshot:
    """Files of a repository at one commit, every one checked.

    folder: where they lie in the hub cache. files: {name: {bytes, sha256}}. gated: False, `auto`
    or `manual`, as the hub says it.
    """

    folder: Path
    commit: str
    licence: str | None
    gated: str | bool | None
    files: dict[str, dict]


def fetch(
    kind: str,
    repo: str,
    revision: str | None,
    patterns: tuple[str, ...],
    offline: bool = False,
) -> Snapshot:
    """Files of a `model` or `dataset` that match, at one commit, from the hub or its cache.

    `offline` keeps to the cache, as HF_HUB_OFFLINE=1 does.

    Raises UserError when `revision` is no full commit hash (a branch moves, a result must not),
    and for whatever the hub or the network refuses, in one line that says what to do.
    """
    if not revision or not COMMIT.fullmatch(revision):
        raise UserError(
            f"revision is not pinned: hub {kind} {repo} at revision {revision}: give the 40 digits "
            f"of a commit from {page(kind, repo)}/commits/main"
        )
    calm_logging()
    try:
        return _fetch(kind, repo, revision, patterns, offline)
    except UserError:
        raise
    except Exception as error:
        said = explain(error, kind, repo, revision)
        if said is None:
            raise
        raise said from None


def _fetch(kind: str, repo: str, commit: str, patterns: tuple[str, ...], offline: bool) -> Snapshot:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import OfflineModeIsEnabled

    notes, offline = _notes(kind, repo, commit), offline or is_offline_mode()
    if offline and not notes.is_file():
        raise OfflineModeIsEnabled
    said = read_json(notes) if notes.is_file() else patiently(lambda: _ask(kind, repo, commit))
    names = [name for name in said["files"] if any(fnmatchcase(name, p) for p in patterns)]
    if kind == "model":
        names = _one_set_of_weights(names)
        _require_model_files(f"{repo} at {commit}", names)
    place = {"repo_id": repo, "repo_type": kind, "revision": commit}
    folder = _download(place, names, notes.is_file(), offline)
    files = {}
    for name in names:
        found = _describe(folder / name)
        reason = _differs(folder / name, found, said["files"][name])
        if reason and not offline:
            print(f"{name}: {reason}: fetching it again", file=sys.stderr, flush=True)
            patiently(
                lambda name=name: hf_hub_download(**place, filename=name, force_download=True)
            )
            found = _describe(folder / name)
            reason = _differs(folder / name, found, said["files"][name])
        if reason:
            raise UserError(
                f"wrong file from the hub: {kind} {repo} at {commit}: {name}: {reason}: run it "
                "again where there is network; if it stays so, what serves HF_ENDPOINT is damaged"
            )
        files[name] = found
    if not notes.is_file():
        write_json(notes, said)
    return Snapshot(folder, commit, said["licence"], said["gated"], files)


def _download(place: dict, names: list[str], once_checked: bool, offline: bool) -> Path:
    """The snapshot's folder; from the cache alone, without any request, where that is enough."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if once_checked:
        try:
            return Path(snapshot_download(**place, allow_patterns=names, local_files_only=True))
        except LocalEntryNotFoundError:
            if offline:
                raise
            # The cache was emptied, as caches are.
    return Path(patiently(lambda: snapshot_download(**place, allow_patterns=names)))


def _notes(kind: str, repo: str, commit: str) -> Path:
    from huggingface_hub import cached_assets_path

    folder = cached_assets_path("first", f"{kind}s", repo.replace("/", "--"))
    return folder / f"{commit}.json"


def _ask(kind: str, repo: str, commit: str) -> dict:
    """What the hub says of a commit: licence, gating, and size and hash of every file."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT

    info = HfApi().repo_info(
        repo,
        repo_type=kind,
        revision=commit,
        files_metadata=True,
        timeout=HF_HUB_DOWNLOAD_TIMEOUT,
    )
    if info.sha != commit:
        raise UserError(
            f"the commit became another one: {kind} {repo} at {commit}: the hub answers with "
            f"{info.sha}: take a commit from {page(kind, repo)}/commits/main"
        )
    files = {}
    for entry in sorted(info.siblings or [], key=lambda entry: entry.rfilename):
        lfs = entry.lfs.sha256 if entry.lfs else None
        files[entry.rfilename] = {"bytes": entry.size, "sha256": lfs, "git": entry.blob_id}
    licence = (info.card_data or {}).get("license")
    return {"licence": licence, "gated": info.gated, "files": files}


def _describe(path: Path) -> dict | None:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)} if path.is_file() else None


def _differs(path: Path, found: dict | None, expected: dict) -> str | None:
    """How a file differs from what the hub says of it. Small files have only git's hash there."""
    if found is None:
        return "it did not come, as if it were of another commit"
    if found["bytes"] != expected["bytes"]:
        return f"{found['bytes']} bytes, not {expected['bytes']}"
    if expected["sha256"]:
        known, own = expected["sha256"], found["sha256"]
    else:
        content = path.read_bytes()
        known = expected["git"]
        own = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return None if known == own else f"hash {own[:12]}..., not {known[:12]}..."


def model_record(repo: str, revision: str, mirror: str | os.PathLike[str] | None = None) -> dict:
    """The record of a model: fetched from the hub, or found in a mirror where one is given.

    It holds no path: `scripts.first.hub.locations` finds the files when they are used. Raises
    UserError when the model is not to be had, not whole, or has no safetensors.
    """
    where = f"{repo} at {revision}"
    if mirror_given(mirror, MODEL_MIRROR):
        folder = mirror_folder(mirror, MODEL_MIRROR)
        root = folder.resolve() / repo
        if not root.is_dir():
            raise UserError(f"model not in the mirror: {root}: add it, or name another mirror")
        present = sorted(path.name for path in root.iterdir() if path.is_file())
        names = [name for name in present if any(fnmatchcase(name, p) for p in MODEL_FILES)]
        names = _one_set_of_weights(names)
        _require_model_files(str(root), names)
        files = {name: _describe(root / name) for name in names}
        compare_checksums(folder, repo, {name: file["sha256"] for name, file in files.items()})
        _require_shards(str(root), root, files)
        return {"kind": "mirror", "repo": repo, "mirrored_revision": revision, "files": files}
    snapshot = fetch("model", repo, revision, MODEL_FILES)
    _require_shards(where, snapshot.folder, snapshot.files)
    return {
        "kind": "hub",
        "repo": repo,
        "revision": revision,
        "commit": snapshot.commit,
        "licence": snapshot.licence,
        "gated": snapshot.gated,
        "files": snapshot.files,
    }


def _one_set_of_weights(names: list[str]) -> list[str]:
    """Without the shards where there is the whole: transformers reads that then."""
    if WEIGHTS not in names:
        return names
    return [name for name in names if name != INDEX and not name.startswith("model-")]


def _require_model_files(where: str, names: list[str]) -> None:
    if not {WEIGHTS, INDEX} & {*names}:
        raise UserError(f"no safetensors: model {where}: choose a revision that has them")
    if "config.json" not in names:
        raise UserError(f"no config.json: model {where}: choose a model in transformers' layout")
    if not {"tokenizer.model", "tokenizer.json"} & {*names}:
        raise UserError(f"no tokenizer: model {where}: choose a revision that has one")


def _require_shards(where: str, folder: Path, files: dict) -> None:
    """Every shard that the index names must be there."""
    if WEIGHTS in files:
        return
    missing = sorted({*read_json(folder / INDEX).get("weight_map", {}).values()} - {*files})
    if missing:
        raise UserError(f"no {missing[0]}: model {where}: {INDEX} names it: fetch it again")
