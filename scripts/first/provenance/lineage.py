"""Finished results as a graph of records: which file rests on which, and what is wrong with each.

Needs nothing but the folder: no Snakemake, no configuration, no other machine's paths. See
`scripts/verify.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import sha256_file
from scripts.first.provenance import records
from scripts.first.provenance.fingerprint import STAGES, fingerprint

ARTIFACTS = (
    "tables/table1.csv",
    "tables/table2.csv",
    "tables/data_report.csv",
    *(f"figures/figure{number}.pdf" for number in (2, 3, 5, 6)),
    "claims.json",
)
ALTERED, MISSING, MISPLACED, STALE = "altered", "missing", "misplaced", "stale"
HUB = ("hub", "mirror")  # records whose files may lie in a cache or a mirror, not beside them
WEIGHTS = ".safetensors"


@dataclass
class Record:
    """One record: its file, its content (None where it cannot be read), what is wrong with it."""

    path: str  # below the folder of the scale
    content: dict | None
    problems: list[tuple[str, str, str]] = field(default_factory=list)  # kind, file, reason

    @property
    def files(self) -> list[str]:
        """Paths of the files in its charge."""
        folder = Path(self.path).parent
        return [(folder / name).as_posix() for name in (self.content or {}).get("files", {})]

    @property
    def provenance(self) -> dict:
        """What code made it; {} where it does not say."""
        said = (self.content or {}).get("provenance")
        return said if isinstance(said, dict) else {}

    @property
    def sources(self) -> dict[str, str]:
        """{file below results/: sha256} of what it was made from."""
        return (self.content or {}).get("made_from", {})


class Lineage:
    """All records below results/<scale>, verified, with what rests on what."""

    def __init__(
        self,
        folder: str | Path,
        absent_weights: bool = False,
        advance: Callable[[int], None] = lambda size: None,
    ):
        """Read and hash everything; `advance(bytes)` is told of each file.

        `absent_weights`: no problem where a checkpoint or a store has no weights here. UserError
        where the folder holds no record.
        """
        self.folder, self.absent_weights = Path(folder), absent_weights
        paths = sorted(p for p in self.folder.rglob("*.json") if _counts(p, self.folder))
        found = [path for path in paths if records.is_record(path)]
        if not {self._below(p).split("/")[0] for p in found} & set(records.BELOW.split()):
            raise UserError(f"no results: {folder}: name the folder of one scale, as results/tiny")
        self.records = {self._below(path): self._read(path) for path in found}
        self.hashed: dict[str, tuple[int, str]] = {}
        self.unseen: list[str] = []  # not here, and no problem
        self._hash(advance)
        self.owner = {file: r for r in self.records.values() for file in [r.path, *r.files]}
        for record in self.records.values():
            self._check_files(record)
            self._check_code(record)
            self._check_sources(record)

    def orphans(self) -> list[tuple[str, str, str]]:
        """(kind, file, reason) of each artifact that is there without a record."""
        return [
            (MISSING, name, "its record is missing")
            for name in ARTIFACTS
            if name not in self.owner and (self.folder / name).exists()
        ]

    def _below(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _read(self, path: Path) -> Record:
        record = Record(self._below(path), None)
        try:
            record.content = records.unsealed(path)
        except UserError as error:
            record.problems.append((ALTERED, record.path, str(error).split(":")[0]))
            return record
        own = record.content.get("place")
        if own is not None and own.partition("/")[2] != record.path:
            record.problems.append((MISPLACED, record.path, f"it is the record of {own}"))
        return record

    @cached_property
    def scales(self) -> Counter:
        """Scales that the records name, each with how often: one, unless results were mixed."""
        places = [(r.content or {}).get("place") for r in self.records.values()]
        return Counter(place.partition("/")[0] for place in places if place)

    def _hash(self, advance: Callable[[int], None]) -> None:
        wanted = {file for record in self.records.values() for file in [record.path, *record.files]}
        present = [file for file in sorted(wanted) if _is_file(self.folder / file)]

        def one(file: str) -> tuple[str, tuple[int, str]]:
            try:
                size = (self.folder / file).stat().st_size
                found = (size, sha256_file(self.folder / file))
            except (UserError, OSError):
                return file, (-1, "unreadable")
            advance(size)
            return file, found

        with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
            self.hashed = dict(pool.map(one, present))

    def _check_files(self, record: Record) -> None:
        elsewhere = (record.content or {}).get("kind") in HUB
        described = (record.content or {}).get("files", {})
        for file, expected in zip(record.files, described.values(), strict=True):
            if file not in self.hashed:
                if elsewhere or (self.absent_weights and file.endswith(WEIGHTS)):
                    self.unseen.append(file)
                else:
                    record.problems.append((MISSING, file, f"{record.path} names it"))
            elif records.mismatch(*self.hashed[file], expected):
                record.problems.append((ALTERED, file, f"it is not what {record.path} says"))

    def _check_code(self, record: Record) -> None:
        if record.content is None:
            return
        stage, code = (str(record.provenance.get(name)) for name in ("stage", "code"))
        if stage not in STAGES:
            reason = "it names no stage that this checkout has"
            record.problems.append((STALE, record.path, reason))
        elif code != fingerprint(stage):
            reason = f"made by other code of stage {stage} than this checkout's ({code})"
            record.problems.append((STALE, record.path, reason))

    def _check_sources(self, record: Record) -> None:
        for source, digest in record.sources.items():
            name = self.inside(source)
            if name is None:
                reason = _difference_here(source, digest)
            elif name not in self.owner:
                reason = None  # told once, of the file that lacks it
                record.problems.append((MISSING, name, "it has no record"))
            elif name not in self.hashed:
                reason = None  # its own record tells that it is missing
            else:
                same = self.hashed[name][1] == digest
                reason = None if same else f"made from another version of {source}"
            if reason:
                record.problems.append((STALE, record.path, reason))

    def inside(self, source: str) -> str | None:
        """A source's path below the folder; None for a file from elsewhere, such as a bundle."""
        scale, _, below = source.partition("/")
        return below if scale in self.scales else None

    def behind(self, record: Record) -> dict[str, Record]:
        """All records that a record rests on, itself among them, by path."""
        found, queue = {}, [record]
        while queue:
            if (one := queue.pop()).path not in found:
                found[one.path] = one
                names = map(self.inside, one.sources)
                queue += [self.owner[name] for name in names if name in self.owner]
        return found

    def problems(self, chosen: Iterable[Record]) -> list[tuple[str, str, str]]:
        """(kind, file, reason) of these records, each once: causes first, then by the file."""
        chosen = list(chosen)
        found = {problem for record in chosen for problem in record.problems}
        causes = set(self.causes(chosen))
        return sorted(found, key=lambda problem: (problem not in causes, problem[1], problem))

    def causes(self, chosen: Iterable[Record]) -> list[tuple[str, str, str]]:
        """The problems of those that rest on nothing with a problem: mended, so is the rest."""
        users: dict[str, list[Record]] = {}
        for record in self.records.values():
            for name in map(self.inside, record.sources):
                if name in self.owner:
                    users.setdefault(self.owner[name].path, []).append(record)
        queue, tainted = [record for record in self.records.values() if record.problems], set()
        while queue:
            more = [r for r in users.get(queue.pop().path, ()) if r.path not in tainted]
            tainted.update(record.path for record in more)
            queue += more
        return [p for record in chosen if record.path not in tainted for p in record.problems]

    def to_make(self, file: str) -> str:
        """What to make again for a file: its record, or itself where it has none."""
        return self.owner[file].path if file in self.owner else file

    def unknown(self) -> list[str]:
        """Files that no record names."""
        every = (p for p in self.folder.rglob("*") if p.is_file() and _counts(p, self.folder))
        return sorted(name for name in map(self._below, every) if name not in self.owner)


def _counts(path: Path, folder: Path) -> bool:
    """Not the resumable state of jobs that are not finished."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _difference_here(source: str, digest: str) -> str | None:
    """Why a source of this repository (a bundled checkpoint) is another now; None where unknown."""
    path = records.ROOT / source
    inside = ".." not in path.parts and path.is_relative_to(records.ROOT)
    if not inside or not _is_file(path) or sha256_file(path) == digest:
        return None
    return f"made from another version of {source}"
