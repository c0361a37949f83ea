"""Read the official rows of a dataset: from the Hub, a local mirror of it, or the tiny world.

Each source has an identity that is the same on every machine: repositories, revisions and file
hashes, never a time, host or path. Nothing is written but the Hub cache.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.first.errors import UserError
from scripts.first.files import sha256_file
from scripts.first.hub.fetch import fetch
from scripts.first.hub.mirror import compare_checksums, given_mirror, mirrored

# The columns that are read; the method does not use the others (question_concept, text, ...).
COLUMNS: dict[str, tuple[str, ...]] = {
    "csqa": ("id", "question", "choices", "answerKey"),
    "boolq": ("question", "passage", "answer"),
    "obqa": ("id", "question_stem", "choices", "answerKey"),
    "alpaca": ("instruction", "input", "output"),
    "pretraining": ("prompt", "response"),
}

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Official:
    """The rows of each official split (columns in COLUMNS), and where they are from."""

    splits: dict[str, Rows]
    identity: dict[str, Any]


def from_repository(
    dataset: str,
    repo: str,
    revision: str | None = None,
    name: str | None = None,
    *,
    mirror: str | Path | None = None,
    use_hub: bool = True,
) -> Official:
    """Read `dataset` from a mirror if one is given, else from the Hub (`use_hub`) at one commit.

    name: the repository's configuration. A mirror has no revision; `revision` is recorded only as
    the one that it claims to mirror. Raises UserError if anything is missing or damaged.
    """
    folder = given_mirror("dataset", mirror)
    if folder is None and use_hub:
        root, facts = fetch("dataset", repo, revision)
        splits, files = _read(dataset, root, name, what=f"{dataset}: {repo} at {revision}")
        identity = {"kind": "hub", "repo": repo, "name": name, "revision": revision}
        return Official(splits, {**identity, **facts, "files": files})
    root = mirrored("dataset", folder, repo)
    splits, files = _read(dataset, root, name, what=f"{dataset}: {root}")
    compare_checksums(folder, repo, files)
    identity = {"kind": "mirror", "repo": repo, "name": name, "mirrored_revision": revision}
    identity |= {"files": files}
    # Tables of another configuration, or of a split that the loader does not recognise.
    present = {path.relative_to(root).as_posix() for path in root.rglob("*.parquet")}
    if unread := sorted(present - files.keys()):
        identity["files_not_read"] = unread
    return Official(splits, identity)


def from_world(
    dataset: str, settings: dict[str, Any], rows: int | None = None, seed: int = 0
) -> Official:
    """Generate `dataset` from the tiny world of `settings`, in the official schema.

    rows, seed: size and seed of dataset `pretraining`; the settings hold the sizes of the others.
    Raises UserError if the settings do not describe a world.
    """
    from scripts.first import world as tiny

    identity: dict[str, Any] = {"kind": "world", "settings": settings}
    with tiny.settings_of(what=dataset):
        world = tiny.build_world(settings)
        if dataset != "pretraining":
            return Official(tiny.render(world, dataset), identity)
        pairs = tiny.pretraining_rows(world, rows or 0, seed)
    splits = {"train": [{"prompt": prompt, "response": text} for prompt, text in pairs]}
    return Official(splits, {**identity, "rows": rows, "seed": seed})


def rows_sha256(rows: Rows) -> str:
    """Hash of official rows: the same for the Hub, a mirror and any file layout."""
    digest = hashlib.sha256()
    for row in rows:
        # Sorted keys: the order of the Hub's struct columns differs from file to file.
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _read(
    dataset: str, root: Path, name: str | None, what: str
) -> tuple[dict[str, Rows], dict[str, str]]:
    """({split: rows}, {file: sha256}) of a folder in Hub layout; whatever it lists must be Parquet.

    Only the folder is resolved, not the files: those of a Hub snapshot are links to its blobs.
    """
    import datasets
    import pyarrow.parquet

    with tempfile.TemporaryDirectory() as cache:  # the builder makes folders, but builds nothing
        try:
            builder = datasets.load_dataset_builder(str(root), name, cache_dir=cache)
        except Exception as error:  # the loader's errors share no base class
            raise UserError(
                f"cannot open the dataset: {what}, configuration {name}: {_reason(error)}: check "
                "the repository and its configuration"
            ) from None
    columns, files = list(COLUMNS[dataset]), {}
    splits: dict[str, Rows] = {split: [] for split in builder.config.data_files}
    for split, paths in builder.config.data_files.items():
        for path in map(Path, paths):
            file = path.relative_to(root).as_posix()
            try:
                with pyarrow.parquet.ParquetFile(path) as table:
                    splits[split] += table.read(columns).to_pylist()
            except (pyarrow.ArrowException, OSError, ValueError) as error:
                raise UserError(
                    f"not a readable Parquet file: {what}, split {split}, file {file}: "
                    f"{_reason(error)}: fetch it again"
                ) from None
            files[file] = sha256_file(path)
    return splits, dict(sorted(files.items()))


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause: loaders wrap the reason in a general message."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
