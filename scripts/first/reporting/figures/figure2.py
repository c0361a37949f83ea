"""Figure 2: how much probability the top k tokens hold, and what storing them costs.

Reads knowledge stores; writes figure2.pdf, .png and .csv. The CSV has one row for each store, kind
of position and k: `mass_*` in percent of the teacher's probability, `bytes_per_position` that of a
store of the same rows and that k. The tail of CSQA and BoolQ is small almost by construction: their
answers have at most five candidates, so `positions` distinguishes answers from the rest.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from scripts.first.errors import UserError
from scripts.first.knowledge.store import MANIFEST, KnowledgeStore, store_bytes
from scripts.first.models.batching import scored_positions
from scripts.first.reporting.figures.style import LINES, MARKERS, PAPER_LINE, TEXT, save, start
from scripts.first.reporting.names import dataset_name, family_name
from scripts.first.reporting.sealing import FIGURE, seal

STEPS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100)
CLAIMED_MASS = 95.0
CLAIMED_K = 5
PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
PAPER_BYTES_PER_ENTRY = 12.0  # 120 TB / (50k x 100k x 2048), its own example


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts figure2`."""
    parser.add_argument("--stores", nargs="+", required=True, help="folders of knowledge stores")
    parser.add_argument("--families", nargs="+", required=True, help="one for each store")
    parser.add_argument("--corpora", nargs="+", required=True, help="one for each store")
    parser.add_argument("--output-prefix", required=True, help="path without .pdf, .png, .csv")


def run(args: argparse.Namespace) -> None:
    """Make Figure 2."""
    import pandas

    if not len(args.stores) == len(args.families) == len(args.corpora):
        raise UserError(
            f"{len(args.stores)} stores, {len(args.families)} families, {len(args.corpora)} "
            "corpora: figure2: give one family and one corpus for each store"
        )
    rows = []
    for folder, family, corpus in zip(args.stores, args.families, args.corpora, strict=True):
        rows += coverage(KnowledgeStore.open(folder), family, corpus)
    data = pandas.DataFrame(rows)
    save(draw(data), data, args.output_prefix)
    sources = [Path(folder) / MANIFEST for folder in args.stores]
    seal(args.output_prefix, "figure2", FIGURE, sources)


def coverage(store: KnowledgeStore, family: str, corpus: str) -> list[dict]:
    """Return one row for each kind of position and k: statistics of the cumulative mass (percent).

    `share_over_95` is the percentage of positions whose top k hold at least 95 %.
    """
    cumulative = 100 * np.minimum(np.cumsum(store.probabilities(store.k), axis=1), 1.0)
    kinds = {"all": slice(None), "answer": scored_positions(np.diff(store.offsets), "answer")}
    steps = sorted({k for k in STEPS if k <= store.k} | {store.k})
    n, vocabulary_size = len(cumulative), store.manifest["vocabulary_size"]
    stored = {k: store_bytes(n, len(store), k, vocabulary_size) / n for k in steps}
    rows = []
    for kind, positions in kinds.items():
        chosen = cumulative[positions]
        for k in steps:
            mass = chosen[:, k - 1]
            low, middle, high = np.quantile(mass, [0.05, 0.5, 0.95])
            rows.append(
                {
                    "family": family,
                    "corpus": corpus,
                    "positions": kind,
                    "n_positions": len(mass),
                    "k": k,
                    "mass_mean": mass.mean(),
                    "mass_sd": mass.std(ddof=1) if len(mass) > 1 else 0.0,
                    "mass_min": mass.min(),
                    "mass_p5": low,
                    "mass_median": middle,
                    "mass_p95": high,
                    "share_over_95": 100 * np.mean(mass >= CLAIMED_MASS),
                    "bytes_per_position": stored[k],
                }
            )
    return rows


def draw(data):
    """Return the figure: a panel of mass for each corpus, a line for each family; then bytes."""
    palette = start()
    import matplotlib.pyplot as plt

    corpora, families = list(data["corpus"].unique()), list(data["family"].unique())
    figure, axes = plt.subplots(1, len(corpora) + 1, figsize=(TEXT, 2.3))
    everywhere = data[data["positions"] == "all"]
    floor = min(CLAIMED_MASS, everywhere["mass_p5"].min())
    floor = max(0.0, math.floor(floor - 0.06 * (100 - floor)))
    for axis, letter, corpus in zip(axes, "abcdefgh", corpora, strict=False):
        for i, family in enumerate(families):
            part = everywhere[(everywhere["corpus"] == corpus) & (everywhere["family"] == family)]
            axis.fill_between(
                part["k"], part["mass_p5"], part["mass_p95"], color=palette[i], alpha=0.15, lw=0
            )
            axis.plot(
                part["k"],
                part["mass_mean"],
                color=palette[i],
                marker=MARKERS[i],
                linestyle=LINES[i % len(LINES)],
                label=family_name(family),
            )
        axis.axhline(CLAIMED_MASS, **PAPER_LINE)
        axis.axvline(CLAIMED_K, **{**PAPER_LINE, "linestyle": ":"})
        axis.set_ylim(floor, 100.0 + 0.03 * (100 - floor))
        axis.set_title(f"({letter}) {dataset_name(corpus)}", loc="left")
        _log_k(axis, sorted(everywhere["k"].unique()))
        if axis is not axes[0]:
            axis.tick_params(labelleft=False)
    axes[0].set_ylabel("Mass of the top $k$ (%)")
    axes[0].legend(loc="lower right", handlelength=2.6, borderaxespad=0.2)
    note = "dashed, dotted: the paper's\n> 95 % for the top 5\nband: 5 % to 95 %\nof positions"
    where = axes[1] if len(corpora) > 1 else axes[0]
    height = 0.04 if len(corpora) > 1 else 0.4
    where.text(0.98, height, note, ha="right", fontsize=7, transform=where.transAxes, bbox=PLATE)
    _draw_bytes(axes[-1], everywhere, "abcdefgh"[len(corpora)])
    return figure


def _draw_bytes(axis, data, letter: str) -> None:
    from matplotlib import ticker

    stored = data.groupby("k")["bytes_per_position"].agg(["min", "max", "mean"]).reset_index()
    axis.fill_between(stored["k"], stored["min"], stored["max"], color="0.8", lw=0)
    label = "knowledge store\n(grey: range)"
    axis.plot(stored["k"], stored["mean"], color="black", marker="o", markersize=3, label=label)
    ks = np.array(sorted(stored["k"]), dtype=float)
    axis.plot(ks, PAPER_BYTES_PER_ENTRY * ks, **PAPER_LINE, label="paper: 12 B\nan entry")
    axis.set_yscale("log")
    axis.set_title(f"({letter}) Storage", loc="left")
    axis.set_ylabel("Bytes per position")
    axis.legend(loc="upper left", handlelength=2.2, borderaxespad=0.2)
    axis.set_ylim(top=axis.get_ylim()[1] * 3)
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_locator(ticker.NullLocator())
    _log_k(axis, ks)


def _log_k(axis, ks) -> None:
    from matplotlib import ticker

    axis.set_xscale("log")
    shown = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= max(ks)]
    axis.xaxis.set_major_locator(ticker.FixedLocator(shown))
    axis.xaxis.set_major_formatter(ticker.FixedFormatter([str(k) for k in shown]))
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.set_xlabel("$k$ (tokens kept)")
