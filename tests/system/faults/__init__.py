"""Faults: what a run survives, what it notices, and what it says. Short forms in `make test`.

`make faults` runs every test whole (FIRST_FAULTS=whole) and prints a table of what was tried.
"""

import json
import os
import re

WHOLE = os.environ.get("FIRST_FAULTS") == "whole"
FOLDER = re.compile(r"/\S*/pytest-of-[^/\s]+/pytest-\d+/(popen-gw\d+/)?[^/\s]+/")  # a test's own


def tried(kind: str, count: int, detected: int, lost: int, saw: str) -> None:
    """Note one kind of fault for the table.

    count: times it was tried. detected: times it was reported by name or did no harm. lost:
    finished files that were lost or used silently. saw: what the user saw, one line.
    """
    if path := os.environ.get("FIRST_FAULTS_REPORT"):
        row = {"fault": kind, "count": count, "detected": detected, "lost": lost}
        row["saw"] = FOLDER.sub("", saw)
        row["test"] = os.environ["PYTEST_CURRENT_TEST"].split("::")[0]
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
