"""The reliability diagram of one cell of Table 1, drawn as those of Figure 5 are."""

from __future__ import annotations

import io

import pandas

from first_distill.calibration.metrics import reliability_bins
from first_distill.reporting.figures import reliability, style
from first_distill.reporting.page.embed import svg_uri
from first_distill.reporting.runs import Run

SIZE = (3.4, 3.6)  # inches
LOOK = {
    "svg.fonttype": "none",  # smaller, a hundred times a page
    "font.family": "sans-serif",
    "font.sans-serif": "DejaVu Sans",  # comes with matplotlib; the widest that a browser may take
    # Finding the places of the axes would take a quarter of the time, of a hundred diagrams a page.
    "figure.constrained_layout.use": False,
}


def diagram(runs: list[Run], cell: dict) -> dict:
    """Return the diagram of a cell's seeds, pooled: {uri, width}, as `embed.figure`."""
    rows = pandas.concat([run.rows for run in runs])
    bins = pandas.DataFrame(reliability_bins(rows["confidence"], rows["correct"], cell["bins"]))
    bins.loc[:, bins.columns != "count"] *= 100
    plt = style.start()
    with plt.rc_context(LOOK):
        figure, (top, bottom) = plt.subplots(2, 1, figsize=SIZE, height_ratios=[3.2, 1])
        figure.subplots_adjust(left=0.15, right=0.96, bottom=0.11, top=0.85, hspace=0.14)
        reliability.diagram(top, bins)
        reliability.shares(bottom, bins, cell["confidence"]["value"], cell["accuracy"]["value"])
        for bar in [*top.patches, *bottom.patches]:
            # A hatch takes fifteen times as much of an SVG as all the rest.
            bar.set(hatch=None, clip_on=False)
            if not bar.get_height() > 0:
                bar.remove()
        top.set(ylabel="Accuracy (%)", xticklabels=[])
        bottom.set(ylabel="Share (%)", xlabel="Confidence (%)")
        handles = [h for axis in (top, bottom) for h in axis.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, loc="upper center", ncols=2)
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata=style.FORMATS["svg"])
        plt.close(figure)
    return {"uri": svg_uri(content.getvalue()), "width": None}
