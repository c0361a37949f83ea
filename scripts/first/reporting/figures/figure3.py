"""Figure 3: are the top-1 token and ranks 2 to 5 over- or under-confident?

Reads each model's ranks.parquet (columns rank, probability, correct: the five most probable tokens
at the answer position of every question) with the metrics.json beside it; writes figure3.pdf, .png
and .csv. Gap = mean probability - frequency of being right, in percentage points.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np

from scripts.first.calibration.intervals import interval, question_weights
from scripts.first.calibration.metrics import DEFAULT_BINS as BINS
from scripts.first.calibration.metrics import bin_index
from scripts.first.errors import UserError
from scripts.first.files import read_parquet
from scripts.first.provenance import records
from scripts.first.reporting.figures import style
from scripts.first.reporting.names import dataset_name, method_name
from scripts.first.reporting.options import paired
from scripts.first.reporting.runs import metrics_on

POOLED = "all"
NUMBERS = ("mean_probability", "frequency", "gap", "over", "under")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `artifacts figure3`."""
    parser.add_argument("--ranks", nargs="+", required=True, help="ranks.parquet of each model")
    parser.add_argument("--metrics", nargs="+", required=True, help="metrics.json, same order")
    parser.add_argument("--benchmark", required=True, help="the benchmark to show, e.g. csqa")
    parser.add_argument("--methods", nargs="+", default=["teacher", "finetune", "distill"])
    parser.add_argument("--output-prefix", required=True, help="path without .pdf, .png, .csv")


def run(args: argparse.Namespace) -> None:
    """Make Figure 3."""
    models = [load(*pair, args.benchmark) for pair in paired(args, "ranks", "metrics")]
    rows = rank_rows(models, args.methods)
    style.publish("figure3", rows, draw, args.output_prefix, args.metrics)


def load(ranks: str, metrics: str, benchmark: str) -> dict:
    """Return a model's labels with `probability` and `correct` as (questions, ranks) arrays."""
    columns = ["benchmark", "rank", "probability", "correct"]
    table = read_parquet(records.verified(ranks), columns=columns)
    table = table.take(np.flatnonzero(np.asarray(table["benchmark"].to_pylist()) == benchmark))
    rank = table["rank"].to_numpy()
    depth = int(rank.max(initial=0))
    expected = np.tile(np.arange(1, depth + 1), len(rank) // max(depth, 1))
    if not np.array_equal(rank, expected) or not depth:
        raise UserError(f"ranks out of order: {ranks}: 1 .. k are due for every question in turn")
    labels = metrics_on(metrics, benchmark)
    return {
        **{name: labels[name] for name in ("family", "corpus", "method", "seed", "benchmark")},
        **style.dead_mark([labels]),
        "probability": table["probability"].to_numpy().reshape(-1, depth).astype(np.float64),
        "correct": table["correct"].to_numpy().astype(np.float64).reshape(-1, depth),
    }


def rank_rows(models: list[dict], methods: list[str]) -> list[dict]:
    """Return a row for each family (and their mean `all`), method and rank (and `2-5`).

    Seeds are averaged; intervals resample questions. `2-5` treats all ranks below the first as one
    pool of (probability, right) pairs.
    """
    rows: list[dict] = []
    for method in methods:
        own = [model for model in models if model["method"] == method]
        if not own:
            raise UserError(
                f"method {method}: figure3: none of the --ranks files is of this method"
            )
        groups = {
            family: [model for model in own if model["family"] == family]
            for family in dict.fromkeys(model["family"] for model in own)
        }
        results = {family: _mean(map(_by_rank, group)) for family, group in groups.items()}
        results[POOLED] = _mean(results.values())
        for family, by_rank in results.items():
            group = groups.get(family, own)
            for rank, values in by_rank.items():
                numbers = dict(zip(NUMBERS, values, strict=True))
                row = {"family": family, "corpus": own[0]["corpus"]}
                row |= {"benchmark": own[0]["benchmark"], "method": method, "rank": rank}
                row |= {"n": len(group[0]["probability"])}
                row |= {name: float(number[0]) for name, number in numbers.items()}
                for name in ("gap", "over", "under"):
                    low, high = interval(numbers[name][0], numbers[name][1:])
                    lowest = -100.0 if name == "gap" else 0.0
                    row |= {f"{name}_low": max(low, lowest), f"{name}_high": high}
                rows.append(row | style.dead_mark(group))
    return rows


def _mean(parts: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    parts = list(parts)
    return {rank: np.mean([part[rank] for part in parts], axis=0) for rank in parts[0]}


def _by_rank(model: dict) -> dict[str, np.ndarray]:
    """{rank: (numbers, 1 + resamples)} of one model, the numbers as in NUMBERS."""
    probability, correct = model["probability"], model["correct"]
    weights = question_weights(model["benchmark"], len(probability))
    depth = probability.shape[1]
    ranks = {str(r + 1): [r] for r in range(depth)}
    if depth > 1:
        ranks[f"2-{depth}"] = list(range(1, depth))
    return {
        rank: _numbers(probability[:, chosen], correct[:, chosen], weights)
        for rank, chosen in ranks.items()
    }


def _numbers(probability: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """NUMBERS in percent, for the questions and for each resample of them.

    probability, correct: (questions, ranks); weights: (1 + resamples, questions). `over` and
    `under` split sum_b |B_b|/n |freq - prob| by sign.
    """
    total = weights.sum(axis=1) * probability.shape[1]
    by_bin = np.zeros((len(probability), BINS))
    rows = np.arange(len(probability))
    for column in range(probability.shape[1]):
        bins = bin_index(probability[:, column], BINS)
        by_bin[rows, bins] += probability[:, column] - correct[:, column]
    signed = 100 * (weights @ by_bin) / total[:, None]
    mean = 100 * (weights @ probability.sum(axis=1)) / total
    frequency = 100 * (weights @ correct.sum(axis=1)) / total
    over, under = (np.maximum(sign * signed, 0).sum(axis=1) for sign in (1, -1))
    return np.stack([mean, frequency, mean - frequency, over, under])


def draw(data):
    """Return the figure: the signed gap by rank, and its over- and under-confident parts."""
    methods = list(data["method"].unique())
    ranks = [rank for rank in data["rank"].unique() if "-" not in rank]
    figure, (left, right) = style.start().subplots(1, 2, figsize=(style.TEXT, 2.6))
    width = 0.8 / len(methods)
    x = np.arange(len(ranks))
    for i, method in enumerate(methods):
        own = data[(data["method"] == method) & data["rank"].isin(ranks)]
        name = method_name(method) + style.dead_text(own, " ({})")
        offset = x + (i - (len(methods) - 1) / 2) * width
        parts = dict(list(own.groupby("family")))
        mean = parts.pop(POOLED)
        errors = [mean["gap"] - mean["gap_low"], mean["gap_high"] - mean["gap"]]
        points = {**style.look(i), "linestyle": "none", "label": name}
        left.errorbar(offset, mean["gap"], yerr=errors, capsize=2, **points)
        for part in parts.values():
            left.plot(offset, part["gap"], "_", color=f"C{i}", alpha=0.6, markersize=5)
        bar = {"width": width * 0.9, "edgecolor": "black", "linewidth": 0.5, "color": f"C{i}"}
        bar["hatch"] = ("", "////", "....", "xxxx")[i % 4]
        right.bar(offset, mean["over"], label=name, **bar)
        right.bar(offset, -mean["under"], **bar)
    for axis in (left, right):
        axis.axhline(0, color="black", linewidth=0.7)
        axis.set_xticks(x, [f"top {rank}" if rank == "1" else rank for rank in ranks])
        axis.set_xlabel("Rank of the token in the model's distribution")
        axis.margins(y=0.12)
    low, high = right.get_ylim()
    right.set_ylim(low - 0.08 * (high - low), high)
    style.note(right, 0.99, 0.98, "over-confident", ha="right", va="top", fontsize=8)
    style.note(right, 0.99, 0.02, "under-confident", ha="right", va="bottom", fontsize=8)
    left.set_ylabel("Probability − frequency (points)")
    right.set_ylabel("Part of the calibration error (points)")
    families = data["family"].nunique() - 1
    corpus, benchmark = data.iloc[0][["corpus", "benchmark"]].map(dataset_name)
    style.title(left, "a", f"Signed gap, {corpus} → {benchmark} (bars: 95 %)")
    style.title(right, "b", "Over- and under-confident parts")
    legend = f"mean of {families} families\n(dash: one family)" if families > 1 else None
    left.legend(title=legend)
    right.legend(loc="center right", bbox_to_anchor=(1.0, 0.7))
    return figure
