"""What stands behind a result file, down to the data, and how long the jobs that made it took.

Reads records and the files of Snakemake's `benchmark:`. Weights and tables are not hashed: their
records stand for them, and `python -m scripts.verify` checks these.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from first_distill import ROOT
from first_distill.errors import UserError
from first_distill.files import sha256_file
from first_distill.provenance import records
from first_distill.provenance.fingerprint import STAGES, fingerprint
from first_distill.provenance.lineage import Record, nearest_first, read

# Stages whose rules have a `benchmark:`; of the folder models, all but the check of a pair.
TIMED = ("data", "models", "teacher", "knowledge", "temperature", "student", "evaluation")
PAIRS = "pairs"
CENTURY = 100 * 365 * 24 * 3600  # seconds; no job takes one, a damaged timing may


class Source(NamedTuple):
    """A file behind a result.

    path: below results/ (tiny/data/csqa/train.parquet), or of this repository. sha256: of it, as
    the record of `parent` names it. record: path of the record that describes it, or its own.
    stage and code: "" where no record tells. depth: steps from the result, which has 0. parent:
    path of the nearest source that was made from it; None for the result. problem: what is wrong
    with its record, in one line, or "".
    """

    path: str
    sha256: str
    record: str
    stage: str
    code: str
    depth: int
    parent: str | None
    problem: str

    @property
    def outside(self) -> bool:
        """Whether it is a file from elsewhere, such as a checkpoint of the repository."""
        return not self.stage and not self.problem


class Cost(NamedTuple):
    """What jobs took: {stage: seconds}, {stage: CPU seconds}, and the number without a timing.

    Of a job that a waiting process runs for another (`make demo`), `cpu` has that other's alone.
    """

    seconds: dict[str, float]
    cpu: dict[str, float]
    untimed: int


class Results:
    """Records below a folder results/, each read once; files are named by their path below it."""

    def __init__(self, root: Path):
        self.root = root
        self._keys: dict[str, str] = {}
        self._records: dict[str, Record] = {}
        self._digests: dict[str, str | None] = {}
        self._problems: dict[str, str] = {}

    def behind(self, name: str) -> list[Source]:
        """Every file behind a file, itself first, nearest first.

        One whose record is missing or damaged has a problem, and nothing behind it.
        """

        def sources(file: str) -> dict[str, str]:
            record = self._records.get(self._key(file))
            return record.sources if record else {}

        depth, found = {}, []
        for file, above in nearest_first(name, sources).items():
            depth[file] = 0 if above is None else depth[above] + 1
            digest = self._digest(file) or "" if above is None else sources(above)[file]
            record = self._records.get(key := self._key(file))
            made_by = record.made_by if record and record.content else ("", "")
            found.append(
                Source(file, digest, key, *made_by, depth[file], above, self._problem(key))
            )
        return found

    def content(self, name: str) -> dict:
        """Content of a record without its seal; {} where it is missing or damaged."""
        record = self._records.get(self._key(name))
        return record.content if record else {}

    def _key(self, name: str) -> str:
        """The path of the record that describes a file; the file itself where there is none."""
        if name not in self._keys:
            path = self.root / name
            own = path if records.is_record(name) else records.record_beside(path)
            found = own is not None and own.is_file()
            key = self._keys[name] = own.relative_to(self.root).as_posix() if found else name
            if found and key not in self._records:
                self._records[key] = read(own, key)
        return self._keys[name]

    def _digest(self, name: str) -> str | None:
        """SHA-256 of a file, as its record has it if it has one; None where it is not there."""
        if name not in self._digests:
            record = self._records.get(self._key(name))
            path = self.root / name if record else ROOT / name
            if record and name in record.files:
                self._digests[name] = record.files[name]["sha256"]
            else:
                self._digests[name] = sha256_file(path) if path.is_file() else None
        return self._digests[name]

    def _problem(self, key: str) -> str:
        if key not in self._problems:
            self._problems[key] = self._find_problem(key)
        return self._problems[key]

    def _find_problem(self, key: str) -> str:
        """What is wrong with a record, or with what it was made from; "" for nothing."""
        record = self._records.get(key)
        if record is None:
            ours = records.place(self.root / key) and not (ROOT / key).is_file()
            return "missing: its record is gone" if ours else ""
        if record.problems:
            kind, _, reason = record.problems[0]
            return f"{kind}: {reason}"
        if (own := record.content.get("place")) not in (None, key):
            return f"misplaced: it belongs to {own}"
        stage, code = record.made_by
        if stage not in STAGES or code != fingerprint(stage):
            return f"stale: made by other code of stage {stage}"
        changed = [s for s, named in record.sources.items() if self._digest(s) not in (None, named)]
        return f"stale: made from another version of {changed[0]}" if changed else ""


def behind(path: str | Path) -> list[Source]:
    """Every file behind a result file, nearest first: `Results.behind`.

    Raises UserError where the file is not below results/, or its own record is missing or damaged.
    """
    path = Path(path)
    name = records.place(path)
    if name is None:
        raise UserError(f"no result: {path}: name a file below results/{{scale}}")
    records.read(path if records.is_record(name) else records.record_beside(path) or path)
    return Results(Path(str(path.absolute()).removesuffix(name))).behind(name)


def seconds(sources: Iterable[Source], benchmarks: str | Path) -> Cost:
    """What the jobs behind results took, each once, by stage as benchmarks/{scale} names it.

    sources: of one result or of several. benchmarks: the folder beside results/, with one folder a
    scale. Tables, figures and claims are not timed, and files from elsewhere were not made here.
    """
    found, untimed = Cost({}, {}, 0), 0
    # The files of one job share a folder.
    for job in dict.fromkeys(Path(s.path).parent for s in sources if not s.outside):
        stage, folder = job.parts[1], Path(benchmarks, job)
        if stage not in TIMED or job.parts[2] == PAIRS:
            continue
        # An extraction that several jobs share has a timing of each of them, too.
        paths = [Path(f"{folder}.tsv"), *sorted(folder.glob("*-of-*.tsv"))]
        timings = [timing(path) for path in paths]
        untimed += timings[0] is None
        for wall, cpu in filter(None, timings):
            found.seconds[stage] = found.seconds.get(stage, 0.0) + wall
            if not math.isnan(cpu):
                found.cpu[stage] = found.cpu.get(stage, 0.0) + cpu
    return found._replace(untimed=untimed)


def timing(path: Path) -> tuple[float, float] | None:
    """(seconds, CPU seconds or nan) of a job's last run; None without a file that tells it."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            *_, last = csv.DictReader(file, delimiter="\t")
        if not 0 <= (wall := float(last["s"])) < CENTURY:  # nor is NaN
            return None
    except (OSError, ValueError, KeyError, TypeError):  # missing, empty or cut off
        return None
    try:
        return wall, float(last["cpu_time"])
    except (ValueError, KeyError, TypeError):  # Snakemake writes NA or - where it has no number
        return wall, math.nan
