"""Download models and datasets from the Hub at a pinned commit and verify them.

Files stay in the Hub cache (HF_HOME). The Hub's answer about a commit (licence, gating, sizes and
hashes) is cached beside them, so that a second run sends no request, gives the same record and
works with HF_HUB_OFFLINE=1.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import describe_files, read_json, write_json
from scripts.first.hub.mirror import VARIABLES, compare_checksums, given_mirror, mirrored

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# No file type that can hold a pickle. Nothing here generates text, so generation_config.json is
# left out: transformers refuses to save a model whose generation settings contradict each other.
FILES = {
    "model": (
        *(WEIGHTS, "model-*-of-*.safetensors", INDEX, "config.json"),
        *("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    ),
    "dataset": ("README.md", "*.parquet", "*.json", "*.jsonl", "*.csv"),
}
ADDRESS_QUERY = r"\?[^\s'\")]*=[^\s'\"):]*"
NEEDED = {"safetensors": {WEIGHTS, INDEX}, "config.json": {"config.json"}}
NEEDED |= {"tokenizer": {"tokenizer.model", "tokenizer.json"}}


def fetch(kind: str, repo: str, revision: str | None) -> tuple[Path, dict]:
    """Folder in the Hub cache and {licence, gated, files} of a `model` or `dataset`.

    files: {name: {bytes, sha256}}. Raises UserError unless `revision` is a full commit hash
    (branches move), for errors of the Hub or the network, and if a file differs from its hash.
    """
    what = f"{kind} {repo} at {revision}"
    if not re.fullmatch("[0-9a-f]{40}", revision or ""):
        commits = f"{_page(kind, repo)}/commits/main"
        raise UserError(f"revision is not pinned: {what}: use the 40 digits of a commit: {commits}")
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    place = {"repo_id": repo, "repo_type": kind, "revision": revision}
    with _one_line_errors(kind, repo, revision):
        info = _repository_info(place)
        names = _wanted(kind, what, info["files"])
        found = [try_to_load_from_cache(filename=name, **place) for name in names]
        cached = all(isinstance(path, str) for path in found)  # then no request is sent
        options = {"allow_patterns": names, "local_files_only": cached}
        folder = Path(snapshot_download(**place, **options))
    files = describe_files(folder, [name for name in names if (folder / name).is_file()])
    for name in names:
        if not _matches(folder / name, files.get(name), info["files"][name]):
            (folder / name).resolve().unlink(missing_ok=True)
            advice = "removed from the cache: run the same command again where there is network"
            raise UserError(f"file differs from the Hub's hash: {what}: {name}: {advice}")
    return folder, {**info, "files": files}


def _page(kind: str, repo: str) -> str:
    return f"https://huggingface.co/{'' if kind == 'model' else kind + 's/'}{repo}"


@contextlib.contextmanager
def _one_line_errors(kind: str, repo: str, revision: str) -> Iterator[None]:
    """Turn errors of the Hub and the network into UserError, without credentials."""
    import httpx2
    from huggingface_hub import errors, get_token
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # its warnings hold signed addresses
    try:
        yield
    except (httpx2.HTTPError, errors.HFValidationError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        while isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
            error = error.__cause__
        what, advice = "error of the Hub", "run it again, and check HF_TOKEN if it persists"
        if isinstance(error, errors.GatedRepoError):
            what = "gated"
            advice = f"accept its licence on {_page(kind, repo)} and set HF_TOKEN to a read token"
        elif isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
            what = "not found on the Hub"
            advice = "correct `repo` and `revision`, or set HF_TOKEN if the repository is private"
        elif isinstance(error, errors.OfflineModeIsEnabled | httpx2.TransportError):
            what = "not in the cache, and no connection to the Hub"
            advice = f"run this rule once with network access, or set {VARIABLES[kind]}"
        # Addresses of stored files are signed; a server may return the token that it was sent.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(" .:")
        reason = re.sub(ADDRESS_QUERY, "", reason).replace(get_token() or "\0", "***")
        raise UserError(f"{what}: {kind} {repo} at {revision}: {reason}: {advice}") from None


def _repository_info(place: dict) -> dict:
    """{licence, gated, files: {name: {bytes, sha256 or git}}} of a commit, cached for ever."""
    from huggingface_hub import HfApi, cached_assets_path
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT as timeout

    repo, kind, commit = place.values()
    folder = cached_assets_path("first", f"{kind}s", repo.replace("/", "--"))
    if (cached := folder / f"{commit}.json").is_file():
        return read_json(cached)
    info = HfApi().repo_info(**place, files_metadata=True, timeout=timeout)
    if info.sha != commit:
        raise UserError(f"the Hub returned commit {info.sha}: {kind} {repo} at {commit}: try again")
    files = {}
    for file in sorted(info.siblings or [], key=lambda file: file.rfilename):
        digest = {"sha256": file.lfs.sha256} if file.lfs else {"git": file.blob_id}
        files[file.rfilename] = {"bytes": file.size, **digest}
    licence = (info.card_data or {}).get("license")
    write_json(cached, content := {"licence": licence, "gated": info.gated, "files": files})
    return content


def _matches(path: Path, found: dict | None, expected: dict) -> bool:
    """Whether a file has the size and hash reported by the Hub; small files have only Git's."""
    from huggingface_hub.utils.sha import git_hash

    if found and "git" in expected:
        found = {"bytes": found["bytes"], "git": git_hash(path.read_bytes())}
    return found == expected


def _wanted(kind: str, what: str, names: Iterable[str]) -> list[str]:
    """The files to use; of a model without its shards if the weights are in one file too."""
    names = [name for name in names if any(fnmatchcase(name, p) for p in FILES[kind])]
    if WEIGHTS in names:  # transformers prefers it
        names = [name for name in names if name != INDEX and not name.startswith("model-")]
    for part, one_of in NEEDED.items() if kind == "model" else ():
        if not {*names} & one_of:
            raise UserError(f"no {part}: {what}: choose a revision that has it")
    return names


def model_record(repo: str, revision: str, mirror: str | os.PathLike[str] | None = None) -> dict:
    """The record of a model from the Hub, or from a mirror if one is given.

    Raises UserError if the model is not available, incomplete, or has no safetensors.
    """
    if folder := given_mirror("model", mirror):
        root = mirrored("model", folder, repo)
        present = sorted(path.name for path in root.iterdir() if path.is_file())
        files = describe_files(root, _wanted("model", f"model {root}", present))
        compare_checksums(folder, repo, {name: file["sha256"] for name, file in files.items()})
        record = {"kind": "mirror", "repo": repo, "mirrored_revision": revision, "files": files}
    else:
        root, facts = fetch("model", repo, revision)
        record = {"kind": "hub", "repo": repo, "revision": revision, "commit": revision, **facts}
    if INDEX in record["files"]:
        shards = {*read_json(root / INDEX).get("weight_map", {}).values()}
        for name in sorted(shards - {*record["files"]}):
            raise UserError(f"no {name}: model {repo}: {INDEX} names it: use a complete model")
    return record


def locate(folder: str | Path, record: dict, mirror: str | os.PathLike[str] | None = None) -> Path:
    """Folder of the files named by `record`, which was read from `folder`. Sends no request.

    Raises UserError if they are no longer in the Hub cache or the mirror.
    """
    folder, names, kind = Path(folder), list(record["files"]), record.get("kind")
    if kind not in ("hub", "mirror") or all((folder / name).is_file() for name in names):
        return folder
    if kind == "mirror":
        return mirrored("model", given_mirror("model", mirror), record["repo"])
    from huggingface_hub import constants, errors, snapshot_download

    place = {"repo_id": record["repo"], "revision": record["commit"]}
    try:
        return Path(snapshot_download(**place, allow_patterns=names, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        where = f"{constants.HF_HUB_CACHE}: model {record['repo']} at {record['commit']}"
        advice = f"set HF_HOME to the cache that has it, or delete {folder} and run its rule again"
        raise UserError(f"no longer in the Hub cache {where}: {advice}") from None
