"""What all figures share: theme, colour-blind safe looks, the mark of dead models, and files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path

import pandas

from first_distill.reporting.names import ONE_ANSWER
from first_distill.reporting.output import publish

FORMATS = {  # without what differs between runs or versions
    "pdf": {"CreationDate": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
COLUMN, TEXT = 3.03, 6.3  # inches: one column and the whole width of an ACL page
# Paul Tol's medium-contrast scheme and four more: lightness tells apart what stands together, and
# where ten colours cannot, marker and dash do.
COLORS = ("#000000", "#994455", "#6699CC", "#004488", "#997700", "#EE99AA", "#EECC66")
COLORS += ("#777777", "#228833", "#AA3377")
FAMILY_COLORS = ("#332288", "#AA4499", "#44AA99", "#88CCEE")  # no method's
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "p")
LINES = ("-", "--", "-.", ":")
HATCHES = ("", "////", "....", "xxxx", "----", "||||", "++++", "oooo", "**", "OO")
# The first colours, markers and hatches, the same in every figure.
METHODS = ("teacher", "finetune", "distill", "first_ts", "distill_ls", "finetune_ts")
DASHED = {"color": "0.35", "linewidth": 0.8, "linestyle": "--", "zorder": 1}
WHISKERS = {"fmt": "none", "ecolor": "0.55", "elinewidth": 0.9, "capsize": 1.5}  # on any bar
SMALL = 7  # points; captions of ACL have 10
SIZES = {"font.size": 8, "axes.labelsize": 8, "axes.titlesize": 8, "figure.titlesize": 8}
SIZES |= {f"{part}.labelsize": SMALL for part in ("xtick", "ytick")}
SIZES |= {f"legend.{part}": SMALL for part in ("fontsize", "title_fontsize")}
SIZES |= {"axes.linewidth": 0.6, "lines.linewidth": 1.0, "lines.markersize": 3.5}
SIZES |= {f"{side}tick.major.{part}": 2.5 for side in "xy" for part in ("size", "pad")}
SIZES |= {f"{side}tick.major.width": 0.6 for side in "xy"}
THEME = {
    **SIZES,
    "axes.labelpad": 2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "figure.constrained_layout.use": True,
    "font.family": "serif",
    # The first comes with matplotlib.
    "font.serif": ["STIXGeneral", "STIX Two Text", "Times New Roman", "Times", "Liberation Serif"],
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.4,
    "mathtext.fontset": "stix",
    "pdf.fonttype": 42,  # TrueType, which venues ask for
    "savefig.dpi": 300,
    "svg.fonttype": "path",  # outlines: a browser without the font would set wider text
    "svg.hashsalt": "first",  # the same ids in every run
}


def start():
    """Set the theme on the file-only backend; return pyplot."""
    import matplotlib.pyplot as plt
    import seaborn

    plt.switch_backend("Agg")
    seaborn.set_theme("paper", "ticks", COLORS, rc=THEME)
    return plt


def look(i: int) -> dict:
    """Return colour, marker and line style of the i-th method (see `places`) or series."""
    return {"color": COLORS[i], "marker": MARKERS[i], "linestyle": LINES[i % len(LINES)]}


def family_look(i: int) -> dict:
    """Return colour, marker and line style of the i-th family."""
    return {**look(i % len(COLORS)), "color": FAMILY_COLORS[i % len(FAMILY_COLORS)]}


def places(methods: Iterable[str]) -> dict[str, int]:
    """Return the place of each method's look: its own in METHODS, else the next of the others."""
    others = cycle(range(len(METHODS), len(COLORS)))
    return {m: METHODS.index(m) if m in METHODS else next(others) for m in methods}


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
