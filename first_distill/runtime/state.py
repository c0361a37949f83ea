"""Resumable state of a long job, outside the files that Snakemake declares.

A job that is preempted, killed or out of time leaves parts in `<folder>/<key>/`; the same job,
started again, continues from there and ends in the same bytes. The key is a hash of everything that
decides the result: settings, inputs, code, packages, number of processes. A part counts once its
seal, a JSON file with its size and hash and a hash of its own text, stands beside it. Success
removes the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from first_distill.errors import UserError
from first_distill.files import atomic_path, describe, read_sealed, write_sealed

ROOT = ".state"  # results/{scale}/.state/<stage>/...
FACTS = "facts.json"
MINUTES_VARIABLE = "FIRST_CHECKPOINT_MINUTES"
DEFAULT_MINUTES = 30.0


def seconds_between_parts() -> float:
    """Time between two saves: the variable FIRST_CHECKPOINT_MINUTES, by default 30 minutes."""
    text = os.environ.get(MINUTES_VARIABLE, str(DEFAULT_MINUTES))
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        raise UserError(f"{MINUTES_VARIABLE} = {text}: it must be a number of minutes, 0 or more")
    return 60 * minutes


def open_state(folder: str | Path, facts: dict) -> Path:
    """The folder of this job's state, created if missing; facts must be plain JSON.

    State of the same job with other facts is reported and kept.
    """
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    place = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
    for other in sorted(Path(folder).glob(f"*/{FACTS}")):
        if other.parent != place:
            print(
                f"state of other settings: {other.parent}: not resumed: {_reason(other, facts)}",
                file=sys.stderr,
            )
    write_sealed(place / FACTS, facts)
    return place


def remove_state(folder: str | Path) -> None:
    """Remove a finished job's state, whatever its facts, and the folders that it leaves empty.

    Nothing else is removed, whatever folder the user named.
    """
    for place in [facts.parent for facts in Path(folder).rglob(FACTS)]:
        if re.fullmatch("[0-9a-f]{16}", place.name):
            shutil.rmtree(place, ignore_errors=True)
            for above in place.parents:
                if ROOT in above.parts or above.is_relative_to(folder):
                    with contextlib.suppress(OSError):  # not empty: another job's state
                        above.rmdir()


def seal_part(path: Path, save: Callable[[Path], None], note: dict) -> None:
    """Write a part with `save(temporary)`, then its seal: the note, its size and its hash."""
    _seal(path).unlink(missing_ok=True)
    with atomic_path(path) as temporary:
        save(temporary)
    write_sealed(_seal(path), note | describe(path))


def read_seal(path: Path) -> dict | None:
    """The note of a complete, unaltered part; None, with a line on standard error, otherwise."""
    if not (_seal(path).is_file() and path.is_file()):
        return None
    with contextlib.suppress(UserError):
        note = read_sealed(_seal(path))
        if note and note | describe(path) == note:
            return note
    print(f"damaged state: {path}: not resumed from", file=sys.stderr)
    return None


def _seal(path: Path) -> Path:
    return path.with_suffix(".json")


def _reason(other: Path, facts: dict) -> str:
    """Why the state of a job with other facts, which may be damaged, is not resumed."""
    with contextlib.suppress(UserError):
        if found := read_sealed(other):
            return f"it differs in {', '.join(differences(found, facts))}"
    return f"its {FACTS} is damaged"


def differences(one: dict, other: dict, prefix: str = "") -> list[str]:
    """Dotted names of the facts in which two jobs differ."""
    found = []
    for name in sorted({*one, *other}):
        left, right = one.get(name), other.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            found += differences(left, right, f"{prefix}{name}.")
        elif left != right:
            found.append(prefix + name)
    return found
