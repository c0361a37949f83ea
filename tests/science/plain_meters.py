"""The meters read off their definitions, by loops over pairs (confidence, correct); fractions."""

import math
import statistics

Pairs = list[tuple[float, bool]]


def smoothed(pairs: Pairs, bandwidth: float, points: int = 1000) -> float:
    """Smooth ECE of one bandwidth: a sum over the Gaussian's mirror images, midpoint rule."""
    bell = statistics.NormalDist(0, bandwidth).pdf
    images = [
        (2 * turn + side * p, (hit - p) / len(pairs))
        for p, hit in pairs
        for turn in (-2, -1, 0, 1, 2)
        for side in (-1, 1)
    ]
    middles = [(i + 0.5) / points for i in range(points)]
    return sum(abs(sum(r * bell(t - at) for at, r in images)) for t in middles) / points


def smooth_ece(pairs: Pairs) -> float:
    """The bandwidth that equals its smooth ECE, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if smoothed(pairs, middle, 400) > middle else (low, middle)
    return (low + high) / 2


def auroc(pairs: Pairs) -> float:
    """Share of pairs of a right and a wrong answer in which the right one has more confidence."""
    right, wrong = ([p for p, hit in pairs if hit is kind] for kind in (True, False))
    wins = sum((a > b) + (a == b) / 2 for a in right for b in wrong)
    return wins / (len(right) * len(wrong))


def aurc(pairs: Pairs) -> float:
    """Each error's weight in the mean over coverages: Zhou et al. (2024), by harmonic sums."""
    n = len(pairs)
    weight = [sum(1 / i for i in range(rank, n + 1)) / n for rank in range(1, n + 1)]
    total = 0.0
    for level in {p for p, _ in pairs}:
        above, tied = sum(p > level for p, _ in pairs), sum(p == level for p, _ in pairs)
        errors = sum(p == level and not hit for p, hit in pairs)
        total += errors * math.fsum(weight[above : above + tied]) / tied
    return total


def excess_aurc(pairs: Pairs) -> float:
    """AURC less that of an oracle's order."""
    return aurc(pairs) - aurc([(float(hit), hit) for _, hit in pairs])
