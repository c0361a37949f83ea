"""Local folders in Hub layout that replace the Hub: FOLDER/OWNER/NAME/file.

The SHA-256 of the files identifies its content. FOLDER/SHA256SUMS must agree if it exists.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import read_text

VARIABLES = {"dataset": "FIRST_DATA_MIRROR", "model": "FIRST_MODEL_MIRROR"}
CHECKSUMS = "SHA256SUMS"
CHECKSUM_LINE = re.compile(r"(?m)^([0-9A-Fa-f]{64}) [ *](?:\./)?(.+?)\r?$")


def given_mirror(kind: str, option: str | os.PathLike[str] | None = None) -> Path | None:
    """The mirror named by the option or else the environment variable; None without both."""
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

    Raises UserError naming the first file that differs. Files that are not listed are accepted.
    """
    sums = folder / CHECKSUMS
    text = read_text(sums) if sums.is_file() else ""
    listed = {name: digest.lower() for digest, name in CHECKSUM_LINE.findall(text)}
    for name, digest in files.items():
        if listed.get(f"{repo}/{name}", digest) != digest:
            raise UserError(f"checksum differs from {sums}: {repo}/{name}: fetch the file again")
