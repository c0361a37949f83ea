"""Read the official rows of a dataset: from the Hub, a local mirror, own files, or the tiny world.

Each source has an identity that is the same on every machine: repositories, revisions and file
hashes, never a time, host or path. Nothing is written but the Hub cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path
from typing import Any

from first_distill.data import mapping
from first_distill.data.readers import MissingColumn, Rows, files_below, is_table, read_table
from first_distill.errors import UserError, listed
from first_distill.files import sha256_file
from first_distill.hub.fetch import fetch
from first_distill.hub.mirror import compare_checksums, given_mirror, mirrored

PATTERN = "rename the folder: in its path *, ? and [ stand for other letters"


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

    Raises UserError if it is not there or not readable, or the folder's files lie outside of it.
    """
    root, identity = Path(entry["path"]).expanduser(), {"kind": "files"}
    # Not by Path, which raises OSError for a name that is too long.
    if not os.path.isfile(root) and not os.path.isdir(root):
        raise UserError(f"no such file or folder: {dataset}: path {root}: correct the entry")
    if name := entry.get("name"):
        if root.is_file():
            what = f"name {name}: {dataset}: path {root}"
            raise UserError(f"{what}: a single file has no configurations: leave `name` out")
        identity["name"] = name
    folder = root.resolve() if root.is_dir() else root  # the loader names files from the top
    return _read(dataset, entry, folder, f"{dataset}: {root}", identity)


def from_world(
    dataset: str, entry: Mapping[str, Any], settings: dict[str, Any], seed: int = 0
) -> Official:
    """Generate `dataset` from the tiny world of `settings`, in the official schema.

    seed: of dataset `pretraining`, whose size the entry's `rows` say; the settings hold the sizes
    of the others. Raises UserError if the settings do not describe a world.
    """
    from first_distill import world as tiny

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
        found, separator = _splits(root, entry, what)
        _check_inside(root, found, what)
    used, wanted = {*entry["splits"].values()}, mapping.paths(entry)
    official = Official({}, identity)
    hashes = {}
    for split, paths in found.items():
        if paths is None:
            official.unused[split] = None
            continue
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
        try:
            rows = read_table(path, wanted, place, separator)
            answers = [mapping.value(row, answer, place) for row in rows] if answer else rows
        except MissingColumn:
            rows = read_table(path, [], place, separator)
            answers = [None] * len(rows) if answer else rows
    except UserError:
        official.unused[split] = None
        return
    if (before := official.unused.setdefault(split, (0, 0))) is not None:
        labelled = sum(not mapping.is_unlabelled(own) for own in answers)
        official.unused[split] = before[0] + len(rows), before[1] + labelled


def _splits(
    root: Path, entry: Mapping[str, Any], what: str
) -> tuple[dict[str, list[Path] | None], str]:
    """({split: its files}, separator of CSV files) of a folder, as the Hub's loader finds them.

    None for the files of a split that is not used and cannot be read.
    """
    import datasets
    from datasets.data_files import get_data_patterns

    name, used = entry.get("name"), {*entry["splits"].values()}
    found: dict[str, list[Path] | None] = {}
    with tempfile.TemporaryDirectory() as cache:  # the builder makes folders, but builds nothing

        def opened(**options: Any) -> tuple[dict[str, list[Path]], str]:
            builder = datasets.load_dataset_builder(str(root), name, cache_dir=cache, **options)
            files, separator = builder.config.data_files, getattr(builder.config, "sep", ",")
            return {str(s): [Path(p) for p in own] for s, own in files.items()}, separator or ","

        try:
            return opened()
        except Exception as error:  # the loader's errors share no base class
            failure = error
        # It wants one format for all splits: without `configs`, each by itself.
        try:
            patterns = None if name or _has_configs(root) else get_data_patterns(str(root))
        except Exception:
            patterns = None
        if patterns is None:
            raise _refusal(failure, root, entry, what)
        for split, own in patterns.items():
            try:
                found |= opened(data_files={str(split): own})[0]
            except Exception as error:
                if split in used:
                    raise _refusal(error, root, entry, f"{what}, split {split}") from None
                found[str(split)] = None
    return found, ","


def _has_configs(root: Path) -> bool:
    """Whether a folder says itself which files its splits have."""
    from huggingface_hub import metadata_load

    card = root / "README.md"
    listed_there = card.is_file() and "configs" in (metadata_load(card) or {})
    return listed_there or (root / ".huggingface.yaml").exists()


def _refusal(error: BaseException, root: Path, entry: Mapping[str, Any], what: str) -> UserError:
    """The loader's error as one line, with what to do about it."""
    while error.__cause__ is not None:  # loaders wrap the reason in a general message
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0].partition(" with any supported extension ")[0]  # a hundred of them
    name, advice = entry.get("name"), "check the repository and its configuration"
    if "path" in entry:
        advice = "name its tables train, validation and test, or list them in `configs` of a "
        advice += "README.md, where all splits have one format"
        if "Config name is missing" in reason:
            reason, advice = "it has several configurations", "set `name` to one of them"
        elif name:
            advice = "correct `name`, or `configs` of the README.md"
    if has_magic(str(root)):
        advice = PATTERN
    where = f"{what}, configuration {name}" if name else what
    return UserError(f"cannot open the dataset: {where}: {reason}: {advice}")


def _check_inside(root: Path, found: Mapping[str, list[Path] | None], what: str) -> None:
    """UserError for a file that is not below the folder: changes of it would not be noticed."""
    inside = {path.resolve() for path in files_below(root)}
    for split, paths in found.items():
        for path in paths or ():
            if path.resolve() not in inside:
                advice = "move it there, and correct `configs` of the README.md"
                raise UserError(
                    f"file outside of the folder: {what}, split {split}, file {path}: "
                    f"{PATTERN if has_magic(str(root)) else advice}"
                )
