"""What a check finds: rows with a value, a tolerance and a verdict; their table and their clock."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

PASS, FAIL, FLAG, SKIPPED, NONE = "pass", "FAIL", "flag", "skipped", ""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    tolerance: the largest value that passes, or the two limits of a range; None where a value is
    only reported. verdict: `pass`, `FAIL`, `flag` (worth a look, no failure), `skipped` or nothing.
    """

    name: str
    what: str
    value: float | None
    tolerance: float | tuple[float, float] | None
    verdict: str
    note: str = ""


def within(name: str, what: str, value: float, tolerance: float, note: str = "") -> Row:
    """A row that passes where the value is at most the tolerance."""
    value, tolerance = float(value), float(tolerance)
    if not (math.isfinite(value) and math.isfinite(tolerance)):
        return Row(name, what, None, None, FAIL, "not finite")
    return Row(name, what, value, tolerance, PASS if value <= tolerance else FAIL, note)


def equal(name: str, what: str, differing: int, note: str = "") -> Row:
    """A row that passes where nothing differs by a bit."""
    return within(name, what, differing, 0.0, note)


def reported(name: str, what: str, value: float, note: str = "") -> Row:
    """A row without a verdict."""
    return Row(name, what, float(value), None, NONE, note)


def skipped(name: str, what: str, why: str) -> Row:
    """A row that was not measured."""
    return Row(name, what, None, None, SKIPPED, why)


class Clock:
    """How much of the time that the whole check may take is left."""

    def __init__(self, seconds: float):
        self.seconds, self.start = seconds, time.monotonic()

    def gone(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def left(self) -> float:
        """Seconds until the end, below 0 after it."""
        return self.seconds - self.gone()


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| check | what | value | tolerance | verdict |", "|---|---|--:|--:|---|"]
    for row in rows:
        what = row.what + (f" ({row.note})" if row.note else "")
        cells = (row.name, what, figure(row.value), figure(row.tolerance), row.verdict)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(value: float | tuple[float, float] | None) -> str:
    """A number in three digits, or two of them as a range."""
    if value is None:
        return ""
    if isinstance(value, Sequence):
        return " to ".join(map(figure, value))
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
