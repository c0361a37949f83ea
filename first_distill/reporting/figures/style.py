"""What all figures share: theme, colour-blind safe looks, the mark of dead models, and files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas

from first_distill.reporting.names import ONE_ANSWER
from first_distill.reporting.output import publish

FORMATS = {  # without what differs between runs or versions
    "pdf": {"CreationDate": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
TEXT = 7.0  # inches, the whole text width
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")
DASHED = {"color": "0.35", "linewidth": 0.9, "linestyle": "--", "zorder": 1}
THEME = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "first",  # the same ids in every run
}


def start():
    """Set the theme on the file-only backend; return pyplot."""
    import matplotlib.pyplot as plt
    import seaborn

    plt.switch_backend("Agg")
    seaborn.set_theme("paper", "ticks", "colorblind", font_scale=0.82, rc=THEME)
    return plt


def look(i: int) -> dict:
    """Return colour, marker and line style of the i-th family or model."""
    return {"color": f"C{i}", "marker": MARKERS[i], "linestyle": LINES[i % len(LINES)]}


def from_zero(axis) -> None:
    """Let the y axis start at 0, or below its lowest value, with room around the data."""
    low, high = axis.dataLim.intervaly
    axis.set_ylim(1.12 * min(low, 0), 1.12 * max(high, 0))


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
    """Write prefix.csv and each of FORMATS, each whole or not at all, and their record."""
    publish(prefix, name, sources, csv=data, **drawn(draw(data)))


def drawn(figure) -> dict[str, bytes]:
    """Return a figure as {format: content}, the same bytes each time."""
    contents = {}
    for kind, metadata in FORMATS.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=metadata)
        contents[kind] = buffer.getvalue()
    return contents
