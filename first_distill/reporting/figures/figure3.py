"""Figure 3: are the top-1 token and ranks 2 to 5 over- or under-confident?

Reads each model's ranks.parquet (rank, probability, correct: the five most probable tokens at the
answer position of every question) with the metrics.json beside it. Gap = mean probability -
frequency of being right, in percentage points.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas

from first_distill.calibration.intervals import Estimate
from first_distill.calibration.metrics import DEFAULT_BINS as BINS
from first_distill.calibration.metrics import bin_index
from first_distill.calibration.statistic import (
    Statistic,
    combine,
    mean,
    mean_statistic,
    noise,
    question_weights,
)
from first_distill.files import read_parquet
from first_distill.provenance import records
from first_distill.reporting.figures import style
from first_distill.reporting.names import printed
from first_distill.reporting.output import paired
from first_distill.reporting.runs import read_metrics

POOLED = "all"
NUMBERS = ("mean_probability", "frequency", "gap", "over", "under")


def run(args: argparse.Namespace) -> None:
    """Make Figure 3."""
    models = [
        {**metrics, "by_rank": by_rank(ranks, args.benchmark)}
        for metrics, (ranks, _) in zip(
            read_metrics(args.metrics, args.benchmark),
            paired(args, "ranks", "metrics"),
            strict=True,
        )
    ]
    data = pandas.DataFrame(rank_rows(pandas.DataFrame(models)))
    style.draw_and_publish("figure3", data, draw, args.output_prefix, args.metrics)


def by_rank(ranks: str, benchmark: str) -> list[dict[str, Statistic]]:
    """Return the NUMBERS of one model: of ranks 1 to k, then of 2 to k as one."""
    columns = ["benchmark", "rank", "probability", "correct"]
    table = read_parquet(records.verified(ranks), columns).to_pandas()
    table = table[table["benchmark"] == benchmark].astype({"probability": float, "correct": float})
    probability, correct = (
        np.column_stack([column for _, column in table.groupby("rank")[name]])
        for name in ("probability", "correct")
    )
    n, depth = probability.shape
    parts = [*(slice(rank, rank + 1) for rank in range(depth)), slice(1, depth)]
    weights = question_weights(benchmark, n)
    return [split(probability[:, p], correct[:, p], weights) for p in parts]


def split(
    probability: np.ndarray, correct: np.ndarray, weights: np.ndarray
) -> dict[str, Statistic]:
    """Return NUMBERS in percent.

    probability, correct: (questions, ranks), one pool of pairs; weights: (resamples, questions).
    `over` and `under` split sum_b |B_b|/n |freq - prob| by sign: half of the sum of |gap|, plus or
    minus half of the sum of the gaps.
    """
    by_bin = np.zeros((len(probability), BINS))
    rows = np.arange(len(probability))
    for own, right in zip(probability.T, correct.T, strict=True):
        by_bin[rows, bin_index(own, BINS)] += 100 * (own - right) / probability.shape[1]
    moved = noise(by_bin, weights)
    gaps, still = by_bin.mean(axis=0), np.zeros(len(moved))
    whole = Statistic(gaps, np.ones(BINS), moved, 0.0, still)
    level, frequency = (
        mean_statistic(100 * part.mean(axis=1), weights) for part in (probability, correct)
    )
    gap = combine([(1.0, level), (-1.0, frequency)])
    over, under = (combine([(0.5, whole), (sign, gap)]) for sign in (0.5, -0.5))
    return dict(zip(NUMBERS, (level, frequency, gap, over, under), strict=True))


def rank_rows(models) -> list[dict]:
    """Return a row for each method, family (and their mean `all`) and rank (and `2-5`).

    Intervals are for further questions and, where there are several, seeds and families.
    """
    rows: list[dict] = []
    for _, own in models.groupby("method", sort=False):
        seeds = {family: list(found) for family, found in own.groupby("family")["by_rank"]}
        units = {family: seeds[family] for family in own["family"].unique()}
        units[POOLED] = [_mean(found) for found in units.values()]
        if len(units) == 2:  # one family: its seeds are the units
            units[POOLED] = next(iter(units.values()))
        depth = len(units[POOLED][0]) - 1
        for family, found in units.items():
            group = own[own["family"].eq(family) | (family == POOLED)].to_dict("records")
            first = group[0]
            for at, rank in enumerate([*range(1, depth + 1), f"2-{depth}"]):
                row = {"family": family}
                row |= {name: first[name] for name in ("corpus", "benchmark", "method")}
                row |= {"rank": str(rank), "n": first["n"]}
                numbers = {name: Estimate([one[at][name] for one in found]) for name in NUMBERS}
                row |= {name: number.value for name, number in numbers.items()}
                for name in ("gap", "over", "under"):
                    bound = -100.0 if name == "gap" else 0.0
                    summary = numbers[name].summary(bound)
                    ends = {f"{name}_{end}": summary[end] for end in ("low", "high")}
                    # A half of equal sums differs from 0, and from its own ends, by rounding.
                    exact = {name: row[name], **ends}
                    row |= {key: max(bound, round(number, 9)) for key, number in exact.items()}
                rows.append(row | style.dead_mark(group))
    return rows


def _mean(seeds: list[list[dict[str, Statistic]]]) -> list[dict[str, Statistic]]:
    """The mean over seeds, rank by rank and number by number."""
    return [
        {name: mean([one[at][name] for one in seeds]) for name in NUMBERS}
        for at in range(len(seeds[0]))
    ]


def draw(data):
    """Return the figure: the signed gap by rank; below, its over- and under-confident parts."""
    from matplotlib.legend_handler import HandlerTuple

    single = data[~data["rank"].str.contains("-")]
    methods, ranks = single["method"].unique(), single["rank"].unique()
    size = (style.COLUMN, 3.4)
    figure, (top, bottom) = style.start().subplots(2, 1, figsize=size, sharex=True)
    x, width, shown = np.arange(len(ranks)), 0.8 / len(methods), {}
    for at, (method, i) in enumerate(style.places(methods).items()):
        own = single[single["method"] == method]
        mean = own[own["family"] == POOLED]
        name = printed(method) + style.dead_text(own, " ({})")
        offset = x + (at - (len(methods) - 1) / 2) * width
        errors = [mean["gap"] - mean["gap_low"], mean["gap_high"] - mean["gap"]]
        points = {**style.look(i), "linestyle": "none"}
        marker = top.errorbar(offset, mean["gap"], yerr=errors, capsize=2, **points)
        families = own[own["family"] != POOLED].pivot(index="rank", columns="family", values="gap")
        top.plot(offset + 0.36 * width, families, ".", color=style.COLORS[i], markersize=2.5)
        bar = {"width": 0.9 * width, "color": style.COLORS[i], "hatch": style.HATCHES[i]}
        for part, sign in (("over", 1), ("under", -1)):
            ends = [mean[part] - mean[f"{part}_low"], mean[f"{part}_high"] - mean[part]]
            bars = bottom.bar(offset, sign * mean[part], **bar, edgecolor="white", lw=0)
            ends = ends if sign > 0 else ends[::-1]
            bottom.errorbar(offset, sign * mean[part], yerr=ends, **style.WHISKERS)
        shown[name] = marker, bars
    for axis in (top, bottom):
        axis.axhline(0, color="black", linewidth=0.6)
        axis.margins(y=0.08)
    bottom.set_xticks(x, [f"top {rank}" if rank == "1" else rank for rank in ranks])
    bottom.set_xlabel("Rank of the token in the model's distribution")
    corpus, benchmark = data.iloc[0][["corpus", "benchmark"]].map(printed)
    top.set_title(f"Signed gap, {corpus} → {benchmark} (lines: 95 % interval)")
    top.set_ylabel("Prob. − frequency (points)")
    bottom.set_title("Parts of the ECE (over-confident: above 0)")
    bottom.set_ylabel("ECE (points)")
    count = data["family"].nunique() - 1
    title = f"mean of {count} families (dots: each family)" if count > 1 else None
    options = {"ncols": 3, "title": title, "handler_map": {tuple: HandlerTuple(None)}}
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", **options)
    return figure
