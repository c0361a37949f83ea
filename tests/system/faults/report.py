"""Print the faults that were tried: `python -m tests.system.faults.report FILE`.

Two tables: what each file of tests tried, and each kind of fault with what the user saw.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

COUNTS = ("count", "detected", "lost")


def main(path: str) -> None:
    """Print the tables of the rows that `tests.system.faults.tried` wrote."""
    if not Path(path).is_file():
        sys.exit(f"no faults were tried: {path}")
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: row["test"])  # stable: of each file in the order of its tests
    tests = list(dict.fromkeys(row["test"] for row in rows))
    print("| tests | kinds | tried | reported or harmless | lost or unnoticed |")
    print("|---|---:|---:|---:|---:|")
    for test in tests:
        of_test = [row for row in rows if row["test"] == test]
        line(f"`{Path(test).name}`", len(of_test), *sums(of_test))
    line("**all**", len(rows), *sums(rows))
    print()
    print("| fault | tried | reported or harmless | lost or unnoticed | what the user saw |")
    print("|---|---:|---:|---:|---|")
    for row in rows:
        line(row["fault"], *(row[count] for count in COUNTS), row["saw"])


def sums(rows: Iterable[dict]) -> list[int]:
    """Sums of the counts."""
    return [sum(row[count] for row in rows) for count in COUNTS]


def line(*cells: object) -> None:
    """One row of a table."""
    print("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
