"""Shared by all benchmarks: paired repetitions, isolated processes, the table and its file."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from first_distill.errors import UserError

REPETITIONS = 5
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `ours` and `theirs` are medians in `unit` (theirs is None where there is no rival), `ratio` is
    the value compared with the bar, `spread` is its range over the repetitions as a share of its
    median. `passes` is None for a row without a bar.
    """

    name: str
    ours: float
    theirs: float | None
    unit: str
    ratio: float | None
    spread: float | None
    bar: str
    passes: bool | None
    note: str = ""


def interleave(
    calls: dict[str, Callable[[], object]], repetitions: int = REPETITIONS
) -> dict[str, list[float]]:
    """Seconds of each call, `repetitions` of each: once to warm up, then all of them in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repetitions):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Largest less smallest, as a share of the median."""
    return (max(values) - min(values)) / median(values)


def paired(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """Quotients of consecutive timings: a slow machine slows both of a pair."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def rates(
    name: str,
    work: float,
    unit: str,
    seconds: dict[str, list[float]],
    at_least: float | None,
    note: str = "",
) -> Row:
    """A row of two rates, work a second; the ratio is ours / theirs."""
    ratios = paired(seconds["theirs"], seconds["ours"])
    ratio = median(ratios)
    return Row(
        name,
        work / median(seconds["ours"]),
        work / median(seconds["theirs"]),
        unit,
        ratio,
        spread(ratios),
        f">= {at_least:g}x" if at_least else "",
        ratio >= at_least if at_least else None,
        note,
    )


def costs(
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    unit: str,
    at_most: float | None,
    note: str = "",
) -> Row:
    """A row of two costs (seconds, bytes), repetition by repetition; the ratio is ours / theirs."""
    ratios = paired(ours, theirs)
    ratio = median(ratios)
    return Row(
        name,
        median(ours),
        median(theirs),
        unit,
        ratio,
        spread(ratios),
        f"<= {at_most:g}x" if at_most else "",
        ratio <= at_most if at_most else None,
        note,
    )


def isolated(function: str, **arguments: object) -> dict:
    """Result of `module:function` in a fresh process, with its `seconds` and memory.

    The function returns a dictionary. `peak_bytes` is the largest anonymous memory of the process
    above what it held when the function was called (its imports), sampled every 2 ms.
    """
    command = [sys.executable, "-m", "benchmarks.isolated", function, json.dumps(arguments)]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{function} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def load_results(path: Path) -> dict:
    """Machine and rows of a results file; an empty one where there is none.

    UserError where the file is none of these.
    """
    if not path.is_file():
        return {"machine": {}, "rows": []}
    try:
        content = json.loads(path.read_text())
        for row in content["rows"]:
            Row(**{name: value for name, value in row.items() if name != "commit"})
            row["commit"] + content["machine"]["torch"]
    except (ValueError, TypeError, KeyError):
        raise UserError(f"no benchmark results: {path}: delete or restore it") from None
    return content


def save_results(path: Path, machine: dict, rows: list[Row], commit: str) -> None:
    """Replace rows of the same names and keep the others, each with its commit; atomic.

    The page beside the file has the same rows.

    Rows of a machine that has changed since (threads, torch) are dropped.
    """
    new = [{**asdict(row), "commit": commit} for row in rows]
    names = {row["name"] for row in new}
    before = load_results(path)
    same = before["rows"] if before["machine"] == machine else []
    kept = [row for row in same if row["name"] not in names]
    order = sorted([*kept, *new], key=lambda row: _number(row["name"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    content = {"machine": machine, "rows": order}
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)
    path.with_suffix(".md").write_text(page(content))


def page(content: dict) -> str:
    """The kept rows of a machine as a page; docs/benchmarks.md shows some of them."""
    machine = ", ".join(f"{key} {value}" for key, value in content["machine"].items())
    rows = table(content["rows"]) if content["rows"] else "Nothing is measured yet."
    return f"# Benchmarks: every row\n\nWritten by `make bench` on {machine}.\n\n{rows}\n"


def _number(name: str) -> tuple[int, str]:
    head = name.split(" ", 1)[0]
    return (int(head), name) if head.isdigit() else (10**6, name)


def table(rows: Sequence[dict]) -> str:
    """The rows as a Markdown table; with their commits where they are not all of one."""
    several = len({row["commit"] for row in rows}) > 1
    lines = [
        "| measure | ours | against | unit | ratio | spread | bar | |" + " commit |" * several,
        "|---|--:|--:|---|--:|--:|---|---|" + "---|" * several,
    ]
    verdict = {True: "yes", False: "**no**", None: ""}
    for row in rows:
        cells = [
            row["name"] + (f" ({row['note']})" if row["note"] else ""),
            *(_figure(row[key]) for key in ("ours", "theirs")),
            row["unit"],
            _figure(row["ratio"]),
            "" if row["spread"] is None else f"{row['spread']:.0%}",
            row["bar"],
            verdict[row["passes"]],
            *([row["commit"]] if several else []),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
