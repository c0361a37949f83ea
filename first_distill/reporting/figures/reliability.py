"""One reliability diagram: its over- and under-confident parts, and below it the bins' shares.

Bins are rows as of `metrics.reliability_bins` in percent: `lower`, `count`, `confidence` (mean) and
`accuracy`; the means of an empty bin are NaN, and nothing is drawn for it.
"""

from __future__ import annotations

import numpy as np

from first_distill.reporting.figures import style

# The lightness of each differs from that of the others, for readers in grey.
COLORS = {"both": "0.88", "over": "#CC3311", "under": "#33BBEE"}
HATCHES = {"both": "", "over": "////", "under": "...."}
LABELS = {"over": "over-confident part", "under": "under-confident part"}
TICKS = (0, 25, 50, 75, 100)


def parts(bins) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return (bottom, top) of each bin's bars, (bins,), in percent.

    `both` reaches to the lower of confidence and accuracy. From there to the higher one, a term of
    Eq. 1 before its weight, it is `over` if that is the confidence, `under` if the accuracy.
    """
    confidence, accuracy = bins["confidence"].to_numpy(), bins["accuracy"].to_numpy()
    low = np.minimum(confidence, accuracy)
    return {
        "both": (np.zeros_like(low), low),
        "over": (low, np.maximum(confidence, low)),
        "under": (low, np.maximum(accuracy, low)),
    }


def diagram(axis, bins) -> None:
    """Draw the bars of each bin and the diagonal on an axis; no text but for the ticks.

    A line at each bar's accuracy tells which of its ends that is. The labels of the artists are for
    a legend.
    """
    width = _width(bins)
    middle = bins["lower"] + width / 2
    for name, (bottom, top) in parts(bins).items():
        bar = {"color": COLORS[name], "hatch": HATCHES[name], "label": LABELS.get(name)}
        look = {"edgecolor": "white", "linewidth": 0, **bar}
        axis.bar(middle, top - bottom, 0.92 * width, bottom, **look)
    ends = middle - 0.46 * width, middle + 0.46 * width
    line = {"color": "black", "linewidth": 1.2, "label": "accuracy of the bin"}
    axis.hlines(bins["accuracy"], *ends, **line)
    axis.plot([0, 100], [0, 100], label="calibrated", **{**style.DASHED, "zorder": 3})
    axis.set(xlim=(0, 100), ylim=(0, 102), xticks=TICKS, yticks=TICKS)


def shares(axis, bins, confidence: float, accuracy: float) -> None:
    """Draw the percentage of questions in each bin, and lines at the overall means (percent)."""
    width = _width(bins)
    share = 100 * bins["count"] / bins["count"].sum()
    axis.bar(bins["lower"] + width / 2, share, 0.92 * width, color="0.65")
    axis.axvline(confidence, label="mean confidence", color="black", linewidth=0.8)
    axis.axvline(accuracy, label="accuracy", color="black", linewidth=0.9, linestyle=":")
    axis.set(xlim=(0, 100), xticks=TICKS)


def _width(bins) -> float:
    return 100 / len(bins)
