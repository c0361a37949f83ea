"""One look for all figures: print sizes, colour-blind safe colours, markers and line styles."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from scripts.first.files import atomic_path, write_csv

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN = 3.3  # inches, one column of a page
TEXT = 7.0  # inches, the whole text width
DPI = 300
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")
PAPER_LINE = {"color": "0.35", "linewidth": 0.9, "linestyle": (0, (4, 2)), "zorder": 1}


def start() -> list:
    """Set the theme on the file-only backend; return the palette (add markers to colours)."""
    import matplotlib

    matplotlib.use("Agg")
    import seaborn

    seaborn.set_theme(
        context="paper",
        style="ticks",
        palette="colorblind",
        rc={
            "font.size": 8,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "legend.title_fontsize": 7,
            "legend.frameon": True,
            "legend.framealpha": 0.8,
            "legend.edgecolor": "none",
            "axes.linewidth": 0.7,
            "xtick.major.width": 0.7,
            "ytick.major.width": 0.7,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "lines.linewidth": 1.2,
            "lines.markersize": 4,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
            "pdf.fonttype": 42,
            "svg.hashsalt": "first",
        },
    )
    return seaborn.color_palette("colorblind")


def panel_letter(axes: Axes, letter: str, text: str) -> None:
    """Title a panel as `(a) text`, flush left."""
    axes.set_title(f"({letter}) {text}", loc="left")


def save(figure: Figure, data: pandas.DataFrame, prefix: str) -> None:
    """Write prefix.csv, .pdf and .png, each whole or not at all, and close the figure."""
    import matplotlib.pyplot as plt

    write_csv(prefix + ".csv", data)
    for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        drawn = io.BytesIO()  # on a full disk matplotlib's own writing hides the reason
        figure.savefig(drawn, format=kind, dpi=DPI, metadata=metadata)
        with atomic_path(f"{prefix}.{kind}") as temporary:
            temporary.write_bytes(drawn.getvalue())
    plt.close(figure)
