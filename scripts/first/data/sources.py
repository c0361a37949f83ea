"""Read the official rows of a dataset: from the Hub, a local mirror, own files, or the tiny world.

Each source has an identity that is the same on every machine: repositories, revisions and file
hashes, never a time, host or path. Nothing is written but the Hub cache.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.first.data import mapping
from scripts.first.data.readers import Rows, is_table, read_table
from scripts.first.errors import UserError, listed
from scripts.first.files import sha256_file
from scripts.first.hub.fetch import fetch
from scripts.first.hub.mirror import compare_checksums, given_mirror, mirrored


@dataclass(frozen=True)
class Official:
    """The rows of each official split that is used, and where they are from.

    unused: {split: (rows, how many have an answer) of the others; None where they are not
    readable}. files: {split: (name, number of rows) of its files in order}; 0 where not used.
    """

    splits: dict[str, Rows]
    identity: dict[str, Any]
    unused: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    files: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    def place(self, dataset: str, split: str, i: int) -> str:
        """Name of a row in messages: dataset, split, number and file."""
        what, start = f"{dataset}, split {split}, row {i}", 0
        for name, count in self.files.get(split, ()):
            if i < start + count:
                own = f" row {i - start}" if start else ""
                return f"{what}, file {name}{own}"
            start += count
        return what


def from_repository(
    dataset: str, entry: Mapping[str, Any], mirror: str | Path | None = None
) -> Official:
    """Read the tables of an entry with `repo`: from a mirror if one is given, else from the Hub.

    A mirror has no revision; the entry's is recorded only as the one that it claims to mirror.
    Raises UserError if anything is missing or damaged.
    """
    folder = given_mirror("dataset", mirror)
    repo, name, revision = entry["repo"], entry.get("name"), entry.get("revision")
    if folder is None:
        root, facts = fetch("dataset", repo, revision)
        identity = {"kind": "hub", "repo": repo, "name": name, "revision": revision, **facts}
        return _read(dataset, entry, root, f"{dataset}: {repo} at {revision}", identity)
    if stand_in := entry.get("mirror"):
        repo, revision = stand_in, None
    root = mirrored("dataset", folder, repo)
    identity = {"kind": "mirror", "repo": repo, "name": name, "mirrored_revision": revision}
    official = _read(dataset, entry, root, f"{dataset}: {root}", identity)
    compare_checksums(folder, repo, identity["files"])
    return official


def from_files(dataset: str, entry: Mapping[str, Any]) -> Official:
    """Read the tables of an entry with `path`: one file, the split `train`, or a folder of files.

    UserError if it is not there or not readable.
    """
    root = Path(entry["path"]).expanduser()
    if not root.exists():
        raise UserError(f"no such file or folder: {dataset}: path {root}: correct the entry")
    folder = root.resolve() if root.is_dir() else root  # the loader names files from the top
    return _read(dataset, entry, folder, f"{dataset}: {root}", {"kind": "files"})


def from_world(
    dataset: str, entry: Mapping[str, Any], settings: dict[str, Any], seed: int = 0
) -> Official:
    """Generate `dataset` from the tiny world of `settings`, in the official schema.

    seed: of dataset `pretraining`, whose size the entry's `rows` say; the settings hold the sizes
    of the others. Raises UserError if the settings do not describe a world.
    """
    from scripts.first import world as tiny

    identity: dict[str, Any] = {"kind": "world", "settings": settings}
    used, rows = {*entry["splits"].values()}, entry.get("rows", {}).get("train")
    with tiny.settings_of(what=dataset):
        if dataset not in (known := [*settings["sizes"], "pretraining"]):
            raise UserError(
                f"the scale generates its data: {dataset}: data.world has {listed(known)}: "
                "use a scale without data.world"
            )
        world = tiny.build_world(settings)
        if dataset != "pretraining":
            found = tiny.render(world, dataset)
            unused = {s: (len(own), len(own)) for s, own in found.items() if s not in used}
            return Official({s: found[s] for s in found if s in used}, identity, unused)
        pairs = tiny.pretraining_rows(world, rows or 0, seed)
    splits = {"train": [{"prompt": prompt, "response": text} for prompt, text in pairs]}
    return Official(splits, {**identity, "rows": rows, "seed": seed})


def rows_sha256(rows: Rows) -> str:
    """Hash of official rows: the same for the Hub, a mirror and any file layout."""
    digest = hashlib.sha256()
    for row in rows:
        # Sorted keys: the order of the Hub's struct columns differs from file to file.
        line = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
        digest.update(line.encode(errors="surrogatepass") + b"\n")
    return digest.hexdigest()


def _read(
    dataset: str, entry: Mapping[str, Any], root: Path, what: str, identity: dict[str, Any]
) -> Official:
    """The rows of a file or folder; {file: sha256} of what was read goes to `identity`, and the
    names of tables that were not.

    Only the folder is resolved, not the files: those of a Hub snapshot are links to its blobs.
    """
    found, separator = {"train": [root]}, ","
    if root.is_dir():
        found, separator = _splits(root, entry.get("name"), what)
        found = {str(split): [Path(path) for path in paths] for split, paths in found.items()}
    used, wanted = {*entry["splits"].values()}, mapping.paths(entry)
    official = Official({}, identity)
    hashes = {}
    for split, paths in found.items():
        counts, rows = official.files.setdefault(split, []), []
        for path in paths:
            name = path.relative_to(root).as_posix() if root.is_dir() else path.name
            place = f"{what}, split {split}, file {name}"
            if split not in used:
                _unused(official, split, path, entry, place, separator)
                counts.append((name, 0))
                continue
            own = read_table(path, wanted, place, separator)
            counts.append((name, len(own)))
            rows += own
            hashes[name] = sha256_file(path)
        if split in used:
            official.splits[split] = rows
    identity["files"] = dict(sorted(hashes.items()))
    # Tables of another configuration, or of a split that the loader does not recognise.
    present = {path.relative_to(root).as_posix() for path in root.rglob("*") if is_table(path)}
    known = {name for files in official.files.values() for name, _ in files}
    if unread := sorted(present - known):
        identity["files_not_read"] = unread
    return official


def _unused(official: Official, split: str, path: Path, entry, place: str, separator: str) -> None:
    """Count the rows of a split that nothing uses; whatever is wrong with it does not matter."""
    answer = entry.get("answer")
    wanted = [answer] if answer else mapping.paths(entry)
    try:
        rows = read_table(path, wanted, place, separator)
        answers = [mapping.value(row, answer, place) for row in rows] if answer else rows
    except UserError:
        official.unused[split] = None
        return
    if (before := official.unused.setdefault(split, (0, 0))) is not None:
        labelled = sum(not mapping.is_unlabelled(own) for own in answers)
        official.unused[split] = before[0] + len(rows), before[1] + labelled


def _splits(root: Path, name: str | None, what: str) -> tuple[dict[str, Iterable], str]:
    """({split: its files}, separator of CSV files) of a folder, as the Hub's loader finds them."""
    import datasets

    with tempfile.TemporaryDirectory() as cache:  # the builder makes folders, but builds nothing
        try:
            builder = datasets.load_dataset_builder(str(root), name, cache_dir=cache)
        except Exception as error:  # the loader's errors share no base class
            while error.__cause__ is not None:  # loaders wrap the reason in a general message
                error = error.__cause__
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            where = f"{what}, configuration {name}" if name else what
            raise UserError(
                f"cannot open the dataset: {where}: {reason}: check the repository and its "
                "configuration"
            ) from None
    return builder.config.data_files, getattr(builder.config, "sep", ",") or ","
