"""Figure of meters: does the order of the methods depend on how calibration is measured?

Reads table1.csv. A panel for each setting, a line for each meter, a column for each method that is
trained; untuned models were never asked for an answer alone. Its CSV has a row for each of these:
`value` (mean over the setting's cells, in the unit of table1.csv, empty where a cell has none),
`rank` among the methods (1: best) and `tau`, Kendall's tau-b of the meter's order and the ECE's.
"""

from __future__ import annotations

import argparse
from textwrap import fill

import pandas

from first_distill.reporting.figures import style
from first_distill.reporting.names import (
    FORMATS,
    HIGHER,
    LABELS,
    METERS,
    ONE_ANSWER,
    UNTUNED,
    printed,
)
from first_distill.reporting.output import MISSING, read

NEEDED = (*LABELS, *METERS, "above_chance", "constant_output")
HEADLINE = "ece"
NOTE = (
    "In brackets and by colour: rank, 1 (dark) is best. In percent, but Brier score and NLL "
    "(nats). τ: Kendall's tau with the order by ECE."
)


def run(args: argparse.Namespace) -> None:
    """Make the figure of meters."""
    table = read("table1.csv", args.table1, *NEEDED)
    data = compare(table[~table["method"].isin(UNTUNED)])
    style.draw_and_publish("meters", data, draw, args.output_prefix, [args.table1])


def compare(table: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows of the figure's CSV from those of table1.csv, in its order of methods."""
    frames = []
    for setting, cells in table.groupby("setting", sort=False):
        methods = list(cells["method"].unique())
        # Methods are compared on the same cells: without one of them, a method has no value.
        wide = cells.pivot(index=["family", "benchmark"], columns="method", values=[*METERS])
        # As exact as table1.csv: rounding must not break ties.
        means = wide.mean(skipna=False).round(6).unstack("method").loc[[*METERS], methods]
        costs = means.mul([-1 if name in HIGHER else 1 for name in METERS], axis="index")
        parts = {"value": means, "rank": costs.rank(axis="columns", method="min")}
        rows = pandas.DataFrame({name: part.T.unstack() for name, part in parts.items()})
        rows = rows.rename_axis(["meter", "method"]).reset_index()
        rows["tau"] = rows["meter"].map(costs.T.corrwith(costs.loc[HEADLINE], method="kendall"))
        by_method = cells.groupby("method")
        rows["cells"] = rows["method"].map(by_method.size())
        rows["cells_above_chance"] = rows["method"].map(by_method["above_chance"].sum())
        rows["constant_output"] = rows["method"].map(by_method["constant_output"].any())
        rows.insert(0, "scale", cells["scale"].iloc[0])
        rows.insert(1, "setting", setting)
        frames.append(rows)
    return pandas.concat(frames)


def draw(data: pandas.DataFrame):
    """Return the figure: ranks as a heat map with the values in it, a panel for each setting."""
    settings = list(data["setting"].unique())
    size = (style.TEXT, 0.4 + len(settings) * (0.6 + 0.17 * len(METERS)))
    figure, axes = style.start().subplots(len(settings), 1, figsize=size, squeeze=False)
    for axis, setting in zip(axes[:, 0], settings, strict=True):
        _panel(axis, data[data["setting"] == setting])
    figure.supxlabel(NOTE, fontsize=style.SMALL)
    return figure


def _panel(axis, rows) -> None:
    import seaborn

    methods = list(rows["method"].unique())
    ranks, values = (
        rows.pivot(index="meter", columns="method", values=name).loc[[*METERS], methods]
        for name in ("rank", "value")
    )
    forms = {meter: f"{{:{FORMATS.get(meter, '.1f')}}} ({{:.0f}})" for meter in METERS}
    texts = [
        [forms[meter].format(values.at[meter, m], ranks.at[meter, m]) for m in methods]
        for meter in METERS
    ]
    # The light half of the colours, on which black text is legible.
    worst = 1.1 * len(methods)
    look = {"cmap": "Blues_r", "vmin": 2 - worst, "vmax": worst, "linewidths": 0.5}
    look |= {"annot_kws": {"color": "black", "fontsize": 7 if len(methods) < 9 else 6}}
    seaborn.heatmap(ranks, annot=texts, fmt="", cbar=False, ax=axis, **look)
    tau = rows.drop_duplicates("meter").set_index("meter")["tau"]
    for y, meter in enumerate(METERS):
        text = MISSING if pandas.isna(tau[meter]) else f"{tau[meter]:.2f}"
        axis.text(len(methods) + 0.08, y + 0.5, text, va="center", fontsize=style.SMALL)
    axis.text(len(methods) + 0.08, -0.4, "τ", va="center")
    axis.axhline(len(METERS) / 2, color="black", linewidth=0.8)
    dead = set(rows["method"][rows["constant_output"]])
    heads = [printed(m) + f" ({ONE_ANSWER})" * (m in dead) for m in methods]
    axis.set_xticks(axis.get_xticks(), [fill(head, 84 // len(methods)) for head in heads])
    axis.tick_params(length=0, labelrotation=0)
    axis.xaxis.tick_top()
    for label in axis.get_xticklabels():
        label.set_linespacing(1.1)
    axis.set_yticks(axis.get_yticks(), [METERS[m] + " ↑" * (m in HIGHER) for m in METERS])
    once = rows.drop_duplicates("method")
    title = f"{printed(rows['setting'].iloc[0])}, mean of {once['cells'].iloc[0]} cells"
    if weak := once["cells"].sum() - once["cells_above_chance"].sum():
        title += f"; {weak} of {once['cells'].sum()} cells are not above chance"
    axis.set(xlabel="", ylabel="")
    axis.set_title(title)
