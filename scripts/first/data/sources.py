"""Where official rows come from: the Hugging Face hub, a local mirror of it, or the tiny world.

Reads a hub repository at a pinned revision (`hub.fetch` brings its files), a folder in hub layout
(`datasets` reads both), or generates rows (`scripts.first.world`). Writes nothing but the
hub cache. Each source says what it is in words that are equal on every machine: identifiers,
revisions and file hashes, never a time, a host or an absolute path.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.first.errors import FULL, UserError
from scripts.first.files import sha256_file
from scripts.first.hub.fetch import DATASET_FILES, fetch
from scripts.first.hub.mirror import compare_checksums

if TYPE_CHECKING:
    import datasets

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


def from_mirror(
    dataset: str, folder: Path, repo: str, name: str | None = None, revision: str | None = None
) -> Official:
    """Read `dataset` from folder/repo, which is laid out like the hub repository of that name.

    A local folder has no revision, so `revision` is only noted as the one the folder claims to
    mirror; what was read is identified by the SHA-256 of its files. Where the mirror has a file
    SHA256SUMS, these must agree with it. Raises UserError when something is missing or damaged.
    """
    root = folder.resolve() / repo
    if not root.is_dir():
        raise UserError(f"dataset not in the mirror: {root}: add it, or name another mirror")
    check = partial(compare_checksums, folder, repo)
    splits, files = _load(f"{dataset}: {root}", dataset, root, name, check)
    identity = {"kind": "mirror", "repo": repo, "name": name, "mirrored_revision": revision}
    return Official(splits, {**identity, "files": files, **_unread(root, files)})


def from_hub(dataset: str, repo: str, revision: str | None, name: str | None = None) -> Official:
    """Read `dataset` from the hub (or the local cache of it) at one commit.

    Raises UserError when `revision` is no full commit hash, when the repository cannot be had
    (`scripts.first.hub.fetch.fetch`), or when something is missing in it.
    """
    from datasets.config import HF_HUB_OFFLINE  # HF_DATASETS_OFFLINE too

    snapshot = fetch("dataset", repo, revision, DATASET_FILES, offline=HF_HUB_OFFLINE)
    where = f"{dataset}: hub dataset {repo} at revision {revision}"
    splits, files = _load(where, dataset, snapshot.folder, name)
    identity = {"kind": "hub", "repo": repo, "name": name, "revision": revision}
    identity |= {"licence": snapshot.licence, "gated": snapshot.gated}
    return Official(splits, {**identity, "files": files})


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


def _load(
    where: str,
    dataset: str,
    root: Path,
    name: str | None,
    check: Callable[[dict[str, str]], None] = lambda files: None,
) -> tuple[dict[str, Rows], dict[str, str]]:
    """({split: rows}, {file: sha256}) of a folder in hub layout; `check` may refuse the files.

    Only the folder is resolved, no file: those of a hub snapshot are links to places outside of it.
    """
    import datasets

    datasets.disable_progress_bars()
    # The loader's copy goes to a folder of its own: a cached copy could outlive changed files.
    with tempfile.TemporaryDirectory() as cache:
        try:
            builder = datasets.load_dataset_builder(str(root), name, cache_dir=cache)
        except Exception as error:  # the loader's errors share no base class
            raise UserError(
                f"cannot open the dataset: {where}, configuration {name}: {_first_line(error)}: "
                "check its name and configuration"
            ) from None
        parts = {
            f"split {split}, file {Path(path).relative_to(root).as_posix()}": Path(path)
            for split, part in builder.config.data_files.items()
            for path in part
        }
        paths = sorted(parts.values())
        files = {path.relative_to(root).as_posix(): sha256_file(path) for path in paths}
        check(files)
        _check_parquet(where, parts, COLUMNS[dataset])
        return _read(where, dataset, builder), files


def _check_parquet(where: str, parts: dict[str, Path], columns: tuple[str, ...]) -> None:
    """Refuse by its name what is no Parquet file, or has not the columns that the others have.

    The loader would say of a page of HTML, or of a column that one file calls otherwise, that
    something in the folder is not as it should be.
    """
    import pyarrow
    import pyarrow.parquet

    kinds: dict[str, tuple[str, str]] = {}
    for name, path in parts.items():
        if path.suffix != ".parquet":
            continue
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                schema = file.schema_arrow
        except (pyarrow.ArrowException, OSError, ValueError):
            with open(path, "rb") as stream:
                start = stream.read(24)
            raise UserError(
                f"cannot read the dataset: {where}, {name}: no whole Parquet file, it begins with "
                f"{start!r}: fetch it again"
            ) from None
        _require_columns(f"{where}, {name}", schema.names, columns)
        for column in columns:
            if pyarrow.types.is_nested(schema.field(column).type):
                continue
            kind = str(schema.field(column).type).removeprefix("large_")
            first, earlier = kinds.setdefault(column, (kind, name))
            if kind != first:
                raise UserError(
                    f"column {column} is {first} in {earlier}, and {kind} in {name}: {where}: "
                    "correct the source"
                )


def _unread(root: Path, files: dict[str, str]) -> dict[str, list[str]]:
    """Tables beside the ones that were read: of another configuration, or a split without a name
    that the loader knows."""
    present = {path.relative_to(root).as_posix() for path in root.rglob("*.parquet")}
    unread = sorted(present - files.keys())
    return {"files_not_read": unread} if unread else {}


def _read(where: str, dataset: str, builder: datasets.DatasetBuilder) -> dict[str, Rows]:
    import datasets

    try:
        builder.download_and_prepare()
        loaded = builder.as_dataset()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        number = getattr(_innermost(error), "errno", None)
        if number in FULL:  # of the loader's copy, not of the files that are read
            raise OSError(number, os.strerror(number), tempfile.gettempdir()) from None
        raise UserError(
            f"cannot read the dataset: {where}: {_first_line(error)}: fetch its files again"
        ) from None
    columns = COLUMNS[dataset]
    for split, part in loaded.items():
        _require_columns(f"{where}, split {split}", part.column_names, columns)
    return {
        split: _rows(f"{where}, split {split}", part.select_columns(columns))
        for split, part in loaded.items()
    }


def _rows(where: str, part: datasets.Dataset) -> Rows:
    try:
        return part.to_list()
    except UnicodeDecodeError as error:
        for i in range(len(part)):
            try:
                part.select([i]).to_list()
            except UnicodeDecodeError:
                raise UserError(f"no UTF-8: {where}, row {i}: correct the source") from None
        raise UserError(f"no UTF-8: {where}: {error}: correct the source") from None


def _require_columns(where: str, present: Any, needed: tuple[str, ...]) -> None:
    missing = [column for column in needed if column not in present]
    if missing:
        raise UserError(
            f"no column {', '.join(missing)}: {where}: check the repository and its configuration"
        )


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: Exception) -> str:
    """The first line of the innermost cause: loaders wrap the reason in a general message."""
    error = _innermost(error)
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
