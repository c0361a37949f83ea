"""Which patterns of the paper's printed Table 1 do points of an ablation show?"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from first_distill.reporting import output
from first_distill.reporting.ablations.points import Comparison
from first_distill.reporting.output import read

Cell = dict[str, float]  # ECE of each method of the printed table, percent
NEAR = 1.0  # points
# A student that was never taught the mass of its candidates has another ECE between them.
CONFIDENCES = {"ece": "", "ece_candidates": ", between candidates"}
PATTERNS: dict[str, Callable[[Cell], bool]] = {
    "Label smoothing changes the ECE by at most 1 point": lambda cell: (
        round(abs(cell["distill_ls"] - cell["distill"]), 6) <= NEAR
    ),
    "Label smoothing lowers the ECE by more than 1 point": lambda cell: (
        round(cell["distill"] - cell["distill_ls"], 6) > NEAR
    ),
    "FIRST is better than both": lambda cell: (
        cell["first_ts"] < min(cell["distill"], cell["distill_ls"])
    ),
    "Direct distillation is better than fine-tuning": lambda cell: (
        cell["distill"] < cell["finetune"]
    ),
}


def section(comparison: Comparison, paper_table: str) -> str:
    """Return how many cells show each pattern: of the printed table, and of each table of points.

    It is as printed if more than half of the cells show it both here and there, or neither.
    """
    columns = ("family", "setting", "benchmark", "method", "ece")
    table = read("paper_table1.csv", paper_table, *columns)
    paper = [
        dict(zip(cell["method"], cell["ece"], strict=True))
        for _, cell in table.groupby(["family", "setting", "benchmark"], sort=False)
    ]
    ours = {
        name + text: cells_of(comparison, name, metric)
        for name in tables_of(comparison)
        for metric, text in CONFIDENCES.items()
    }
    lines, agreed = [], {name: [] for name in tables_of(comparison) if ours[name]}
    for name, holds in PATTERNS.items():
        printed = sum(map(holds, paper))
        line = {"Pattern of the ECE": name, "printed": f"{printed} of {len(paper)}"}
        for own, cells in ours.items():
            if not cells:
                line[own] = output.MISSING
                continue
            count = sum(map(holds, cells))
            same = (2 * count > len(cells)) == (2 * printed > len(paper))
            line[own] = f"{count} of {len(cells)}, {'as printed' if same else 'not so'}"
            if same and own in agreed:
                agreed[own].append(name)
        lines.append(line)
    means = {"printed": mean_change(paper)}
    means |= {own: mean_change(cells) for own, cells in ours.items() if cells}
    changes = {own: f"{value:+z.1f} points" for own, value in means.items()}
    lines.append({"Pattern of the ECE": "Mean change by label smoothing", **changes})
    text = (
        "Cells (a family on a column of Table 1) that show a pattern, by their values alone; of "
        "ours those in which all models are better than chance. A pattern is “as printed” if more "
        "than half of the cells show it both in the printed table and in ours, or in neither. "
    ) + in_words(agreed)
    return output.page("## Patterns of the printed table", text, output.pipe_table(lines)).strip()


def in_words(agreed: dict[str, list[str]]) -> str:
    """Return on how many patterns each table agrees with the printed one, and on which it alone."""
    text = "".join(
        f"“{table}” agrees with the printed table on {len(own)} of {len(PATTERNS)} patterns. "
        for table, own in agreed.items()
    )
    for table, own in agreed.items():
        others = [name for other, names in agreed.items() if other != table for name in names]
        if alone := [name for name in own if name not in others]:
            text += f"“{table}” alone agrees on: {'; '.join(alone)}. "
    return text.strip()


def mean_change(cells: list[Cell]) -> float:
    """Mean over cells of the ECE with label smoothing, less that of direct distillation."""
    return statistics.fmean(cell["distill_ls"] - cell["distill"] for cell in cells)


def tables_of(comparison: Comparison) -> dict[str, list[dict]]:
    """{table: its points} of those that stand for methods of the printed table."""
    found: dict[str, list[dict]] = {}
    for point in comparison.points:
        if "printed" in point:
            found.setdefault(point.get("table", "here"), []).append(point)
    return found


def cells_of(comparison: Comparison, table: str, metric: str) -> list[Cell]:
    """An ECE of a table's points in each family and column where all are better than chance."""
    points, evidence = tables_of(comparison)[table], comparison.evidence
    labels = [point["label"] for point in points]
    return [
        {
            point["printed"]: evidence.estimate([place], metric, point["label"]).value
            for point in points
        }
        for place in evidence.places
        if not evidence.obstacle(place, labels)
    ]
