"""Figure 3: are the top-1 token and ranks 2 to 5 over- or under-confident?

Reads each model's ranks.parquet (columns rank, probability, correct: the five most probable tokens
at the answer position of every question) with the metrics.json beside it; writes figure3.pdf, .png
and .csv. Gap = mean probability - frequency of being right, in percentage points.
"""

from __future__ import annotations

import argparse

import numpy as np

from scripts.first.calibration.intervals import interval, question_weights
from scripts.first.calibration.metrics import DEFAULT_BINS as BINS
from scripts.first.calibration.metrics import bin_index
from scripts.first.errors import UserError
from scripts.first.files import read_parquet
from scripts.first.provenance import records
from scripts.first.reporting.figures.style import MARKERS, TEXT, panel_letter, save, start
from scripts.first.reporting.names import (
    ONE_ANSWER,
    dataset_name,
    dead_mark,
    family_name,
    is_dead,
    method_name,
)
from scripts.first.reporting.sealing import FIGURE, seal

LOWER_RANKS = "2-5"
POOLED = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts figure3`."""
    parser.add_argument("--ranks", nargs="+", required=True, help="ranks.parquet of each model")
    parser.add_argument("--metrics", nargs="+", required=True, help="metrics.json, same order")
    parser.add_argument("--methods", nargs="+", default=["teacher", "finetune", "distill"])
    parser.add_argument("--output-prefix", required=True, help="path without .pdf, .png, .csv")


def run(args: argparse.Namespace) -> None:
    """Make Figure 3."""
    import pandas

    if len(args.ranks) != len(args.metrics):
        raise UserError(
            f"{len(args.ranks)} files for --ranks but {len(args.metrics)} for --metrics: figure3: "
            "give one metrics.json for each ranks.parquet"
        )
    models = [load(ranks, metrics) for ranks, metrics in zip(args.ranks, args.metrics, strict=True)]
    data = pandas.DataFrame(rank_rows(models, args.methods))
    save(draw(data), data, args.output_prefix)
    seal(args.output_prefix, "figure3", FIGURE, args.metrics)


def load(ranks: str, metrics: str) -> dict:
    """Return a model's labels with `probability` and `correct` as (questions, ranks) arrays."""
    table = read_parquet(records.verified(ranks), columns=["rank", "probability", "correct"])
    rank = table["rank"].to_numpy()
    depth = int(rank.max(initial=0))
    expected = np.tile(np.arange(1, depth + 1), len(rank) // max(depth, 1))
    if not np.array_equal(rank, expected) or not depth:
        raise UserError(f"ranks out of order: {ranks}: 1 .. k are due for every question in turn")
    labels = records.read(metrics)
    return {
        **{name: labels[name] for name in ("family", "corpus", "method", "seed", "benchmark")},
        **dead_mark([labels]),
        "probability": table["probability"].to_numpy().reshape(-1, depth).astype(np.float64),
        "correct": table["correct"].to_numpy().astype(np.float64).reshape(-1, depth),
    }


def rank_rows(models: list[dict], methods: list[str]) -> list[dict]:
    """Return a row for each family (and their mean `all`), method and rank (and `2-5`).

    Seeds are averaged; intervals resample questions. `2-5` treats all ranks below the first as one
    pool of (probability, right) pairs.
    """
    rows: list[dict] = []
    families = list(dict.fromkeys(model["family"] for model in models))
    for method in methods:
        own = [model for model in models if model["method"] == method]
        if not own:
            raise UserError(
                f"method {method}: figure3: none of the --ranks files is of this method"
            )
        results = {
            family: _family([model for model in own if model["family"] == family])
            for family in families
            if any(model["family"] == family for model in own)
        }
        results[POOLED] = _average(list(results.values()))
        for family, by_rank in results.items():
            for rank, value in by_rank.items():
                rows.append(
                    {
                        "family": family,
                        "corpus": own[0]["corpus"],
                        "benchmark": own[0]["benchmark"],
                        "method": method,
                        "rank": rank,
                        "n": value["n"],
                        **{name: float(value[name][0]) for name in NUMBERS},
                        **_bounds(value),
                        **dead_mark([m for m in own if family in (POOLED, m["family"])]),
                    }
                )
    return rows


NUMBERS = ("mean_probability", "frequency", "gap", "over", "under")


def _bounds(value: dict) -> dict[str, float]:
    bounds = {}
    for name in ("gap", "over", "under"):
        bounds[f"{name}_low"], bounds[f"{name}_high"] = interval(value[name][0], value[name][1:])
        bounds[f"{name}_low"] = max(bounds[f"{name}_low"], 0.0 if name != "gap" else -100.0)
    return bounds


def _family(models: list[dict]) -> dict[str, dict]:
    return _average([_one_model(model) for model in models])


def _average(parts: list[dict[str, dict]]) -> dict[str, dict]:
    return {
        rank: {
            "n": parts[0][rank]["n"],
            **{name: np.mean([part[rank][name] for part in parts], axis=0) for name in NUMBERS},
        }
        for rank in parts[0]
    }


def _one_model(model: dict) -> dict[str, dict]:
    probability, correct = model["probability"], model["correct"]
    weights = question_weights(model["benchmark"], len(probability))
    ranks = {str(r + 1): [r] for r in range(probability.shape[1])}
    ranks[f"2-{probability.shape[1]}"] = list(range(1, probability.shape[1]))
    return {
        rank: _rank(probability[:, chosen], correct[:, chosen], weights)
        for rank, chosen in ranks.items()
        if chosen
    }


def _rank(probability: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> dict:
    """Split sum_b |B_b|/n |freq - prob| by sign, for the questions and for each resample."""
    total = weights.sum(axis=1) * probability.shape[1]
    by_bin = np.zeros((len(probability), BINS))
    rows = np.arange(len(probability))
    for column in range(probability.shape[1]):
        bins = bin_index(probability[:, column], BINS)
        by_bin[rows, bins] += probability[:, column] - correct[:, column]
    signed = 100 * (weights @ by_bin) / total[:, None]
    mean = 100 * (weights @ probability.sum(axis=1)) / total
    frequency = 100 * (weights @ correct.sum(axis=1)) / total
    return {
        "n": len(probability),
        "mean_probability": mean,
        "frequency": frequency,
        "gap": mean - frequency,
        "over": np.maximum(signed, 0).sum(axis=1),
        "under": np.maximum(-signed, 0).sum(axis=1),
    }


def draw(data):
    """Return the figure: the signed gap by rank, and its over- and under-confident parts."""
    palette = start()
    import matplotlib.pyplot as plt

    methods = list(data["method"].unique())
    ranks = [rank for rank in data["rank"].unique() if "-" not in rank]
    figure, (left, right) = plt.subplots(1, 2, figsize=(TEXT, 2.6))
    width = 0.8 / len(methods)
    x = np.arange(len(ranks))
    for i, method in enumerate(methods):
        own = data[data["method"] == method]
        offset = x + (i - (len(methods) - 1) / 2) * width
        mean = own[own["family"] == POOLED].set_index("rank").loc[ranks]
        errors = np.abs(np.vstack([mean["gap"] - mean["gap_low"], mean["gap_high"] - mean["gap"]]))
        style = {"color": palette[i], "marker": MARKERS[i], "linestyle": "none"}
        name = method_name(method) + (f" ({ONE_ANSWER})" if is_dead(own) else "")
        left.errorbar(offset, mean["gap"], yerr=errors, capsize=2, label=name, **style)
        for family in own["family"].unique():
            part = own[own["family"] == family].set_index("rank").loc[ranks]
            if family != POOLED:
                left.plot(offset, part["gap"], "_", color=palette[i], alpha=0.6, markersize=5)
        hatch = ("", "////", "....", "xxxx")[i % 4]
        bar = {"width": width * 0.9, "edgecolor": "black", "linewidth": 0.5, "hatch": hatch}
        right.bar(offset, mean["over"], color=palette[i], label=name, **bar)
        right.bar(offset, -mean["under"], color=palette[i], **bar)
    for axis in (left, right):
        axis.axhline(0, color="black", linewidth=0.7)
        axis.set_xticks(x, [f"top {rank}" if rank == "1" else rank for rank in ranks])
        axis.set_xlabel("Rank of the token in the model's distribution")
        axis.margins(y=0.12)
    low, high = right.get_ylim()
    right.text(0.99, 0.98, "over-confident", ha="right", va="top", transform=right.transAxes)
    right.text(0.99, 0.02, "under-confident", ha="right", va="bottom", transform=right.transAxes)
    right.set_ylim(low - 0.08 * (high - low), high)
    left.set_ylabel("Probability − frequency (points)")
    right.set_ylabel("Part of the calibration error (points)")
    families = [family_name(f) for f in data["family"].unique() if f != POOLED]
    corpus, benchmark = data.iloc[0][["corpus", "benchmark"]].map(dataset_name)
    panel_letter(left, "a", f"Signed gap, {corpus} → {benchmark} (bars: 95 %)")
    panel_letter(right, "b", "Over- and under-confident parts")
    left.legend(
        title=f"mean of {len(families)} families\n(dash: one family)" if len(families) > 1 else None
    )
    right.legend(loc="center right", bbox_to_anchor=(1.0, 0.7))
    return figure
