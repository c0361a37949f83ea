"""The reliability diagram of one cell of Table 1: a panel of Figure 5."""

from __future__ import annotations

import io

import pandas

from first_distill.reporting.figures import figure5, style
from first_distill.reporting.page.embed import svg_uri
from first_distill.reporting.runs import Run

SIZE = (3.4, 3.5)  # inches


def diagram(runs: list[Run], cell: dict) -> str:
    """Return the diagram of a cell's seeds as a data URI; its numbers are the cell's."""
    bins = pandas.DataFrame(figure5.pooled_bins(runs))
    ece = {f"ece{end and '_' + end}": cell["ece"][end or "value"] for end in ("", "low", "high")}
    means = {f"mean_{name}": cell[name]["value"] for name in ("confidence", "accuracy")}
    part = bins.assign(**ece, **means, **style.dead_mark(run.metrics for run in runs))
    plt = style.start()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "first"}):
        figure, (top, bottom) = plt.subplots(2, 1, figsize=SIZE, height_ratios=[3, 1], sharex=True)
        figure5.panel(top, bottom, part)
        top.set_ylabel("Accuracy (%)")
        bottom.set(ylabel="Share (%)", xlabel="Confidence (%)")
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return svg_uri(content.getvalue())
