"""Local folders in Hub layout that replace the Hub: FOLDER/OWNER/NAME/file.

The SHA-256 of the files identifies its content. FOLDER/SHA256SUMS must agree if it exists.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from first_distill.errors import UserError

VARIABLES = {"dataset": "FIRST_DATA_MIRROR", "model": "FIRST_MODEL_MIRROR"}
CHECKSUMS = "SHA256SUMS"
CHECKSUM_LINE = re.compile(r"([0-9A-Fa-f]{64}) [ *](?:\./)?(.+)")


def given_mirror(kind: str, option: str | os.PathLike[str] | None = None) -> Path | None:
    """The mirror named by the option, else by the environment variable; None for neither."""
    name = option or os.environ.get(VARIABLES[kind])
    return Path(name) if name else None


def mirrored(kind: str, mirror: Path | None, repo: str) -> Path:
    """Folder of a `model` or `dataset` in a mirror; UserError if either is missing."""
    if mirror is None:
        raise UserError(f"no mirror given: {kind} {repo}: set --mirror or {VARIABLES[kind]}")
    root = mirror.resolve() / repo
    if not root.is_dir():
        raise UserError(f"{kind} not in the mirror: {root}: add it or correct {VARIABLES[kind]}")
    return root


def compare_checksums(folder: Path, repo: str, files: dict[str, str]) -> None:
    """Compare {name: sha256} of folder/repo with the mirror's SHA256SUMS, if it has one.

    Raises UserError naming the first file that differs, or the first line that is no checksum.
    Files that are not listed are accepted.
    """
    sums, listed = folder / CHECKSUMS, {}
    lines = sums.read_bytes().decode(errors="replace").splitlines() if sums.is_file() else ()
    for number, line in enumerate(lines, 1):
        if found := CHECKSUM_LINE.fullmatch(line):
            listed[found[2]] = found[1].lower()
        elif line.strip():
            raise UserError(f"no checksum: {sums}, line {number}: remake it with sha256sum")
    for name, digest in files.items():
        if listed.get(f"{repo}/{name}", digest) != digest:
            raise UserError(f"checksum differs from {sums}: {repo}/{name}: fetch the file again")
