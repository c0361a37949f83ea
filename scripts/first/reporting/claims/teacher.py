"""Claims on the teacher's knowledge: the temperature c, the top five tokens and their ranks."""

from __future__ import annotations

import math
from collections.abc import Callable

from scripts.first.reporting.claims.verdicts import (
    DIGITS,
    FAILS,
    HOLDS,
    UNDECIDED,
    Evidence,
    decide,
    entry,
    over_cells,
    rounded,
)
from scripts.first.reporting.names import printed

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


def _claim(name: str, text: str, test: str, cells: list[dict], ranged="value", note="") -> dict:
    """A claim judged cell by cell; `ranged`: the number of a cell whose range is reported."""
    numbers = [{**cell, **cell.get("shown", {})}.get(ranged) for cell in cells]
    known = [round(float(number), DIGITS) for number in numbers if number is not None]
    spread = {"range": [min(known), max(known)]} if known else {}
    found = {**over_cells(cells), "numbers": {**spread, "cells": cells}}
    return entry(name, text, test, found, _scope(cells), note)


def _scope(rows: list[dict]) -> str:
    families, corpora = (
        ", ".join(dict.fromkeys(printed(row[label]) for row in rows))
        for label in ("family", "corpus")
    )
    return f"{corpora}; teachers of {families}" if rows else "no data"


def teacher_obstacles(evidence: Evidence) -> dict[tuple[str, str], str]:
    """Return why a (family, corpus) decides nothing: its teacher is at chance on that corpus.

    Judged in-domain only: a search on response tokens does not rest on lettered questions.
    """
    found = {
        (place.family, place.corpus): evidence.obstacle(place, ("teacher",))
        for place in evidence.places
        if place.setting == "in_domain" and evidence.runs(place, "teacher")
    }
    return {key: reason for key, reason in found.items() if reason}


def temperature_claims(searches: list[dict], obstacles: dict[tuple[str, str], str]) -> list[dict]:
    """Return the claims on c, from the searches' choices and curves.

    obstacles: (family, corpus) whose teacher is at chance, so that its search decides nothing.
    """

    def cells(judged: Callable[[dict], dict], found: list[dict] = searches) -> list[dict]:
        cells = []
        for search in found:
            label = {"family": search["family"], "corpus": search["corpus"]}
            cell = {**label, "n": search["selected"]["n"], **judged(search)}
            if reason := obstacles.get(tuple(label.values())):
                cell |= {"verdict": UNDECIDED, "obstacle": cell.get("obstacle") or reason}
            cells.append(cell)
        return cells

    example = [search for search in searches if search["corpus"] == "csqa"] or searches
    return [
        _claim(
            "c_around_0.3",
            "The lowest validation ECE of the coarse search (steps of 0.1) is at c = 0.3 "
            "(the paper's example).",
            CHOICE_TEST.format("is 0.3"),
            cells(lambda search: _choice(search, "coarse_c", 0.3, 0.3, search["coarse"]), example),
            "c",
        ),
        _claim(
            "c_between_0.2_and_0.4",
            "The chosen c lies between 0.2 and 0.4 for every teacher and corpus.",
            CHOICE_TEST.format("lies in [0.2, 0.4]"),
            cells(lambda s: _choice(s, "c", 0.2, 0.4, s["coarse"] + s["refined"])),
            "c",
        ),
        _claim(
            "c_1_compresses",
            "c = 1 dramatically compresses the top-1 probability.",
            "mean top-1 probability on validation at c = 1 is less than half of the teacher's own",
            cells(_compression),
            "c = 1",
            "Arithmetic: with five tokens Eq. 4 at c = 1 gives at most 0.4046, whatever the "
            "teacher says.",
        ),
        _claim(
            "teacher_over_confident_on_validation",
            "The fine-tuned teacher is over-confident on the validation split, so that there is "
            "something to recalibrate.",
            "mean top-1 probability minus accuracy (points), binomial 95 % interval: above 0 holds",
            cells(_teacher_gap),
        ),
    ]


def _choice(search: dict, key: str, low: float, high: float, points: list[dict]) -> dict:
    value, at_edge = search["selected"][key], search["selected"]["at_edge"]
    best = min(point["ece"] for point in points)
    near = [point["c"] for point in points if point["ece"] <= best + NEAR_BEST]
    inside, possible = (any(low - 1e-9 <= c <= high + 1e-9 for c in cs) for cs in ([value], near))
    verdict = HOLDS if inside else UNDECIDED if possible else FAILS
    return {
        "shown": {"c": value, "near-best from": min(near), "to": max(near)},
        "verdict": UNDECIDED if at_edge else verdict,
        "obstacle": "the chosen c lies at the edge of the grid" if at_edge else None,
    }


def _compression(search: dict) -> dict:
    raw = 100 * search["selected"]["teacher_confidence"]
    at_one = next(p["confidence"] for p in search["coarse"] if abs(p["c"] - 1) < 1e-9)
    verdict = HOLDS if at_one < raw / 200 else FAILS
    return {"verdict": verdict, "shown": {"teacher": raw, "c = 1": 100 * at_one}}


def _teacher_gap(search: dict) -> dict:
    chosen = search["selected"]
    gap = 100 * (chosen["teacher_confidence"] - chosen["accuracy"])
    half = 100 * _half_width(chosen["accuracy"], chosen["n"])
    cell = rounded({"value": gap, "low": gap - half, "high": gap + half})
    cell |= {"teacher_ece": 100 * chosen["teacher_ece"]}
    return cell | {"verdict": decide(gap - half, gap + half, 0, above=True)}


def _half_width(share: float, n: int) -> float:
    """Half the normal 95 % interval of a share of n."""
    return NORMAL * math.sqrt(max(share * (1 - share), 0) / n)


def coverage_claims(figure2) -> list[dict]:
    """Return the claims on the top five tokens' mass, from the data of Figure 2."""
    rows = figure2[(figure2["positions"] == "all") & (figure2["k"] == TOP_K)]
    means, tails = [], []
    for row in rows.to_dict("records"):
        n, share = row["n_positions"], row["share_over_95"] / 100
        label = {"family": row["family"], "corpus": row["corpus"], "n": n}
        means.append(label | _above(row["mass_mean"], NORMAL * row["mass_sd"] / math.sqrt(n)))
        tails.append(label | _above(share, _half_width(share, n), unit=100.0))
    return [
        _claim(
            "top5_mass",
            "The top five tokens hold more than 95 % of the probability on average.",
            "mean top-5 mass over supervised training positions (%), normal 95 % interval "
            "(positions taken as independent): above 95 holds",
            means,
            note=COVERAGE_NOTE,
        ),
        _claim(
            "short_tail",
            "Little is left for the tail: what lies beyond the top five tokens is negligible.",
            "share of positions (%) whose top-5 mass is at least 95 %: above 95 holds",
            tails,
            note=COVERAGE_NOTE,
        ),
    ]


def _above(value: float, half: float, unit: float = 1.0) -> dict:
    """A cell in percent; value and half the interval are in `unit` percent."""
    low, high = unit * (value - half), unit * min(100.0 / unit, value + half)
    verdict = decide(low, high, CLAIMED_MASS, above=True)
    return {"value": unit * value, "low": low, "high": high, "verdict": verdict}


def rank_claims(figure3, evidence: Evidence) -> list[dict]:
    """Return the claim of concentrated knowledge, from the data of Figure 3 (mean of families)."""
    pooled = figure3["family"] == "all"
    cells = []
    for row in figure3[pooled & ~figure3["rank"].str.contains("-")].to_dict("records"):
        method, column = row["method"], (row["corpus"], row["benchmark"])
        places = [p for p in evidence.places if p[2:] == column and evidence.runs(p, method)]
        stopped = [why for p in places if (why := evidence.obstacle(p, (method,)))]
        obstacle = stopped[0] if stopped and 2 * len(stopped) >= len(places) else None
        verdict = decide(row["gap_low"], row["gap_high"], 0, above=row["rank"] == "1")
        label = {"family": "mean of families", "corpus": column[0], "benchmark": column[1]}
        label |= {"method": f"{printed(method)}, rank {row['rank']}", "n": row["n"]}
        value = {"value": row["gap"], "low": row["gap_low"], "high": row["gap_high"]}
        verdict = UNDECIDED if obstacle else verdict
        cells.append({**label, **value, "verdict": verdict, "obstacle": obstacle})
    claim = _claim(
        "concentrated_knowledge",
        "The top-1 token is over-confident while ranks 2 to 5 are under-confident, in the "
        "teacher, the fine-tuned and the distilled student.",
        "mean probability minus frequency (points), interval over questions: rank 1 above 0 "
        "and each of ranks 2 to 5 below 0, for each model",
        cells,
        ranged=None,
    )
    return [claim | {"scope": _scope(figure3[~pooled].to_dict("records"))}]
