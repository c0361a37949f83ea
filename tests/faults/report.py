"""Print the faults that were tried as one table: `python -m tests.faults.report FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

HEADS = ("fault", "count", "detected", "lost", "saw")


def main(path: str) -> None:
    """Print the rows of the file, each fault in the order in which it was tried, and their sums."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    print("| fault tried | count | detected or harmless | lost | what the user saw |")
    print("|---|---:|---:|---:|---|")
    for row in rows:
        print("| " + " | ".join(str(row[head]).replace("|", "\\|") for head in HEADS) + " |")
    sums = [sum(row[head] for row in rows) for head in HEADS[1:4]]
    print("| **all** | " + " | ".join(map(str, sums)) + " | |")


if __name__ == "__main__":
    main(*sys.argv[1:])
