"""Verify finished results, from the tables down to the data, by their records.

Every file is hashed and compared with its record, every record with what it was made from and with
the code of this checkout. Neither Snakemake nor its memory of the run is needed: results that
somebody else computed can be verified. Exit status: 0 sound, 1 not, 2 for a mistake in the call.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.first.errors import UserError, run_cli
from scripts.first.provenance.lineage import ARTIFACTS, Lineage, Problem, Record
from scripts.first.provenance.records import RESULTS, command


def main(argv: Sequence[str] | None = None) -> int:
    """Verify a folder; see --help."""
    summary = "Verify finished results, from the tables down to the data, by their records."
    parser = argparse.ArgumentParser(prog="python -m scripts.verify", description=summary)
    parser.add_argument("folder", type=Path, help="results of one scale, such as results/tiny")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="show what these rest on (default: all artifacts)"
    )
    parser.add_argument(
        "--without-weights", action="store_true", help="accept that weights and stores are missing"
    )
    options = parser.parse_args(argv)
    if not options.folder.is_dir():
        raise UserError(f"no results: {options.folder}: name a folder such as {RESULTS}/tiny")
    lineage = Lineage(options.folder, options.without_weights)
    show(f"{options.folder}: {len(lineage.records)} records, {len(lineage.owner)} files")
    if lineage.unseen:
        show(f"not here, and not checked: {len(lineage.unseen)} files of models or stores")
    absent, touched, problems = [], [], []
    for file in options.files:
        touched += explain(lineage, Path(file))
    if not options.files:
        absent = [name for name in ARTIFACTS if name not in lineage.present]
        touched, problems = [*lineage.records.values()], list(overview(lineage))
        unknown = [name for name in lineage.present if name not in lineage.owner]
        show_list("files without a record", unknown)
    problems = sorted({*problems, *(p for record in touched for p in record.problems)})
    show_list("problems", [": ".join(problem) for problem in problems])
    wrong = {file for kind, file, _ in problems if kind != "unreadable"}
    again = {lineage.owner[file].path if file in lineage.owner else file for file in wrong}
    if again:
        names = (f"{RESULTS}/{lineage.scale}/{name}" for name in sorted(again))
        words = f"{command(lineage.scale)} {' '.join(names)}"
        show(f"to make these, and what rests on them, again where they were made: {words}")
    if problems:
        show("NOT SOUND")
    elif absent:
        show(f"NOT COMPLETE: {len(absent)} of {len(ARTIFACTS)} artifacts are not made; rest sound")
    else:
        show("sound: every file is what its record says")
    return 1 if problems or absent else 0


def overview(lineage: Lineage) -> Iterator[Problem]:
    """Print a line for each artifact; yield those without a record, or that rest on no data."""
    for name in ARTIFACTS:
        if name in lineage.owner:
            behind = lineage.behind(lineage.owner[name])
            show(f"  {name}: {verdict(behind)}")
            data = any(record.path.startswith("data/") for record in behind)
            if not data and not any(record.problems for record in behind):
                yield "missing", name, "it rests on no data"
        elif name in lineage.present:
            yield "missing", name, "its record is missing"
        else:
            show(f"  {name}: not made")


def explain(lineage: Lineage, file: Path) -> list[Record]:
    """Print what a file rests on, as a tree down to the data; return the records."""
    top = lineage.folder.absolute()
    name = file.as_posix()
    if file.absolute().is_relative_to(top):
        name = file.absolute().relative_to(top).as_posix()
    if name not in lineage.owner:
        raise UserError(f"no record of {name}: {lineage.folder}: name a file of these results")
    tree(lineage, name, "  ", set())
    behind = lineage.behind(lineage.owner[name])
    show(f"  {name}: {verdict(behind)}")
    return behind


def tree(lineage: Lineage, name: str, indent: str, seen: set[str]) -> None:
    """Print a file with its hash, stage and code, and below it what it was made from."""
    record, found = lineage.owner[name], lineage.hashes[name]
    digest = found["sha256"][:12] if isinstance(found, dict) else "-" * 12
    by = "as above" if record.path in seen else "by {} {}".format(*record.made_by)
    marks = {kind.upper() for kind, file, _ in record.problems if file in (name, record.path)}
    show("  ".join([f"{indent}{name}", digest, by, *sorted(marks)]))
    for source, expected in record.sources.items() if record.path not in seen else ():
        seen.add(record.path)
        if lineage.inside(source) in lineage.owner:
            tree(lineage, lineage.inside(source), indent + "  ", seen)
        else:
            show(f"{indent}  {source}  {expected[:12]}  from elsewhere")


def verdict(behind: list[Record]) -> str:
    """`sound`, or the number of problems of each kind; and of records of each stage."""
    kinds = Counter(kind for record in behind for kind, _, _ in record.problems)
    stages = Counter(record.path.split("/")[0] for record in behind[1:])
    found, below = (
        ", ".join(f"{count} {word}" for word, count in sorted(counter.items()))
        for counter in (kinds, stages)
    )
    return f"{found or 'sound'}; rests on {below or 'nothing'}"


def show_list(what: str, lines: list[str]) -> None:
    """Print lines under a heading with their number, if there are any."""
    if lines:
        show(f"{what}: {len(lines)}")
    for line in lines:
        show(f"  {line}")


def show(text: str) -> None:
    """Print one line; unprintable characters in the names of somebody else's files are escaped."""
    print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


if __name__ == "__main__":
    run_cli(main)
