"""Where official rows come from: the Hugging Face hub, a local mirror of it, or the tiny world.

Reads a hub repository at a pinned revision, a folder in hub layout (`datasets.load_dataset` reads
both), or generates rows (`scripts.first.world`). Writes nothing but the loader's own cache. Each
source says what it is in words that are equal on every machine: identifiers, revisions and file
hashes, never a time, a host or an absolute path.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.first.errors import UserError
from scripts.first.files import sha256_file

if TYPE_CHECKING:
    import datasets

MIRROR_VARIABLE = "FIRST_DATA_MIRROR"
CHECKSUMS = "SHA256SUMS"
COMMIT = re.compile(r"[0-9a-f]{40}")

# The columns that are read; others (question_concept, text, ...) are not part of the method.
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
    """The official rows of one dataset.

    splits: {official split: rows}, each row a dict of the columns in COLUMNS.
    identity: what the rows came from, for the report.
    """

    splits: dict[str, Rows]
    identity: dict[str, Any] = field(default_factory=dict)


def mirror_given(option: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return the mirror's name: the option, else the environment variable FIRST_DATA_MIRROR."""
    return option or os.environ.get(MIRROR_VARIABLE) or None


def mirror_folder(option: str | os.PathLike[str] | None) -> Path:
    """Return the mirror. Raises UserError when none is given or the folder does not exist."""
    chosen = mirror_given(option)
    if not chosen:
        raise UserError(
            f"no mirror given: set --mirror or {MIRROR_VARIABLE}: name a folder in hub layout"
        )
    folder = Path(chosen)
    if not folder.is_dir():
        raise UserError(f"mirror not found: {folder}: set --mirror or {MIRROR_VARIABLE}")
    return folder


def from_mirror(
    dataset: str, folder: Path, repo: str, name: str | None = None, revision: str | None = None
) -> Official:
    """Read `dataset` from folder/repo, which is laid out like the hub repository of that name.

    A local folder has no revision, so `revision` is only noted as the one the folder claims to
    mirror; what was read is identified by the SHA-256 of its files. Where the mirror has a file
    SHA256SUMS, these must agree with it. Raises UserError when something is missing or damaged.
    """
    # Only the folder is resolved: the files of a hub snapshot are links to places outside of it.
    root = folder.resolve() / repo
    if not root.is_dir():
        raise UserError(f"dataset not in the mirror: {root}: add it, or name another mirror")
    # The loader's copy goes to a folder of its own: a cached copy could outlive a changed mirror.
    with tempfile.TemporaryDirectory() as cache:
        builder = _builder(f"{dataset}: {root}", str(root), name, None, cache)
        paths = [Path(path) for part in builder.config.data_files.values() for path in part]
        files = {path.relative_to(root).as_posix(): sha256_file(path) for path in sorted(paths)}
        _compare_checksums(folder, repo, files)
        splits = _read(f"{dataset}: {root}", dataset, builder)
    identity = {"kind": "mirror", "repo": repo, "name": name, "mirrored_revision": revision}
    return Official(splits, {**identity, "files": files})


def from_hub(dataset: str, repo: str, revision: str | None, name: str | None = None) -> Official:
    """Read `dataset` from the hub (or the local cache of it) at one commit.

    Raises UserError when `revision` is no full commit hash (a branch moves, a result must not),
    when the repository cannot be reached, or when something is missing in it.
    """
    where = f"{dataset}: hub dataset {repo} at revision {revision}"
    if not revision or not COMMIT.fullmatch(revision):
        raise UserError(f"revision is not pinned: {where}: give the 40 digits of a commit")
    builder = _builder(where, repo, name, revision, None)
    urls = sorted(str(url) for part in builder.config.data_files.values() for url in part)
    identity = {"kind": "hub", "repo": repo, "name": name, "revision": revision}
    # hf://datasets/OWNER/NAME@REVISION/data/train-... : the part inside the repository.
    files = [url.split(f"{revision}/", 1)[-1] for url in urls]
    return Official(_read(where, dataset, builder), {**identity, "files": files})


def from_world(
    dataset: str, settings: dict[str, Any], rows: int | None = None, seed: int = 0
) -> Official:
    """Generate `dataset` from the tiny world of `settings`, in the official schema.

    `rows` and `seed` are the size and the seed of dataset `pretraining`; others take their sizes
    from the settings. Raises UserError when the settings do not make a world.
    """
    from scripts.first import world as tiny

    identity: dict[str, Any] = {"kind": "world", "settings": settings}
    try:
        world = tiny.build_world(settings)
        if dataset == "pretraining":
            if not rows or rows < 1:
                raise UserError("no size: dataset pretraining: set --max-train-rows")
            pairs = tiny.pretraining_rows(world, rows, seed)
            splits = {"train": [{"prompt": prompt, "response": text} for prompt, text in pairs]}
            identity |= {"rows": rows, "seed": seed}
        else:
            splits = tiny.render(world, dataset)
    except KeyError as error:
        raise UserError(f"world settings: {dataset}: no {error}: add it") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"world settings: {dataset}: {error}: correct the settings") from None
    columns = COLUMNS[dataset]
    for split, part in splits.items():
        _require_columns(f"{dataset}: world, split {split}", part[0] if part else columns, columns)
    kept = {split: [{c: row[c] for c in columns} for row in part] for split, part in splits.items()}
    return Official(kept, identity)


def world_settings(text: str) -> dict[str, Any]:
    """Parse the JSON object with the world's settings. Raises UserError when it is none."""
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise UserError(f"--world-settings: no JSON: {error}: pass one JSON object") from None
    if not isinstance(settings, dict):
        raise UserError("--world-settings: not an object: pass one JSON object")
    return settings


def rows_sha256(rows: Rows) -> str:
    """Hash the content of official rows: equal for the hub, a mirror and any file layout."""
    digest = hashlib.sha256()
    for row in rows:
        # Sorted keys: the hub's struct columns come in another order from file to file.
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _builder(
    where: str, path: str, name: str | None, revision: str | None, cache: str | None
) -> datasets.DatasetBuilder:
    import datasets

    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset_builder(path, name, revision=revision, cache_dir=cache)
    except Exception as error:  # hub, network and file errors share no base class
        raise UserError(
            f"cannot open the dataset: {where}, configuration {name}: {_first_line(error)}: check "
            "its name, configuration and revision, and the network (or use a mirror)"
        ) from None


def _read(where: str, dataset: str, builder: datasets.DatasetBuilder) -> dict[str, Rows]:
    import datasets

    try:
        builder.download_and_prepare()
        loaded = builder.as_dataset()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"cannot read the dataset: {where}: {_first_line(error)}: fetch its files again"
        ) from None
    columns = COLUMNS[dataset]
    for split, part in loaded.items():
        _require_columns(f"{where}, split {split}", part.column_names, columns)
    return {split: part.select_columns(columns).to_list() for split, part in loaded.items()}


def _require_columns(where: str, present: Any, needed: tuple[str, ...]) -> None:
    missing = [column for column in needed if column not in present]
    if missing:
        raise UserError(
            f"no column {', '.join(missing)}: {where}: check the repository and its configuration"
        )


def _compare_checksums(folder: Path, repo: str, files: dict[str, str]) -> None:
    sums = folder / CHECKSUMS
    if not sums.is_file():
        return
    lines = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines()]
    listed = {line[1].strip().lstrip("*").removeprefix("./"): line[0] for line in lines if line}
    for file, digest in files.items():
        expected = listed.get(f"{repo}/{file}", digest)
        if expected != digest:
            raise UserError(
                f"checksum differs from {CHECKSUMS}: {folder / repo / file}: fetch the file again"
            )


def _first_line(error: Exception) -> str:
    """The first line of the innermost cause: loaders wrap the reason in a general message."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
