"""Claims on the teacher's knowledge: the temperature c, the top five tokens and their ranks."""

from __future__ import annotations

import math

from first_distill.reporting.claims.verdicts import (
    DIGITS,
    FAILS,
    HOLDS,
    UNDECIDED,
    Evidence,
    counted,
    decide,
    entry,
    rounded,
)
from first_distill.reporting.names import printed

NEAR_BEST = 0.01  # ECE on about a thousand rows is noisy by one to two points
TOP_K, CLAIMED_MASS = 5, 95.0
NORMAL = 1.959963984540054
CHOICE_TEST = (
    "each choice {}; outside it the claim fails, unless a c inside has an ECE within "
    f"{100 * NEAR_BEST:g} point of the best (undecided)"
)
COVERAGE_NOTE = (
    "A question with at most five candidates fits into five tokens almost by construction: "
    "only the instruction corpus tests the claim."
)
CLAIMS = {  # id: (claim, test, number of a cell whose range is reported, its unit, note)
    "c_around_0.3": (
        "The lowest validation ECE of the coarse search (steps of 0.1) is at c = 0.3 "
        "(the paper's example).",
        CHOICE_TEST.format("is 0.3"),
        *("c", "c", ""),
    ),
    "c_between_0.2_and_0.4": (
        "The chosen c lies between 0.2 and 0.4 for every teacher and corpus.",
        CHOICE_TEST.format("lies in [0.2, 0.4]"),
        *("c", "c", ""),
    ),
    "c_1_compresses": (
        "c = 1 dramatically compresses the top-1 probability.",
        "mean top-1 probability on validation at c = 1 is less than half of the teacher's own",
        *("c = 1", "percent"),
        "Arithmetic: with five tokens Eq. 4 at c = 1 gives at most 0.4046, whatever the "
        "teacher says.",
    ),
    "teacher_over_confident_on_validation": (
        "The fine-tuned teacher is over-confident on the validation split, so that there is "
        "something to recalibrate.",
        "mean top-1 probability minus accuracy (points), binomial 95 % interval: above 0 holds",
        *("value", "points", ""),
    ),
    "top5_mass": (
        "The top five tokens hold more than 95 % of the probability on average.",
        "mean top-5 mass over supervised training positions (%), normal 95 % interval "
        "(positions taken as independent): above 95 holds",
        *("value", "percent", COVERAGE_NOTE),
    ),
    "short_tail": (
        "Little is left for the tail: what lies beyond the top five tokens is negligible.",
        "share of positions (%) whose top-5 mass is at least 95 %: above 95 holds",
        *("value", "percent", COVERAGE_NOTE),
    ),
    "concentrated_knowledge": (
        "The top-1 token is over-confident while ranks 2 to 5 are under-confident, in the "
        "teacher, the fine-tuned and the distilled student.",
        "mean probability minus frequency (points), interval over questions: rank 1 above 0 "
        "and each of ranks 2 to 5 below 0, for each model",
        *("", "", ""),
    ),
}


def _claim(name: str, cells: list[dict], covered: list[dict] | None = None) -> dict:
    """A claim judged cell by cell; covered: rows that name its families and corpora.

    It holds when all cells hold, and fails when one fails; undecided otherwise, and when at least
    half of the cells have an `obstacle`.
    """
    text, test, ranged, unit, note = CLAIMS[name]
    verdicts = [cell["verdict"] for cell in cells]
    stopped = [cell["obstacle"] for cell in cells if cell.get("obstacle")]
    verdict = FAILS if FAILS in verdicts else HOLDS if set(verdicts) == {HOLDS} else UNDECIDED
    found = {
        "verdict": UNDECIDED if stopped and 2 * len(stopped) >= len(cells) else verdict,
        "reason": "; ".join([f"cells: {counted(verdicts) or 'no data'}", *sorted(set(stopped))]),
        "numbers": {"cells": cells},
    }
    if cells and ranged:
        numbers = [round(float((cell | cell.get("shown", {}))[ranged]), DIGITS) for cell in cells]
        ends = [min(numbers), max(numbers)]
        found["numbers"] = {"range": ends, "unit": unit, "cells": cells}
    families, corpora = (
        ", ".join(dict.fromkeys(printed(row[label]) for row in covered or cells))
        for label in ("family", "corpus")
    )
    scope = f"{corpora}; teachers of {families}" if families else "no data"
    return entry(name, text, test, found, scope, note)


def teacher_obstacles(evidence: Evidence) -> dict[tuple[str, str], str]:
    """Return why a (family, corpus) decides nothing: its teacher is at chance on that corpus.

    Judged in-domain only: a search on response tokens does not involve lettered questions.
    """
    return {
        (place.family, place.corpus): reason
        for place in evidence.places
        if place.domain == "in_domain" and evidence.runs(place, "teacher")
        if (reason := evidence.obstacle(place, ("teacher",)))
    }


def temperature_claims(searches: list[dict], obstacles: dict[tuple[str, str], str]) -> list[dict]:
    """Return the claims on c, from the searches and the `teacher_obstacles`."""
    cells: dict[str, list[dict]] = {}
    for search in searches:
        family, corpus, chosen = search["family"], search["corpus"], search["selected"]
        coarse, n, accuracy = search["coarse"], chosen["n"], chosen["accuracy"]
        own = chosen["teacher_confidence"]
        at_one = next(p["confidence"] for p in coarse if abs(p["c"] - 1) < 1e-9)
        gap, half = 100 * (own - accuracy), 100 * _half_width(accuracy, n)
        found = {
            "c_between_0.2_and_0.4": _choice(chosen, "c", 0.2, 0.4, coarse + search["refined"]),
            "c_1_compresses": {
                "verdict": HOLDS if at_one < own / 2 else FAILS,
                "shown": {"teacher": 100 * own, "c = 1": 100 * at_one},
            },
            "teacher_over_confident_on_validation": {
                **rounded({"value": gap, "low": gap - half, "high": gap + half}),
                "teacher_ece": 100 * chosen["teacher_ece"],
                "verdict": decide(gap - half, gap + half, 0, above=True),
            },
        }
        if corpus == "csqa" or all(search["corpus"] != "csqa" for search in searches):
            around = {"c_around_0.3": _choice(chosen, "coarse_c", 0.3, 0.3, coarse)}
            found = around | found
        for name, cell in found.items():
            if reason := obstacles.get((family, corpus)):
                cell |= {"verdict": UNDECIDED, "obstacle": cell.get("obstacle") or reason}
            cells.setdefault(name, []).append({"family": family, "corpus": corpus, "n": n} | cell)
    return [_claim(name, cells[name]) for name in CLAIMS if name in cells]


def _choice(chosen: dict, key: str, low: float, high: float, points: list[dict]) -> dict:
    best = min(point["ece"] for point in points)
    near = [point["c"] for point in points if point["ece"] <= best + NEAR_BEST]
    inside = [low - 1e-9 <= c <= high + 1e-9 for c in (chosen[key], *near)]
    verdict = HOLDS if inside[0] else UNDECIDED if any(inside) else FAILS
    return {
        "shown": {"c": chosen[key], "near-best from": min(near), "to": max(near)},
        "verdict": UNDECIDED if chosen["at_edge"] else verdict,
        "obstacle": "the chosen c lies at the edge of the grid" if chosen["at_edge"] else None,
    }


def _half_width(share: float, n: int) -> float:
    """Half the normal 95 % interval of a share of n."""
    return NORMAL * math.sqrt(share * (1 - share) / n)


def coverage_claims(figure2) -> list[dict]:
    """Return the claims on the top five tokens' mass, from the data of Figure 2."""
    cells: dict[str, list[dict]] = {"top5_mass": [], "short_tail": []}
    rows = figure2[(figure2["positions"] == "all") & (figure2["k"] == TOP_K)]
    for row in rows.to_dict("records"):
        n, share = row["n_positions"], row["share_over_95"] / 100
        mass = (row["mass_mean"], NORMAL * row["mass_sd"] / math.sqrt(n), 1.0)
        tail = (share, _half_width(share, n), 100.0)
        for own, (value, half, unit) in zip(cells.values(), (mass, tail), strict=True):
            low, high = unit * (value - half), unit * min(100.0 / unit, value + half)
            verdict = decide(low, high, CLAIMED_MASS, above=True)
            label = {"family": row["family"], "corpus": row["corpus"], "n": n}
            numbers = {"value": unit * value, "low": low, "high": high}
            own.append({**label, **numbers, "verdict": verdict})
    return [_claim(name, own) for name, own in cells.items()]


def rank_claims(figure3, evidence: Evidence) -> list[dict]:
    """Return the claim of concentrated knowledge, from the data of Figure 3 (mean of families).

    Ranks beyond the candidates of a question decide nothing: they are never right.
    """
    pooled = figure3["family"] == "all"
    cells = []
    for row in figure3[pooled & ~figure3["rank"].str.contains("-")].to_dict("records"):
        method, column = row["method"], (row["corpus"], row["benchmark"])
        places = [p for p in evidence.places if p[2:] == column and evidence.runs(p, method)]
        stopped = [why for p in places if (why := evidence.obstacle(p, (method,)))]
        obstacle = stopped[0] if stopped and 2 * len(stopped) >= len(places) else None
        runs = [run for place in places for run in evidence.runs(place, method)]
        counts = (run.rows["candidate_log_probs"].str.len().max() for run in runs)
        candidates = max(counts, default=TOP_K)
        if int(row["rank"]) > candidates:
            obstacle = f"a question has at most {candidates} candidates: no lower rank is right"
        low, high = row["gap_low"], row["gap_high"]
        verdict = UNDECIDED if obstacle else decide(low, high, 0, above=row["rank"] == "1")
        label = {"family": "mean of families", "corpus": column[0], "benchmark": column[1]}
        label |= {"method": f"{printed(method)}, rank {row['rank']}", "n": row["n"]}
        numbers = {"value": row["gap"], "low": low, "high": high}
        cells.append({**label, **numbers, "verdict": verdict, "obstacle": obstacle})
    covered = figure3[~pooled].to_dict("records")
    return [_claim("concentrated_knowledge", cells, covered)]
