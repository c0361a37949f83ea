"""Local folders in hub layout that stand in for the hub: FOLDER/OWNER/NAME/file.

A local folder has no revision, so what was read from it is identified by the SHA-256 of its files.
Where the folder has a file SHA256SUMS, they must agree with it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from scripts.first.errors import UserError

DATA_MIRROR = "FIRST_DATA_MIRROR"
MODEL_MIRROR = "FIRST_MODEL_MIRROR"
CHECKSUMS = "SHA256SUMS"
LISTED = re.compile(r"\\?(?P<digest>[0-9A-Fa-f]{64}) [ *](\./)?(?P<name>.+)")


def mirror_given(
    option: str | os.PathLike[str] | None, variable: str
) -> str | os.PathLike[str] | None:
    """Return the mirror's name: the option, else the environment variable; None without both."""
    return option or os.environ.get(variable) or None


def mirror_folder(option: str | os.PathLike[str] | None, variable: str) -> Path:
    """Return the mirror. Raises UserError when none is given or the folder does not exist."""
    chosen = mirror_given(option, variable)
    if not chosen:
        raise UserError(f"no mirror given: set --mirror or {variable}: name a folder in hub layout")
    folder = Path(chosen)
    if not folder.is_dir():
        raise UserError(f"mirror not found: {folder}: set --mirror or {variable}")
    return folder


def compare_checksums(folder: Path, repo: str, files: dict[str, str]) -> None:
    """Compare {file: sha256} of folder/repo with the mirror's SHA256SUMS, where it has one.

    Raises UserError naming the first file that differs; files that it does not list are accepted.
    """
    sums = folder / CHECKSUMS
    if not sums.is_file():
        return
    listed = {}
    lines = sums.read_bytes().decode("utf-8", "replace").splitlines()
    for number, line in enumerate(filter(str.strip, lines), start=1):
        if (match := LISTED.fullmatch(line)) is None:
            raise UserError(
                f"not a line of sha256sum: {sums}, line {number}: make the file again, or remove it"
            )
        listed[match["name"]] = match["digest"].lower()
    for file, digest in files.items():
        expected = listed.get(f"{repo}/{file}", digest)
        if expected != digest:
            raise UserError(
                f"checksum differs from {CHECKSUMS}: {folder / repo / file}: fetch the file again"
            )
