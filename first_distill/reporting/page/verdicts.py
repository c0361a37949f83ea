"""The verdicts on the paper's claims, as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from first_distill.files import read_json
from first_distill.provenance import records
from first_distill.reporting.claims.headline import DOMAINS, FIVE
from first_distill.reporting.claims.verdicts import counted
from first_distill.reporting.names import printed
from first_distill.reporting.page.embed import prose
from first_distill.reporting.page.table import number, plot

SIGNS = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
SECTIONS = ("What depends on open choices", "All other claims")
COVERAGE = "docs/coverage.md"


def read(path: Path) -> dict:
    """Return what the page shows of claims.json and of claims.md beside it."""
    claims = read_json(records.verified(path))
    text = records.verified(path.with_suffix(".md")).read_text(encoding="utf-8")
    text = text.replace(COVERAGE, f"[{COVERAGE}](../../{COVERAGE})")
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    shown = five(claims)
    return {
        "claims": shown,
        "headline": headline(claims),
        "by_design": sum(
            own["by_design"] and own["verdict"] == "holds"
            for row in shown
            for own in row["verdicts"]
            if own
        ),
        "domains": [printed(domain) for domain in DOMAINS],
        "other_claims": {name: prose(sections[name], 3) for name in SECTIONS if name in sections},
        "tests": tests(claims),
        "meaning": prose(text.split("\n## ")[0], 3),
    }


def headline(claims: Sequence[dict]) -> str:
    """Return how many of the five claims, in-domain and out-of-domain, have each verdict."""
    names = {name for own in FIVE.values() for name in own}
    found = [claim["verdict"] for claim in claims if claim["id"] in names]
    said = counted(found) or "no claim is tested at this scale"
    return f"{len(found)} verdict{'s' * (len(found) != 1)}: {said}"


def tests(claims: Sequence[dict]) -> dict[str, list[dict]]:
    """Return {what was tested on: its claims, each with `claim`, `test` and `note`}.

    The scale is the page's; a note that several claims share stands with the first.
    """
    found: dict[str, list[dict]] = {}
    for claim in claims:
        own = {"claim": claim["claim"], "test": claim["test"], "note": claim.get("note")}
        found.setdefault(claim["scope"].partition(": ")[2], []).append(own)
    noted: set[str | None] = set()
    for own in chain.from_iterable(found.values()):
        note = own["note"]
        own["note"] = None if note in noted else note
        noted.add(note)
    return found


def five(claims: Sequence[dict]) -> list[dict]:
    """Return {text, verdicts} of each of the five claims; a verdict in each domain, or None."""
    by_id = {claim["id"]: claim for claim in claims}
    numbers = [by_id[n]["numbers"] for own in FIVE.values() for n in own if n in by_id]
    ends = [abs(own[end]) for own in numbers if "low" in own for end in ("low", "high")]
    reach = max(ends, default=1.0) * 1.05
    return [
        {
            "text": text,
            "verdicts": [verdict(by_id[name], reach) if name in by_id else None for name in names],
        }
        for text, names in FIVE.items()
    ]


def verdict(claim: dict, reach: float) -> dict:
    """Return one verdict; its plot runs from -reach to reach points."""
    own, shown = claim["numbers"], None
    if "low" in own:
        ends = own["value"], own["low"], own["high"]
        shown = {
            "value": number(own["value"]),
            "interval": f"[{number(own['low'])}, {number(own['high'])}]",
            "plot": plot(*ends, -reach, reach, own["threshold"]),
        }
    p = claim.get("p_holm")
    return {
        "verdict": claim["verdict"],
        "kind": claim["verdict"].replace(" ", "-"),
        "sign": SIGNS[claim["verdict"]],
        "by_design": bool(claim.get("by_design")),
        "effect": shown,
        "p": None if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
        "reason": claim["reason"],
    }
