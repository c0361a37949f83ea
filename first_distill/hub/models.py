"""A model's record, from the Hub or a mirror, and where the files that it names lie."""

from __future__ import annotations

import os
from pathlib import Path

from first_distill.errors import UserError, few
from first_distill.files import describe_files, scratch_folder
from first_distill.hub.conversion import convert, converted_folder
from first_distill.hub.fetch import fetch
from first_distill.hub.mirror import compare_checksums, given_mirror, mirrored
from first_distill.hub.weights import is_part, is_pickle, model_files


def model_record(
    repo: str,
    revision: str,
    mirror: str | os.PathLike[str] | None = None,
    pickles: bool = False,
) -> dict:
    """The record of a model from the Hub, or from a mirror if one is given.

    `pickles` allows weights that exist only as pickles: they are converted to safetensors once, and
    the record holds the hashes of both. Raises UserError if the model is not available, incomplete,
    or has no safetensors.
    """
    if folder := given_mirror("model", mirror):
        root = mirrored("model", folder, repo)
        present = sorted(path.name for path in root.iterdir() if path.is_file())
        names = model_files(f"model {root}", present, lambda name: root / name, pickles)
        files = describe_files(root, names)
        compare_checksums(folder, repo, {name: file["sha256"] for name, file in files.items()})
        record = {"kind": "mirror", "repo": repo, "mirrored_revision": revision, "files": files}
    else:
        root, facts = fetch("model", repo, revision, pickles)
        record = {"kind": "hub", "repo": repo, "revision": revision, "commit": revision, **facts}
    return convert(root, record) if any(map(is_pickle, record["files"])) else record


def link_folder(source: Path, target: Path, pickles: bool = False) -> tuple[Path, dict]:
    """(folder, record) of a model in a folder of the user's, with links to its files in `target`.

    `pickles` as above. Raises UserError if the model is incomplete or has no safetensors.
    """
    if not source.is_dir():
        raise UserError(f"no folder: {source}: name a model's folder in Hugging Face layout")
    root = source.resolve()
    if root == target.resolve():
        raise UserError(f"a folder of results: {source}: move your model to a place of its own")
    make_room(target)
    present = sorted(path.name for path in root.iterdir() if path.is_file())
    names = model_files(f"model {root}", present, lambda name: root / name, pickles)
    record = {"kind": "folder", "repo": root.name, "files": describe_files(root, names)}
    if any(map(is_pickle, names)):
        record = convert(root, record)
        root = converted_folder(record)
    for name in record["files"]:
        with scratch_folder(target / name) as scratch:
            (scratch / name).symlink_to(root / name)
            (scratch / name).replace(target / name)
    return root, record


def make_room(folder: Path) -> None:
    """Remove the links that another source of a model left; UserError for files, if there are."""
    remove_links(folder)
    if own := sorted(path.name for path in folder.glob("*") if is_part(path.name)):
        raise UserError(f"files of another model: {folder}: {few(own)}: move them away")


def remove_links(folder: Path) -> None:
    """Remove links to a model's files."""
    for path in folder.glob("*"):
        if path.is_symlink() and is_part(path.name):
            path.unlink()


def locate(folder: str | Path, record: dict, mirror: str | os.PathLike[str] | None = None) -> Path:
    """Folder of the files named by `record`, which was read from `folder`. Sends no request.

    Raises UserError if they are no longer in the cache or the mirror.
    """
    folder, names, kind = Path(folder), list(record["files"]), record.get("kind")
    if kind not in ("hub", "mirror") or all((folder / name).is_file() for name in names):
        return folder
    again = f"or delete {folder} and run its rule again"
    if "converted_from" in record:
        converted = converted_folder(record)
        if converted.is_dir():
            return converted
        where = f"{converted.parent}: model {record['repo']}"
        advice = f"set HF_HOME to the cache that has it, {again}"
        raise UserError(f"no longer among the converted models in {where}: {advice}")
    if kind == "mirror":
        return mirrored("model", given_mirror("model", mirror), record["repo"])
    from huggingface_hub import constants, errors, snapshot_download

    place = {"repo_id": record["repo"], "revision": record["commit"]}
    try:
        return Path(snapshot_download(**place, allow_patterns=names, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        where = f"{constants.HF_HUB_CACHE}: model {record['repo']} at {record['commit']}"
        advice = f"set HF_HOME to the cache that has it, {again}"
        raise UserError(f"no longer in the Hub cache {where}: {advice}") from None
