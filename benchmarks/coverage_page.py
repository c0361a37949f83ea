"""The page of `make coverage`, docs/coverage.md, and the rows it is written from."""

from __future__ import annotations

from pathlib import Path

import pandas
from scipy.stats import binom

from benchmarks.power import TEXT as POWER
from first_distill.calibration.intervals import LEVEL
from first_distill.files import read_csv, read_json, write_csv, write_json
from first_distill.reporting.output import page, pipe_table

LEAST = 94.0  # percent
LOWEST = 10  # points shown
# Decimals of the stored rows. Shares of 400 test sets are exact.
DECIMALS = {"truth": 1, "covered": 2, "old": 2, "width": 1, "of the old": 2}
DECIMALS |= {"error": 1, "debiased": 1}
GROUPS = ["seeds", "statistic"]

HEAD = """# Do the intervals cover?

**The problem.** The ECE sums absolute values, so noise pushes it up: on 1,250 answers a perfectly
calibrated model measures about 2 points, and an interval around the measured value misses the
truth.

**The interval.** An interval here is the set of truths that a test does not reject. A truth is made
from the data by moving the bins' gaps until the ECE, the trust or the difference has the value in
question; noise of resampled questions is added, and what was measured must lie within the middle
95 % of what comes out (`first_distill/calibration/intervals.py`). **Debiased** is the truth from
which one would measure more or less with equal probability. Several training seeds (over families:
families) count as a sample of further ones: the error of their mean, times the quantile of t, is
added in squares. With two seeds that quantile is 12.7, and intervals say next to nothing.

It was chosen by simulation. Tried and rejected: percentiles around the measured value; a bootstrap
around shrunken gaps; gaps that all move by the same amount, or in proportion to their length;
degrees of freedom by Welch and Satterthwaite, which covered 87 % with two seeds.

## Findings

{verdict}

{summary}

`old` is the percentile interval over questions, centred on the measured value, that was printed
before; it covers less than {least:g} % in {below} of {rows} cases. `widest / old` is the largest
ratio of the widths.

`make coverage` simulated this in {minutes} minutes with {processes} processes, {count} test sets a
point, so a coverage of 95 % is known to {error:.1f} points (one standard error). Each point has its
own random numbers: of {points} points that cover 95 %, the lowest is expected at {lowest:.1f} %.

**What is simulated.** Confidences are uniform on [0.2, 1] ("spread", eight bins of similar size),
crowded near 1, or uniform on [0.93, 0.97] ("one bin"). A model is over-confident ("over"),
under-confident ("under"), or over-confident above the median confidence and under-confident below
("both"). The truth is Eq. 1 of infinitely many answers, with its ten bins. The second model of a
difference has half of the first one's bias; half of the luck of an answer is the question's. With
several seeds, over-confidence varies between them with a deviation of {deviation:g} points.

All {rows} rows, one for each point and statistic, are in
[coverage.csv](../benchmarks/results/coverage.csv): `n` questions, the `ECE` aimed at, the `truth`
and how often either interval covered it, in percent; the new interval's `width`, in points, and
`of the old`, the ratio of the two; the mean `error` of the measured value and of the `debiased`
one. The {shown} that covered least:"""


def save(path: str, table: pandas.DataFrame, run: dict) -> None:
    """Store the rows as a CSV file, with `run`, what else the page says, as JSON beside it."""
    write_csv(path, table.round(DECIMALS), "%g")
    write_json(Path(path).with_suffix(".json"), run)


def load(path: str) -> tuple[pandas.DataFrame, dict]:
    """The rows and the run of `save`."""
    return read_csv(path), read_json(Path(path).with_suffix(".json"))


def report(table: pandas.DataFrame, run: dict) -> str:
    """The page; `table` has the rows of benchmarks/coverage.py, `run` its size and the claims."""
    points, count = len(table) // table["statistic"].nunique(), run["count"]
    head = HEAD.format(
        verdict=verdict(table, count),
        summary=pipe_table(summary(table), numbers=["", "", "", *[".1f"] * 4, ".2f", ".2f"]),
        **{name: run[name] for name in ("minutes", "processes", "count", "deviation")},
        error=100 * (LEVEL * (1 - LEVEL) / count) ** 0.5,
        points=points,
        lowest=100 * binom.ppf(1 - 0.5 ** (1 / points), count, LEVEL) / count,
        least=LEAST,
        below=int((table["old"] < LEAST).sum()),
        rows=len(table),
        shown=LOWEST,
    )
    low = table.sort_values("covered", kind="stable").head(LOWEST)
    forms = ["", "", "", "", "g", "", *[".1f"] * 4, ".2f", ".1f", ".1f"]
    claims = pipe_table(pandas.DataFrame(run["claims"]))
    text = POWER.format(count=run["tables"])
    low = pipe_table(low, numbers=forms)
    return page(head, low, "## The five claims in simulated tables", text, claims)


def summary(table: pandas.DataFrame) -> pandas.DataFrame:
    """A line for each number of seeds and statistic: means, lowest, and widths."""
    groups, width = table.groupby(GROUPS, sort=False), "of the old"
    found = groups.agg(
        points=("covered", "size"),
        **{"mean coverage": ("covered", "mean"), "lowest": ("covered", "min")},
        **{"mean, old": ("old", "mean"), "lowest, old": ("old", "min")},
        **{"widest / old": (width, "max")},
    )
    large = table[table["ECE"] >= 10].groupby(GROUPS, sort=False)[width].max()
    found["widest / old, ECE from 10 on"] = large
    return found.reset_index()


def verdict(table: pandas.DataFrame, count: int) -> str:
    """Which coverages are below LEAST by more than chance: binomial tests, Bonferroni."""
    hits = (table["covered"] * count / 100).round()
    low = table[binom.cdf(hits, count, LEAST / 100) < (1 - LEVEL) / len(table)]
    tested = f"binomial tests at {1 - LEVEL:.0%}, corrected for {len(table)} comparisons"
    if low.empty:
        return f"**No coverage is below {LEAST:g} % by more than chance** ({tested})."
    names = [
        f"{row.statistic} at n = {row.n}, {row.seeds} seed(s), {row.confidences}, {row.bias}, "
        f"ECE {row.ECE:g} ({row.covered:.1f} %)"
        for row in low.itertuples()
    ]
    return f"**Below {LEAST:g} % by more than chance** ({tested}): {'; '.join(names)}."
