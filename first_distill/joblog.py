"""The line at the head of a job's log: its commit, machine and start.

They stand in logs, never in records: equal runs on two machines write equal records.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "FIRST_JOB"  # in the environment of a rule's job: values of `GIVEN`
MACHINE = ("processor", "cores", "memory", "GPUs")
GIVEN = ("commit", *MACHINE)
KEYS = (*GIVEN, "Python", "started")
TIME = "%Y-%m-%d %H:%M:%S UTC"
LINE = re.compile(r"^job: " + "; ".join(rf"{key} (?P<{key}>[^;\n]+)" for key in KEYS) + r"$", re.M)


def facts(commit: str, machine: Mapping[str, str]) -> str:
    """The value of `VARIABLE`. machine: `made_by.machine`."""
    own = {"commit": commit, **machine}
    return "; ".join(f"{key} {own[key].replace(';', ',')}" for key in GIVEN)


def known_commit(environment: Mapping[str, str]) -> str | None:
    """The commit that a job was given by the process that submitted it; None without one."""
    found = re.match(r"commit ([^;]+);", environment.get(VARIABLE, ""))
    return found[1] if found else None


def head(environment: Mapping[str, str]) -> str | None:
    """The line of this job; None outside a rule, and in all but the first of its processes."""
    if VARIABLE not in environment or environment.get("RANK", "0") != "0":
        return None
    python, now = sys.version.split()[0], time.strftime(TIME, time.gmtime())
    return f"job: {environment[VARIABLE]}; Python {python}; started {now}"


def told(log: Path) -> dict[str, str] | None:
    """What the last such line of a log says, by `KEYS`; None without one."""
    try:
        lines = [*LINE.finditer(log.read_text(encoding="utf-8", errors="replace"))]
    except OSError:
        return None
    return lines[-1].groupdict() if lines else None
