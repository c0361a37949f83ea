"""Records: what a job made, from what and by which code; verified before its files are used.

A record is a JSON file, written last, beside the files that it describes:
  files      {name: {bytes, sha256}} of the files beside it
  made_from  {path below results/: sha256} of what they were made from
  provenance code fingerprint and package versions (see made_by.py)
  place      its own path below results/: a record copied over another one is refused
  seal       sha256 of the record's text without the seal, so that a flipped bit is noticed
This guards against accidents, not against forgery. `python -m scripts.verify` follows the records
from the tables down to the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from first_distill import ROOT
from first_distill.errors import UserError
from first_distill.files import describe, describe_files, read_sealed, sha256_file, write_sealed

NAMES = ("record.json", "report.json", "manifest.json", "selected.json", "metrics.json")
SUFFIX = ".record.json"  # table1.record.json describes table1.csv and the other table1.* files
RESULTS = "results"
DICTS = ("files", "made_from", "provenance")
UNFINISHED = "it was never finished, or its record was deleted"
STAGES = (
    "data|models|teacher|knowledge|temperature|student|evaluation|tables|figures|claims|ablations|"
    "index"
)
# Cells of Table 1 and pairs of models are records without files.
RECORD = re.compile(rf".*({SUFFIX}|/({'|'.join(NAMES)})|/(cells|pairs)/.+\.json)")


def place(path: str | Path) -> str | None:
    """A file's path below results/, as in `tiny/data/csqa/report.json`; None elsewhere."""
    found = re.fullmatch(rf".*/{RESULTS}/([^/]+/({STAGES})\b.*)", str(Path(path).absolute()))
    return found and found[1]


def is_record(name: str) -> bool:
    """Whether a path below results/ is that of a record; by the name, for it may be damaged."""
    return RECORD.fullmatch(f"/{name}") is not None


def write(
    path: str | Path, content: dict, files: Iterable[str] = (), made_from: Iterable[str | Path] = ()
) -> None:
    """Write a record of the named files beside it; `content` is everything else, as provenance.

    A record of files that lie elsewhere (on the hub) has `files` in its content.
    """
    described = content.get("files") or describe_files(Path(path).parent, sorted(set(files)))
    sources = {name: sha256_file(source) for name, source in _named(made_from).items()}
    record = {**content, "files": described, "made_from": sources, "place": place(path)}
    write_sealed(path, record)


def read(path: str | Path) -> dict:
    """A record without its seal and place; UserError where it is missing, altered or misplaced."""
    record = unsealed(path)
    own, here = record.pop("place", None), place(path)
    if own and here and own != here:
        raise UserError(f"misplaced record: {path}: it belongs to {own}: {_again(path)}")
    return record


def unsealed(path: str | Path) -> dict:
    """A record without its seal, wherever it stands; UserError where it is missing or altered."""
    if not Path(path).is_file():
        raise UserError(f"no record: {path}: {UNFINISHED}: {_again(path)}")
    record = read_sealed(path)
    if record is not None and all(isinstance(record.get(key, {}), dict) for key in DICTS):
        return record
    raise UserError(f"altered or incomplete record: {path}: wrong seal: {_again(path)}")


def verified(path: str | Path) -> Path:
    """The path of a file that its record describes; UserError where it is missing or altered.

    Outside of results/ a file without a record is the user's own, and accepted as it is.
    """
    path = Path(path)
    if record := record_beside(path):
        check(path, read(record).get("files", {}).get(path.name), record)
    elif place(path):
        raise UserError(f"no record beside {path}: {UNFINISHED}: {_again(path)}")
    return path


def record_beside(path: str | Path) -> Path | None:
    """The record that describes a file, or None."""
    path = Path(path)
    names = (path.name.split(".")[0] + SUFFIX, *NAMES)
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def check(path: Path, expected: object, record: Path) -> None:
    """UserError unless a file has the size and hash that a record expects (None: names no such)."""
    if expected is None:
        reason = "unknown"
    elif not path.is_file():
        reason = "missing"
    elif describe(path) != expected:
        reason = "altered"
    else:
        return
    raise UserError(f"{reason} file: {path}: not as {record} describes it: {_again(record)}")


def command(scale: str, where: str = "-c2") -> str:
    """The start of a command that remakes named files of a scale and everything downstream."""
    own = "" if _shipped(scale) else " --configfile YOURS.yaml"
    return f"snakemake {where}{own} --config scale={scale} -R"


def _shipped(scale: str) -> bool:
    return ROOT.joinpath("config/scales", f"{scale}.yaml").is_file()


def _again(path: str | Path) -> str:
    """Advice: Snakemake treats an existing file as finished unless forced (-R)."""
    if here := place(path):
        scale = here.split("/")[0]
        overlay = ", with your --configfile if you have one" if _shipped(scale) else ""
        return f"remake it: {command(scale)} {path}{overlay}"
    return f"delete {path} and rerun the step that makes it"


def _named(sources: Iterable[str | Path]) -> dict[str, Path]:
    """Files by their place, else by their path in this repository, else by their name.

    A record holds no absolute path. Files of one name get as many folders as distinguish them.
    """
    found: dict[str, Path] = {}
    for source in map(Path.absolute, map(Path, sources)):
        inside = source.is_relative_to(ROOT)
        name = place(source) or (str(source.relative_to(ROOT)) if inside else source.name)
        for folder in source.parents:
            if found.get(name, source) == source:
                break
            name = f"{folder.name}/{name}"
        found[name] = source
    return found
