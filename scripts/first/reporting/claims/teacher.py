"""Claims on the teacher's knowledge: the temperature c, the top five tokens and their ranks."""

from __future__ import annotations

import math

from scripts.first.reporting.claims.evidence import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Evidence,
    combine,
    decide,
)
from scripts.first.reporting.names import dataset_name, family_name, method_name

LOWEST_C, HIGHEST_C, TYPICAL_C = 0.2, 0.4, 0.3
NEAR_BEST = 0.01  # ECE on about a thousand rows is noisy by one to two points
TOP_K, CLAIMED_MASS = 5, 95.0
NORMAL = 1.959963984540054
AT_EDGE = "the chosen c lies at the edge of the grid"


def _scope(rows: list[dict]) -> str:
    families = list(dict.fromkeys(family_name(row["family"]) for row in rows))
    corpora = list(dict.fromkeys(dataset_name(row["corpus"]) for row in rows))
    return f"{', '.join(corpora)}; teachers of {', '.join(families)}"


def teacher_obstacles(evidence: Evidence) -> dict[tuple[str, str], str]:
    """Return why a (family, corpus) decides nothing: its teacher is at chance on that corpus.

    Judged in-domain only: a search on response tokens does not rest on lettered questions.
    """
    found: dict[tuple[str, str], list[str | None]] = {}
    for place in evidence.places:
        if place.column[0] == "in_domain" and evidence.runs(place, "teacher"):
            why = evidence.obstacle(place, ("teacher",))
            found.setdefault((place.family, place.column[1]), []).append(why)
    return {key: reasons[0] for key, reasons in found.items() if all(reasons)}


def hold_back(claims: list[dict], obstacles: dict[tuple[str, str], str]) -> list[dict]:
    """Return the claims with the cells of such teachers undecided, and judged anew."""
    for claim in claims:
        cells = claim["numbers"]["cells"]
        stopped = [c for c in cells if (c["family"], c["corpus"]) in obstacles]
        for cell in stopped:
            reason = obstacles[cell["family"], cell["corpus"]]
            cell |= {"verdict": UNDECIDED, "obstacle": cell.get("obstacle") or reason}
        if stopped:
            claim["verdict"], claim["reason"] = _judged(cells)
    return claims


def temperature_claims(searches: list[dict]) -> list[dict]:
    """Return the claims on c, from the searches' choices and curves."""
    csqa = [search for search in searches if search["corpus"] == "csqa"] or searches
    return [
        _choice(
            "c_around_0.3",
            "The lowest validation ECE of the coarse search (steps of 0.1) is at c = 0.3 "
            "(the paper's example).",
            csqa,
            lambda s: s["selected"]["coarse_c"],
            TYPICAL_C,
            TYPICAL_C,
            "coarse",
        ),
        _choice(
            "c_between_0.2_and_0.4",
            "The chosen c lies between 0.2 and 0.4 for every teacher and corpus.",
            searches,
            lambda s: s["selected"]["c"],
            LOWEST_C,
            HIGHEST_C,
            "refined",
        ),
        _compression(searches),
        _teacher_on_validation(searches),
    ]


def _choice(name, text, searches, chosen, low, high, curve) -> dict:
    cells = []
    for search in searches:
        value = chosen(search)
        points = [*search["coarse"], *(search["refined"] if curve == "refined" else [])]
        best = min(point["ece"] for point in points)
        near = [point["c"] for point in points if point["ece"] <= best + NEAR_BEST]
        inside = low - 1e-9 <= value <= high + 1e-9
        possible = any(low - 1e-9 <= c <= high + 1e-9 for c in near)
        verdict = HOLDS if inside else UNDECIDED if possible else FAILS
        obstacle = AT_EDGE if search["selected"]["at_edge"] else None
        cells.append(
            {
                "family": search["family"],
                "corpus": search["corpus"],
                "n": search["selected"]["n"],
                "shown": {"c": value, "near-best from": min(near), "to": max(near)},
                "verdict": UNDECIDED if obstacle else verdict,
                "obstacle": obstacle,
            }
        )
    span = f"is {low:g}" if low == high else f"lies in [{low:g}, {high:g}]"
    test = (
        f"each choice {span}; outside it the claim fails, unless a c inside has an ECE within "
        f"{100 * NEAR_BEST:g} point of the best (undecided)"
    )
    return _claim(name, text, test, cells, searches)


def _compression(searches: list[dict]) -> dict:
    cells = []
    for search in searches:
        at_one = next((p for p in search["coarse"] if abs(p["c"] - 1) < 1e-9), None)
        raw = 100 * search["selected"]["teacher_confidence"]
        cell = {"family": search["family"], "corpus": search["corpus"]}
        cell |= {"n": search["selected"]["n"], "verdict": UNDECIDED, "shown": {"teacher": raw}}
        if at_one:
            cell["shown"]["c = 1"] = 100 * at_one["confidence"]
            cell["verdict"] = HOLDS if at_one["confidence"] < raw / 200 else FAILS
        cells.append(cell)
    return _claim(
        "c_1_compresses",
        "c = 1 dramatically compresses the top-1 probability.",
        "mean top-1 probability on validation at c = 1 is less than half of the teacher's own",
        cells,
        searches,
        of="c = 1",
        note="Arithmetic: with five tokens Eq. 4 at c = 1 gives at most 0.4046, whatever the "
        "teacher says.",
    )


def _teacher_on_validation(searches: list[dict]) -> dict:
    cells = []
    for search in searches:
        chosen = search["selected"]
        accuracy, n = chosen["accuracy"], chosen["n"]
        gap = 100 * (chosen["teacher_confidence"] - accuracy)
        half = 100 * NORMAL * math.sqrt(accuracy * (1 - accuracy) / n)
        numbers = {"value": gap, "low": gap - half, "high": gap + half}
        cells.append(
            {
                "family": search["family"],
                "corpus": search["corpus"],
                "n": n,
                **{key: round(value, 6) for key, value in numbers.items()},
                "teacher_ece": 100 * chosen["teacher_ece"],
                "verdict": decide(gap - half, gap + half, 0, above=True),
            }
        )
    return _claim(
        "teacher_over_confident_on_validation",
        "The fine-tuned teacher is over-confident on the validation split, so that there is "
        "something to recalibrate.",
        "mean top-1 probability minus accuracy (points), binomial 95 % interval: above 0 holds",
        cells,
        searches,
    )


def coverage_claims(figure2) -> list[dict]:
    """Return the claims on the top five tokens' mass, from the data of Figure 2."""
    rows = figure2[(figure2["positions"] == "all") & (figure2["k"] == TOP_K)].to_dict("records")
    means, tails = [], []
    for row in rows:
        half = NORMAL * row["mass_sd"] / math.sqrt(row["n_positions"])
        numbers = {"value": row["mass_mean"], "low": row["mass_mean"] - half}
        numbers["high"] = min(100.0, row["mass_mean"] + half)
        cell = {"family": row["family"], "corpus": row["corpus"], "n": row["n_positions"]}
        verdict = decide(numbers["low"], numbers["high"], CLAIMED_MASS, above=True)
        means.append({**cell, **numbers, "verdict": verdict})
        share = row["share_over_95"] / 100
        half = NORMAL * math.sqrt(max(share * (1 - share), 0) / row["n_positions"])
        ends = (100 * (share - half), 100 * min(1.0, share + half))
        tail = {"value": 100 * share, "low": ends[0], "high": ends[1]}
        tails.append({**cell, **tail, "verdict": decide(*ends, 95.0, above=True)})
    note = (
        "A question with at most five candidates fits into five tokens almost by construction: "
        "only the instruction corpus tests the claim."
    )
    return [
        _claim(
            "top5_mass",
            "The top five tokens hold more than 95 % of the probability on average.",
            "mean top-5 mass over supervised training positions (%), normal 95 % interval "
            "(positions taken as independent): above 95 holds",
            means,
            rows,
            note=note,
        ),
        _claim(
            "short_tail",
            "Little is left for the tail: what lies beyond the top five tokens is negligible.",
            "share of positions (%) whose top-5 mass is at least 95 %: above 95 holds",
            tails,
            rows,
            note=note,
        ),
    ]


def rank_claims(figure3, evidence: Evidence) -> list[dict]:
    """Return the claim of concentrated knowledge, from the data of Figure 3 (mean of families)."""
    rows = figure3[figure3["family"] == "all"].to_dict("records")
    cells = []
    for row in rows:
        if "-" in row["rank"]:
            continue
        places = [p for p in evidence.places if p.column[1:] == (row["corpus"], row["benchmark"])]
        places = [p for p in places if evidence.runs(p, row["method"])]
        obstacles = [evidence.obstacle(place, (row["method"],)) for place in places]
        stopped = [why for why in obstacles if why]
        obstacle = stopped[0] if stopped and 2 * len(stopped) >= len(places) else None
        verdict = decide(row["gap_low"], row["gap_high"], 0, above=row["rank"] == "1")
        cells.append(
            {
                "family": "mean of families",
                "corpus": row["corpus"],
                "benchmark": row["benchmark"],
                "method": f"{method_name(row['method'])}, rank {row['rank']}",
                "n": row["n"],
                "value": row["gap"],
                "low": row["gap_low"],
                "high": row["gap_high"],
                "verdict": UNDECIDED if obstacle else verdict,
                "obstacle": obstacle,
            }
        )
    return [
        _claim(
            "concentrated_knowledge",
            "The top-1 token is over-confident while ranks 2 to 5 are under-confident, in the "
            "teacher, the fine-tuned and the distilled student.",
            "mean probability minus frequency (points), interval over questions: rank 1 above 0 "
            "and each of ranks 2 to 5 below 0, for each model",
            cells,
            [row for row in figure3.to_dict("records") if row["family"] != "all"],
            of=None,
        )
    ]


def _claim(name, text, test, cells, rows, note=None, of: str | None = "c") -> dict:
    verdict, reason = _judged(cells)
    claim = {"id": name, "claim": text, "test": test, "verdict": verdict, "reason": reason}
    values = [cell.get("value", cell.get("shown", {}).get(of)) for cell in cells if of]
    known = [round(float(value), 6) for value in values if value is not None]
    numbers = {"range": [min(known), max(known)]} if known else {}
    claim |= {"numbers": {**numbers, "cells": cells}, "scope": _scope(rows) if rows else "no data"}
    return claim | ({"note": note} if note else {})


def _judged(cells: list[dict]) -> tuple[str, str]:
    verdict = combine([cell["verdict"] for cell in cells])
    counts = {v: sum(cell["verdict"] == v for cell in cells) for v in (HOLDS, FAILS, UNDECIDED)}
    reason = ", ".join(f"{count} {v}" for v, count in counts.items() if count) or "no data"
    obstacles = sorted({cell["obstacle"] for cell in cells if cell.get("obstacle")})
    if obstacles:
        reason += "; " + "; ".join(obstacles)
    if obstacles and 2 * sum(bool(cell.get("obstacle")) for cell in cells) >= len(cells):
        verdict = UNDECIDED
    return verdict, reason
