"""Download models and datasets from the Hub at a pinned commit and verify them.

Files stay in the Hub cache (HF_HOME). The Hub's answer about a commit (licence, gating, sizes and
hashes) is cached beside them, so that a second run sends no request, gives the same record and
works with HF_HUB_OFFLINE=1.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from first_distill.errors import UserError
from first_distill.files import describe_files, read_json, write_json
from first_distill.hub.mirror import VARIABLES
from first_distill.hub.weights import model_files

TABLES = ("README.md", "*.parquet", "*.json", "*.jsonl", "*.csv", "*.tsv")  # none can hold a pickle
ADDRESS_QUERY = r"\?[^\s'\")]*=[^\s'\"):]*"


def fetch(kind: str, repo: str, revision: str | None, pickles: bool = False) -> tuple[Path, dict]:
    """Folder in the Hub cache and {licence, gated, files} of a `model` or `dataset`.

    files: {name: {bytes, sha256}}. pickles: see `weights.model_files`. Raises UserError unless
    `revision` is a full commit hash (branches move), for errors of the Hub or the network, and if a
    file differs from its hash.
    """
    what = f"{kind} {repo} at {revision}"
    if not re.fullmatch("[0-9a-f]{40}", revision or ""):
        commits = f"{_page(kind, repo)}/commits/main"
        raise UserError(f"revision is not pinned: {what}: use the 40 digits of a commit: {commits}")
    place = {"repo_id": repo, "repo_type": kind, "revision": revision}
    with _one_line_errors(kind, repo, revision):
        info = _repository_info(place)
        listed = info["files"]

        def index(name: str) -> Path:
            folder, _ = _download(what, place, {name: listed[name]})
            return folder / name

        if kind == "model":
            names = model_files(what, listed, index, pickles)
        else:
            names = [name for name in listed if any(fnmatchcase(name, t) for t in TABLES)]
        folder, files = _download(what, place, {name: listed[name] for name in names})
    return folder, {**info, "files": files}


def _download(what: str, place: dict, expected: dict[str, dict]) -> tuple[Path, dict]:
    """Their folder in the Hub cache and {name: {bytes, sha256}} of files with the Hub's hashes."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    names = [*expected]
    found = [try_to_load_from_cache(filename=name, **place) for name in names]
    cached = all(isinstance(path, str) for path in found)  # then no request is sent
    folder = Path(snapshot_download(**place, allow_patterns=names, local_files_only=cached))
    files = describe_files(folder, [name for name in names if (folder / name).is_file()])
    for name in names:
        if not _matches(folder / name, files.get(name), expected[name]):
            (folder / name).resolve().unlink(missing_ok=True)
            advice = "removed from the cache: run the same command again where there is network"
            raise UserError(f"file differs from the Hub's hash: {what}: {name}: {advice}")
    return folder, files


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


def assets(kind: str, repo: str) -> Path:
    """Folder of the cache for what is known or made of a repository; UserError if none can be."""
    from huggingface_hub import cached_assets_path
    from huggingface_hub.constants import HF_HOME

    try:
        return cached_assets_path("first", kind, repo.replace("/", "--"))
    except ValueError:
        raise UserError(f"HF_HOME: {HF_HOME}: no folder can be made in it: set another") from None


def _repository_info(place: dict) -> dict:
    """{licence, gated, files: {name: {bytes, sha256 or git}}} of a commit, cached for ever."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT as timeout

    repo, kind, commit = place.values()
    folder = assets(f"{kind}s", repo)
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
