"""Do the 95 % intervals contain the truth? Simulated answers, the old interval and the new one.

    python -m benchmarks.coverage --rows benchmarks/results/coverage.csv --output docs/coverage.md

A model's confidences are drawn from one of CONFIDENCES; it is right with probability confidence -
bias, the bias one of BIASES, scaled so that the ECE of infinitely many answers is as wanted. The
truth is that of Eq. 1 with its ten bins. `difference`: of two models on the same questions, whose
answers are correlated; the second has half of the first one's bias. With seeds, the bias varies
between them by SEED_DEVIATION points, and the truth is the mean over all seeds.
"""

from __future__ import annotations

import argparse
import os
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas

from benchmarks.coverage_page import load, report, save
from benchmarks.power import EFFECTS, row_of
from first_distill.calibration.intervals import LEVEL, Estimate
from first_distill.calibration.metrics import bin_index
from first_distill.calibration.statistic import Statistic, combine, question_weights, score
from first_distill.files import write_text

QUESTIONS = (500, 1250, 3270)
ECES = (0.0, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0)
SEED_DEVIATION = 3.0
INFINITE = 200_000
METRICS = ("ece", "trust")
CONFIDENCES: dict[str, Callable] = {
    "spread": lambda rng, n: rng.uniform(0.2, 1.0, n),
    "near 1": lambda rng, n: 1.0 - 0.5 * rng.beta(0.5, 6.0, n),
    "one bin": lambda rng, n: rng.uniform(0.93, 0.97, n),
}
BIASES: dict[str, Callable] = {
    "over": lambda confidence, middle: np.ones_like(confidence),
    "under": lambda confidence, middle: -np.ones_like(confidence),
    "both": lambda confidence, middle: np.where(confidence > middle, 1.0, -1.0),
}


class World(NamedTuple):
    """Kinds of confidences and bias, and the bias that gives the wanted ECE."""

    confidences: str
    bias: str
    size: float

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Confidences (n,)."""
        return CONFIDENCES[self.confidences](rng, n)

    def right(self, confidence: np.ndarray, factor: float = 1.0) -> np.ndarray:
        """Probability of being right (n,)."""
        bias = BIASES[self.bias](confidence, _middle(self.confidences))
        return np.clip(confidence - factor * self.size * bias, 0.0, 1.0)

    def truth(self, factor: float = 1.0) -> dict[str, float]:
        """ECE and trust of infinitely many answers, in percent."""
        confidence = _many(self.confidences)
        right = self.right(confidence, factor)
        sums = np.bincount(_bins(self.confidences), confidence - right)
        ece = 100 * float(np.abs(sums).sum()) / INFINITE
        return {"ece": ece, "trust": 100 * float(right.mean()) - ece}


@lru_cache
def _many(kind: str) -> np.ndarray:
    return CONFIDENCES[kind](np.random.default_rng(1), INFINITE)


@lru_cache
def _bins(kind: str) -> np.ndarray:
    return bin_index(_many(kind))


@lru_cache
def _middle(kind: str) -> float:
    return float(np.median(_many(kind)))


def world_of(confidences: str, bias: str, ece: float) -> World:
    """The world whose true ECE is `ece` percent, or as near as it gets."""
    low, high = 0.0, 1.0 if ece else 0.0
    for _ in range(25):
        middle = (low + high) / 2
        reached = World(confidences, bias, middle).truth()["ece"]
        low, high = (middle, high) if reached < ece else (low, middle)
    return World(confidences, bias, high)


def old(estimate: Estimate) -> tuple[float, float]:
    """The centred percentile interval over questions, as it was printed before."""
    draws = estimate.mean.moved(0.0)[1]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    shift = estimate.value - draws.mean()
    return float(low + shift), float(high + shift)


def tables(world: World, n: int, seeds: int, count: int) -> Iterator[tuple[dict, dict]]:
    """({statistic: estimate}, {statistic: truth}) of `count` simulated test sets."""
    # Every point has luck of its own.
    point = zlib.crc32(repr((world, n, seeds)).encode())
    rng = np.random.default_rng([point, count])
    weights = question_weights("coverage", n)
    deviation = SEED_DEVIATION / 100 / max(world.size, 1e-9) if seeds > 1 else 0.0
    factors = 1 + deviation * np.random.default_rng(2).standard_normal(200)
    pairs = [(world.truth(f), world.truth(0.5 * f)) for f in (factors if seeds > 1 else [1.0])]
    truth = {m: float(np.mean([one[m] for one, _ in pairs])) for m in METRICS}
    truth |= {f"{m} difference": float(np.mean([a[m] - b[m] for a, b in pairs])) for m in METRICS}
    for _ in range(count):
        confidence, luck = world.draw(rng, n), rng.random(n)
        units: dict[str, list[Statistic]] = {name: [] for name in truth}
        for _ in range(seeds):
            factor = 1 + deviation * rng.standard_normal()
            both = []
            for share in (1.0, 0.5):
                # Half of the luck is the question's, the same for both models and all seeds.
                own = np.where(rng.random(n) < 0.5, luck, rng.random(n))
                correct = own < world.right(confidence, share * factor)
                both.append(score(confidence, correct, weights))
            for metric in METRICS:
                first, second = (one[metric] for one in both)
                units[metric].append(first)
                units[f"{metric} difference"].append(combine([(1.0, first), (-1.0, second)]))
        yield {name: Estimate(own) for name, own in units.items()}, truth


def points() -> list[tuple]:
    """(questions, seeds, confidences, bias, ECE) of the simulation."""
    kinds, biases = ("spread", "near 1"), ("over", "both")
    found = [(n, 1, c, b, e) for n in QUESTIONS for c in kinds for b in biases for e in ECES]
    # Confidences near 1 leave little room for less of it than right answers.
    others = [("one bin", "over"), *((c, "under") for c in CONFIDENCES)]
    found += [(n, 1, *other, e) for n in QUESTIONS[:2] for other in others for e in (1.0, 2.0)]
    return found + [(1250, s, c, "over", e) for s in (2, 3, 5) for c in kinds for e in (0, 3, 10)]


def rows_at(point: tuple, count: int) -> list[dict]:
    """A row for each statistic at one point of the simulation."""
    n, seeds, confidences, bias, ece = point
    hits: dict[str, list] = {}
    for estimates, truth in tables(world_of(confidences, bias, ece), n, seeds, count):
        for name, estimate in estimates.items():
            new = estimate.summary(0.0 if name == "ece" else -100.0)
            before, value = old(estimate), truth[name]
            inside = new["low"] - 1e-9 <= value <= new["high"] + 1e-9
            width = new["high"] - new["low"], before[1] - before[0]
            was = before[0] <= value <= before[1]
            errors = new["value"] - value, new["debiased"] - value
            hits.setdefault(name, []).append([inside, was, *width, *errors])
    label = {"n": n, "seeds": seeds, "confidences": confidences, "bias": bias, "ECE": ece}
    found = []
    for name, own in hits.items():
        inside, was, width, before, error, debiased = map(float, np.mean(own, axis=0))
        numbers = {"covered": 100 * inside, "old": 100 * was, "width": width}
        numbers |= {"of the old": width / before, "error": error, "debiased": debiased}
        found.append(label | {"statistic": name, "truth": truth[name]} | numbers)
    return found


def main() -> None:
    """Simulate, store the rows, and write the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=400, help="simulated test sets a point")
    options.add_argument("--tables", type=int, default=200, help="simulated tables a line")
    options.add_argument("--processes", type=int, default=os.cpu_count(), help="at a time")
    options.add_argument("--rows", required=True, help="CSV file to write, with a JSON beside it")
    options.add_argument("--output", required=True, help="Markdown page to write")
    args, start = options.parse_args(), time.monotonic()
    with ProcessPoolExecutor(args.processes) as pool:
        power = pool.map(row_of, EFFECTS, [args.tables] * len(EFFECTS))
        found, where = [], points()
        for done, rows in enumerate(pool.map(rows_at, where, [args.count] * len(where)), 1):
            print(f"{done} of {len(where)} points:", rows[0], flush=True)
            found += rows
        run = {"minutes": round((time.monotonic() - start) / 60), "processes": args.processes}
        run |= {"count": args.count, "tables": args.tables, "deviation": SEED_DEVIATION}
        run |= {"claims": list(power)}
    save(args.rows, pandas.DataFrame(found), run)
    write_text(args.output, report(*load(args.rows)))


if __name__ == "__main__":
    main()
