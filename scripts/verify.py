"""Verify finished results, from the tables down to the data, by their records alone.

Every file is hashed and compared with its record, every record with what it was made from and with
the code of this checkout. Neither Snakemake nor its memory of the run is needed: results that
somebody else computed can be verified. Exit status: 0 sound, 1 not, 2 for a mistake in the call.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.first.errors import UserError, run_cli
from scripts.first.provenance.lineage import ARTIFACTS, MISSING, Lineage, Record
from scripts.first.provenance.records import RESULTS, command
from scripts.first.runtime.progress import progress

SHOWN = 20
DEEP = 100  # spaces of indentation; no real lineage has ten steps
QUIET = 2_000_000_000  # bytes that are hashed in seconds


def show(text: str) -> None:
    """Print one line; what is not printable in names of somebody else's files is escaped."""
    print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.verify", description=__doc__)
    parser.add_argument("folder", type=Path, help="results of one scale, such as results/tiny")
    parser.add_argument(
        "files",
        nargs="*",
        default=[],
        type=Path,
        metavar="FILE",
        help="say what each of these rests on, such as a cell of Table 1 (default: all artifacts)",
    )
    parser.add_argument(
        "--without-weights",
        action="store_true",
        help="results that came without the weights of models and stores: no fault",
    )
    parser.add_argument("--all", action="store_true", help="list every problem, not the first ones")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Verify a folder; see --help."""
    options = build_parser().parse_args(argv)
    if not options.folder.is_dir():
        made = sorted(path.name for path in Path(RESULTS).glob("*") if path.is_dir())
        known = f"here are {', '.join(made)}" if made else "no scale is made yet, see `make demo`"
        raise UserError(f"no results: {options.folder}: name the folder of a scale: {known}")
    chosen = [_inside(file, options.folder) for file in options.files]
    total = sum(p.stat().st_size for p in options.folder.rglob("*") if p.is_file())
    with progress("hashing", total, "B", quiet=total < QUIET) as advance:
        lineage = Lineage(options.folder, options.without_weights, advance)
    size = sum(size for size, _ in lineage.hashed.values())
    show(
        f"{options.folder}: {len(lineage.records)} records of {len(lineage.hashed)} files, "
        f"{size / 1e6:,.1f} MB, hashed"
    )
    if lineage.unseen:
        show(f"not here, and not checked: {len(lineage.unseen)} files of models or stores")
    placed = well_placed(lineage)
    sound = explain(lineage, chosen) if chosen else overview(lineage)
    touched = [r for name in chosen for r in lineage.behind(lineage.owner[name]).values()]
    touched = touched or [*lineage.records.values()]
    orphans = [] if chosen else lineage.orphans()
    shown = lineage.problems(touched) + orphans
    _list("problems", [f"{kind}: {file}: {why}" for kind, file, why in shown], options.all)
    if not chosen:
        _list("files without a record", lineage.unknown(), options.all)
        sound = sound and not shown
    causes = lineage.causes(touched) + orphans
    if again := sorted({lineage.to_make(file) for _, file, _ in causes}):
        scale = min(lineage.scales, default=options.folder.name)
        files = " ".join(f"{RESULTS}/{scale}/{file}" for file in again)
        here = options.folder.resolve() == Path(RESULTS, scale).resolve()
        where = "" if here else ", in the repository that made them"
        show(f"to make these again{where}, and what rests on them: {command(scale)} {files}")
    absent = [] if chosen else [name for name in ARTIFACTS if name not in lineage.owner]
    if sound and placed and not absent:
        show("sound: every file is what its record says")
        return 0
    some = f"NOT COMPLETE: {len(absent)} of {len(ARTIFACTS)} artifacts are not made"
    show(f"{some}; what there is, is sound" if sound and placed else "NOT SOUND")
    return 1


def well_placed(lineage: Lineage) -> bool:
    """Whether all records are of one scale, and of that which a folder below results/ names."""
    scales, folder = sorted(lineage.scales), lineage.folder.absolute()
    if folder.parent.name == RESULTS and scales and scales != [folder.name]:
        show(
            f"misplaced: the records are of scale {', '.join(scales)}, the folder is {folder.name}"
        )
    elif len(scales) > 1:
        show(f"mixed: records of scales {', '.join(scales)}")
    else:
        return True
    return False


def overview(lineage: Lineage) -> bool:
    """Print a line for each artifact: what it rests on and whether it holds; True where all do."""
    sound = True
    for name in ARTIFACTS:
        record = lineage.owner.get(name)
        if record is None:
            show(f"  {name}: not made")
            continue
        behind = lineage.behind(record)
        problems = lineage.problems(behind.values())
        if not any(path.startswith("data/") for path in behind):
            problems.append((MISSING, name, "it rests on no data"))
        sound = sound and not problems
        show(f"  {name}: {verdict(problems)}; rests on {counted(behind, record)}")
    return sound


def verdict(problems: list[tuple[str, str, str]]) -> str:
    """`sound`, or how many problems of each kind."""
    kinds = Counter(kind for kind, _, _ in problems)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "sound"


def counted(behind: dict[str, Record], record: Record) -> str:
    """Records of each stage that something rests on: `2 teacher, 8 student, ...`."""
    stages = Counter(path.split("/")[0] for path in behind if path != record.path)
    return ", ".join(f"{count} {stage}" for stage, count in sorted(stages.items())) or "nothing"


def explain(lineage: Lineage, names: list[str]) -> bool:
    """Print what each file rests on, as a tree down to the data; True where all of it holds."""
    sound = True
    for name in names:
        record = lineage.owner.get(name)
        if record is None:
            raise UserError(f"no record of {name}: {lineage.folder}: no job has finished it")
        seen: set[str] = set()
        _tree(lineage, record, name, "", seen)
        problems = lineage.problems(lineage.behind(record).values())
        show(f"  {name}: {verdict(problems)}; rests on {len(seen) - 1} records")
        sound = sound and not problems
    return sound


def _tree(lineage: Lineage, record: Record, name: str, indent: str, seen: set[str]) -> None:
    digest = lineage.hashed.get(name, (0, "-" * 12))[1][:12]
    said = record.provenance
    mine = (name, record.path)
    marks = ", ".join(sorted({kind for kind, file, _ in record.problems if file in mine}))
    again = record.path in seen
    made = "as above" if again else f"by {said.get('stage')} {said.get('code')}"
    show(f"  {indent}{name}  {digest}  {made}" + (f"  {marks.upper()}" if marks else ""))
    if again or len(indent) > DEEP:
        return
    seen.add(record.path)
    for source, expected in record.sources.items():
        inside = lineage.inside(source)
        if inside in lineage.owner:
            _tree(lineage, lineage.owner[inside], inside, indent + "  ", seen)
        else:
            show(f"  {indent}  {source}  {expected[:12]}  from elsewhere")


def _inside(file: Path, folder: Path) -> str:
    for candidate in (file.absolute(), (folder / file).absolute()):
        if candidate.is_dir():
            raise UserError(f"a folder: {file}: name a file of these results, such as its record")
        if candidate.is_relative_to(folder.absolute()):
            return candidate.relative_to(folder.absolute()).as_posix()
    raise UserError(f"not in {folder}: {file}: name a file of these results")


def _list(what: str, lines: list[str], everything: bool) -> None:
    if not lines:
        return
    show(f"{what}: {len(lines)}")
    for line in lines if everything else lines[:SHOWN]:
        show(f"  {line}")
    if len(lines) > SHOWN and not everything:
        show(f"  ... and {len(lines) - SHOWN} more (--all)")


if __name__ == "__main__":
    run_cli(main)
