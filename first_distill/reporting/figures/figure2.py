"""Figure 2: how much probability the top k tokens hold, and what storing them costs.

Reads knowledge stores. Its CSV has a row for each store, kind of position and k: `mass_*` (percent
of the teacher's probability), `bytes_per_position` (of a store of the same rows and that k).
Answers with at most five candidates have almost no tail, so `positions` separates them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas

from first_distill.knowledge.store import MANIFEST, KnowledgeStore, store_bytes
from first_distill.models.batching import scored_positions
from first_distill.reporting.figures import style
from first_distill.reporting.names import printed
from first_distill.reporting.output import paired

TICKS = (1, 2, 5, 20, 100)
STEPS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100)
SHARES = {"min": 0, "p5": 0.05, "median": 0.5, "p95": 0.95}
CLAIMED_MASS = 95.0
CLAIMED_K = 5
PAPER_BYTES_PER_ENTRY = 12.0  # 120 TB / (50k x 100k x 2048), its own example


def run(args: argparse.Namespace) -> None:
    """Make Figure 2."""
    stores = paired(args, "stores", "families", "corpora")
    data = pandas.concat([coverage(KnowledgeStore.open(folder), *of) for folder, *of in stores])
    sources = [Path(folder) / MANIFEST for folder in args.stores]
    style.draw_and_publish("figure2", data, draw, args.output_prefix, sources)


def coverage(store: KnowledgeStore, family: str, corpus: str):
    """Return a data frame of each kind of position and k: statistics of the top-k mass (percent).

    `share_over_95` is the percentage of positions whose top k hold at least 95 %.
    """
    cumulative = 100 * np.minimum(np.cumsum(store.probabilities(store.k), axis=1), 1.0)
    kinds = {"all": slice(None), "answer": scored_positions(np.diff(store.offsets), "answer")}
    steps = np.asarray(sorted({k for k in STEPS if k <= store.k} | {store.k}))
    n, vocabulary_size = len(cumulative), store.manifest["vocabulary_size"]
    sizes = [store_bytes(n, len(store), int(k), vocabulary_size) / n for k in steps]
    frames = []
    for kind, positions in kinds.items():
        mass = cumulative[positions][:, steps - 1]
        table = {
            **{"family": family, "corpus": corpus, "positions": kind},
            **{"n_positions": len(mass), "k": steps, "mass_mean": mass.mean(axis=0)},
            "mass_sd": mass.std(axis=0, ddof=1) if len(mass) > 1 else 0.0,
            **{f"mass_{name}": np.quantile(mass, share, axis=0) for name, share in SHARES.items()},
            "share_over_95": 100 * np.mean(mass >= CLAIMED_MASS, axis=0),
            "bytes_per_position": sizes,
        }
        frames.append(pandas.DataFrame(table))
    return pandas.concat(frames)


def draw(data):
    """Return the figure: a panel of mass for each corpus, a line for each family; then bytes."""
    from matplotlib.ticker import LogLocator, NullLocator

    everywhere = data[data["positions"] == "all"]
    panels = everywhere.groupby("corpus", sort=False)
    figure, axes = style.start().subplots(1, len(panels) + 1, figsize=(style.TEXT, 2.0))
    for axis, (corpus, panel) in zip(axes[:-1], panels, strict=True):
        for i, (family, part) in enumerate(panel.groupby("family", sort=False)):
            line = {**style.family_look(i), "markersize": 2.5}
            edge = {**line, "marker": "", "linewidth": 0.6}
            axis.fill_between(part["k"], part["mass_p5"], part["mass_p95"], color="0.9", zorder=0)
            axis.plot(part["k"], part["mass_p5"], **edge)
            axis.plot(part["k"], part["mass_mean"], label=printed(family), **line)
        axis.axhline(CLAIMED_MASS, label="paper: > 95 %", **style.DASHED)
        axis.axvline(CLAIMED_K, label="paper: top 5", **{**style.DASHED, "linestyle": ":"})
        axis.set(title=printed(corpus), ylim=(min(90, everywhere["mass_p5"].min()) - 2, 102))
    axes[0].set_ylabel("Mass of the top $k$ (%)")
    stored = everywhere.groupby("k")["bytes_per_position"].agg(["min", "max", "mean"])
    paper, storage = PAPER_BYTES_PER_ENTRY * stored.index, axes[-1]
    storage.fill_between(stored.index, stored["min"], stored["max"], color="0.8")
    storage.plot(stored["mean"], color="black", marker="h", markersize=2.5, label="knowledge store")
    bytes_each = {**style.DASHED, "linestyle": (0, (6, 1, 1, 1))}
    storage.plot(stored.index, paper, label="paper: 12 bytes an entry", **bytes_each)
    storage.set(title="Storage", yscale="log", ylabel="Bytes per position")
    shown = [axis.get_legend_handles_labels()[0] for axis in (axes[0], storage)]
    figure.legend(handles=sum(shown, []), loc="outside lower center", ncols=4)
    for axis in axes:
        axis.set(xscale="log", xlabel="$k$ (tokens kept)")
        axis.set_xticks([k for k in TICKS if k <= stored.index.max()])
    storage.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for side in (*(axis.xaxis for axis in axes), storage.yaxis):
        side.set_minor_locator(NullLocator())
        side.set_major_formatter("{x:g}")
    return figure
