"""Verify finished results, from the tables down to the data, by their records.

Every file is compared with its record, every record with what it was made from and with the code of
this checkout. No Snakemake is needed. Exit status: 0 sound, 1 not, 2 for a mistake in the call.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from first_distill import cli
from first_distill.errors import UserError, run_cli
from first_distill.provenance.lineage import ARTIFACTS, Lineage, Problem, Record
from first_distill.provenance.records import RESULTS, command


def main(argv: Sequence[str] | None = None) -> int:
    """Verify a folder; see --help."""
    parser = cli.parser("scripts.verify", __doc__)
    parser.add_argument("folder", type=Path, help="results of one scale, such as results/tiny")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="files to explain (default: all artifacts)"
    )
    parser.add_argument(
        "--without-weights", action="store_true", help="accept that weights and stores are missing"
    )
    options = parser.parse_args(argv)
    lineage = Lineage(options.folder, options.without_weights)
    show(f"{options.folder}: {len(lineage.records)} records, {len(lineage.owner)} files")
    if lineage.unseen:
        show(f"not here, and not checked: {len(lineage.unseen)} files of models or stores")
    if options.files:
        behind = [record for file in options.files for record in explain(lineage, Path(file))]
        absent, problems = [], []
    else:
        behind, problems = [*lineage.records.values()], list(overview(lineage))
        absent = [name for name in ARTIFACTS if name not in lineage.present]
        unknown = [name for name in lineage.present if name not in lineage.owner]
        show_list("files that no valid record names", unknown)
    problems = sorted({*problems, *(p for record in behind for p in record.problems)})
    show_list("problems", [": ".join(problem) for problem in problems])
    wrong = {file for kind, file, _ in problems if kind != "unreadable"}
    again = {lineage.owner[file].path if file in lineage.owner else file for file in wrong}
    if again:
        names = " ".join(f"{RESULTS}/{lineage.scale}/{name}" for name in sorted(again))
        show(f"to remake these and what depends on them: {command(lineage.scale)} {names}")
        show("if some are no longer configured, remove them and all that was made from them")
    if problems:
        show("NOT SOUND")
    elif absent:
        show(f"NOT COMPLETE: {len(absent)} of {len(ARTIFACTS)} artifacts are not made; rest sound")
    else:
        show("sound: every file is what its record says")
    return 1 if problems or absent else 0


def overview(lineage: Lineage) -> Iterator[Problem]:
    """Print a line for each artifact; yield those without a record or without data behind them."""
    for name in ARTIFACTS:
        if name in lineage.owner:
            behind = lineage.behind(lineage.owner[name])
            show(f"  {name}: {verdict(behind)}")
            data = any(record.path.startswith("data/") for record in behind)
            if not data and not any(record.problems for record in behind):
                yield "missing", name, "it is not based on any data"
        elif name in lineage.present:
            yield "missing", name, "its record is missing"
        else:
            show(f"  {name}: not made")


def explain(lineage: Lineage, file: Path) -> list[Record]:
    """Print what a file was made from, as a tree down to the data; return the records."""
    top, whole = lineage.folder.absolute(), file.absolute()
    name = (whole.relative_to(top) if whole.is_relative_to(top) else file).as_posix()
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
    own = (name, record.path)
    marks = {f"{k.upper()}{'' if f in own else f': {f}'}" for k, f, _ in record.problems}
    show("  ".join([f"{indent}{name}", digest, by, *sorted(marks)]))
    for source, expected in record.sources.items() if record.path not in seen else ():
        seen.add(record.path)
        if lineage.inside(source) in lineage.owner:
            tree(lineage, lineage.inside(source), indent + "  ", seen)
        else:
            show(f"{indent}  {source}  {expected[:12]}  outside results")


def verdict(behind: list[Record]) -> str:
    """`sound`, or the number of problems of each kind; and of records of each stage."""
    kinds = counts(kind for record in behind for kind, _, _ in record.problems)
    stages = counts(record.path.split("/")[0] for record in behind[1:])
    return f"{kinds or 'sound'}; based on {stages or 'nothing'}"


def counts(words: Iterable[str]) -> str:
    """`2 altered, 1 missing`."""
    return ", ".join(f"{count} {word}" for word, count in sorted(Counter(words).items()))


def show_list(what: str, lines: list[str]) -> None:
    """Print lines under a heading with their number, if there are any."""
    if lines:
        show(f"{what}: {len(lines)}")
    for line in lines:
        show(f"  {line}")


def show(text: str) -> None:
    """Print one line; unprintable characters in file names are escaped."""
    print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


if __name__ == "__main__":
    run_cli(main)
