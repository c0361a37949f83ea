"""What all figures share: theme, print sizes, colour-blind safe looks, captions and files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.first.reporting.names import ONE_ANSWER
from scripts.first.reporting.output import publish

if TYPE_CHECKING:
    import pandas

TEXT = 7.0  # inches, the whole text width
DPI = 300
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")
DASHED = {"color": "0.35", "linewidth": 0.9, "linestyle": (0, (4, 2)), "zorder": 1}
THEME = {
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), 8),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 7),
    **dict.fromkeys(("legend.fontsize", "legend.title_fontsize"), 7),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.7),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 3),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "legend.frameon": True,
    "legend.framealpha": 0.8,
    "legend.edgecolor": "none",
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
}


def start():
    """Set the theme on the file-only backend; return pyplot."""
    import matplotlib.pyplot as plt
    import seaborn

    plt.switch_backend("Agg")
    seaborn.set_theme(context="paper", style="ticks", palette="colorblind", rc=THEME)
    return plt


def look(i: int) -> dict:
    """Return colour, marker and line style of the i-th family or model."""
    return {"color": f"C{i}", "marker": MARKERS[i], "linestyle": LINES[i % len(LINES)]}


def title(axis, letter: str, text: str) -> None:
    """Title a panel as `(a) text`, flush left."""
    axis.set_title(f"({letter}) {text}", loc="left")


def note(axis, x: float, y: float, text: str, **options) -> None:
    """Write small text at a place in a panel, in fractions of its size."""
    axis.text(x, y, text, **{"fontsize": 7, "transform": axis.transAxes, **options})


def dead_mark(metrics: Iterable[dict]) -> dict[str, bool]:
    """Return the column that marks a dead model in a figure's data: one of its seeds is dead."""
    return {"constant_output": True} if any(m.get("constant_output") for m in metrics) else {}


def dead_text(rows, form: str = "{}") -> str:
    """Return the text that marks a part of a figure's data as that of a dead model, else ''."""
    dead = "constant_output" in rows and rows["constant_output"].notna().any()
    return form.format(ONE_ANSWER) if dead else ""


def draw_and_publish(
    name: str, data: pandas.DataFrame, draw: Callable, prefix: str, sources: Iterable[str | Path]
) -> None:
    """Write prefix.csv, .pdf and .png of a figure, each whole or not at all, and their record."""
    figure = draw(data)
    kinds = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
    drawn = {kind: io.BytesIO() for kind in kinds}
    for kind, metadata in kinds.items():
        figure.savefig(drawn[kind], format=kind, dpi=DPI, metadata=metadata)
    publish(prefix, name, sources, csv=data, **{kind: drawn[kind].getvalue() for kind in kinds})
