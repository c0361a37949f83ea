"""Finished results as a graph of records: what each file was made from, and what is wrong with it.

Needs the folder alone: no Snakemake, no configuration, no path of another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from first_distill import ROOT
from first_distill.errors import UserError
from first_distill.files import describe
from first_distill.provenance import records
from first_distill.provenance.fingerprint import STAGES, fingerprint

ARTIFACTS = (
    "claims.json",
    "tables/table1.csv",
    "tables/posthoc.csv",
    "tables/table2.csv",
    *(f"figures/figure{number}.pdf" for number in (2, 3, 5, 6)),
    "figures/meters.pdf",
    "tables/data_report.csv",
    "index.html",
)
Problem = tuple[str, str, str]  # kind, file, reason


class Record:
    """One record below the folder of a scale; `content` is {} where it cannot be read.

    files: {path: {bytes, sha256}}. sources: {path below results/: sha256}.
    """

    def __init__(self, path: str, content: dict, problems: Iterable[Problem] = ()):
        self.path, self.content, self.problems = path, content, list(problems)
        folder, made_by = Path(path).parent, content.get("provenance", {})
        self.files = {(folder / n).as_posix(): f for n, f in content.get("files", {}).items()}
        self.sources = content.get("made_from", {})
        self.made_by = str(made_by.get("stage")), str(made_by.get("code"))


class Lineage:
    """All records below results/<scale>, checked: `owner` maps each file to its record."""

    def __init__(self, folder: str | Path, without_weights: bool = False):
        """Read and hash every file; UserError where no record is found.

        `without_weights`: a missing file of weights is no problem.
        """
        self.folder, self.without_weights = Path(folder), without_weights
        paths = (path for path in self.folder.rglob("*") if not path.is_dir())
        names = (path.relative_to(self.folder).as_posix() for path in paths)
        self.present = sorted(name for name in names if "/." not in f"/{name}")  # no job's state
        self.records = {n: read(self.folder / n, n) for n in self.present if records.is_record(n)}
        places = [(str(r.content.get("place")), f"/{r.path}") for r in self.records.values()]
        scales = [place.removesuffix(path) for place, path in places if place.endswith(path)]
        if not scales:
            raise UserError(f"no results: {folder}: name the folder of one scale, as results/tiny")
        # Results may be kept elsewhere under any name, but below results/ only under their own.
        here = self.folder.absolute()
        inside = here.parent.name == records.RESULTS
        self.scale = here.name if inside else max(scales, key=scales.count)
        self.owner = {file: r for r in self.records.values() for file in (r.path, *r.files)}
        with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
            paths = [self.folder / name for name in self.owner]
            self.hashes = dict(zip(self.owner, pool.map(described, paths), strict=True))
        self.unseen: list[str] = []  # not here, and no problem
        whole = [record for record in self.records.values() if record.content]
        for find in (self._of_files, self._of_sources):
            for record in whole:
                record.problems.extend(find(record))

    def inside(self, source: str) -> str | None:
        """A source's path below the folder; None for a file from elsewhere, such as a bundle."""
        scale, _, name = source.partition("/")
        return name if scale == self.scale else None

    def behind(self, record: Record) -> list[Record]:
        """A record and all its ancestors, nearest first."""

        def above(path: str) -> list[str]:
            names = map(self.inside, self.records[path].sources)
            return [self.owner[name].path for name in names if name in self.owner]

        return [self.records[path] for path in nearest_first(record.path, above)]

    def _of_files(self, record: Record) -> Iterator[Problem]:
        """Problems of a record's place, files and code."""
        own = record.content.get("place")
        if own not in (None, f"{self.scale}/{record.path}"):
            yield "misplaced", record.path, f"it belongs to {own}"
        elsewhere = record.content.get("kind") in ("hub", "mirror")
        for file, expected in record.files.items():
            found = self.hashes[file]
            weights = self.without_weights and file.endswith(".safetensors")
            if found is None and (elsewhere or weights):
                self.unseen.append(file)
            elif found is None:
                yield "missing", file, f"{record.path} describes it"
            elif isinstance(found, str):
                yield "unreadable", file, found
            elif found != expected:
                yield "altered", file, f"its hash is not the one in {record.path}"
        stage, code = record.made_by
        if stage not in STAGES or code != fingerprint(stage):
            yield "stale", record.path, f"made by other code of stage {stage}: {code}"

    def _of_sources(self, record: Record) -> Iterator[Problem]:
        """Problems of what a record was made from, less those that follow from another one."""
        for source, digest in record.sources.items():
            name = self.inside(source)
            if name is not None and name not in self.owner:
                yield "missing", name, f"no record describes it; {record.path} was made from it"
            elif name is None or not self.owner[name].problems:
                found = described(ROOT / source) if name is None else self.hashes[name]
                if isinstance(found, dict) and found["sha256"] != digest:
                    yield "stale", record.path, f"made from another version of {source}"


def nearest_first(start: str, sources: Callable[[str], Iterable[str]]) -> dict[str, str | None]:
    """{each name that is reached from `start`: the name that it was first a source of}.

    Breadth first, `start` itself (None) included; the sources of a name in their given order.
    """
    found: dict[str, str | None] = {start: None}
    queue = [start]
    for name in queue:  # it grows
        new = [source for source in dict.fromkeys(sources(name)) if source not in found]
        found |= dict.fromkeys(new, name)
        queue += new
    return found


def read(path: Path, name: str) -> Record:
    """A record under a name; one that cannot be read is empty, with the problem."""
    try:
        return Record(name, records.unsealed(path))
    except UserError as error:
        if str(error).startswith("cannot read"):
            return Record(name, {}, [("unreadable", name, str(error))])
        return Record(name, {}, [("altered", name, "the record is damaged")])


def described(path: Path) -> dict | str | None:
    """{bytes, sha256} of a file; None for no file; the system's message for an unreadable one."""
    try:
        return describe(path) if path.is_file() else None
    except (OSError, UserError) as error:
        return str(error)
