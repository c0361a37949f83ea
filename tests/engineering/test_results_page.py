"""docs/results.md and the README say what the published tables say."""

import re

import pytest

from first_distill import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
FOLDER = ROOT / "docs/results"
DEBIASED = re.compile(r" \(-?\d+\.\d+\)")  # beside an ECE
INTERVAL = re.compile(r"-?\d+\.\d+ \[[^]]+\]")


def published(scale: str) -> str:
    found = sorted((FOLDER / scale).glob("*.md"))
    return DEBIASED.sub("", "\n".join(path.read_text(encoding="utf-8") for path in found))


def test_the_table_is_the_published_one():
    """Each row of the page's first table, its intervals, confidence and ECE of the candidates."""
    table = (FOLDER / "pocket/table1.md").read_text(encoding="utf-8")
    sections = DEBIASED.sub("", table).split("\n## ")
    scores, checks = (
        [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in section.splitlines()
            if line.startswith("| smollm2")
        ]
        for section in sections[:2]
    )
    assert len(scores) == len(checks) == 10
    for score, check in zip(scores, checks, strict=True):
        numbers = [INTERVAL.search(cell)[0] for cell in score[2:5]]
        row = " | ".join([score[1], *numbers, check[4], check[9]])
        assert f"| {row} |" in PAGE


@pytest.mark.parametrize(("scale", "column"), [("tiny", 2), ("pocket", 3)])
def test_verdicts_are_the_published_ones(scale, column):
    known, rows = published(scale), 0
    for line in PAGE.split("disagree\n")[1].split("\n## ")[0].splitlines():
        if found := line.startswith("|") and INTERVAL.search(line.split("|")[column]):
            verdict = line.split("|")[column].split(": ")[1].split(",")[0].strip()
            lines = [own for own in known.splitlines() if "in-domain" in own and "**" in own]
            claims = [own for own in lines if f" {found[0]} " in own]
            assert claims and f"**{verdict}**" in claims[0], line  # the five claims come first
            rows += 1
    assert rows == 6


def test_every_interval_is_published():
    known = published("tiny") + published("pocket")
    missing = {own for own in INTERVAL.findall(PAGE) if own not in known}
    assert not missing


def test_the_readme_says_the_same():
    """Each row of its table is one of the page's: the same claim at the same two scales."""
    lines = README.partition("What came out")[2].partition("\n## ")[0].splitlines()
    rows = [INTERVAL.findall(line) for line in lines if line[:1] == "|" and INTERVAL.search(line)]
    known = [INTERVAL.findall(line) for line in PAGE.splitlines() if line[:1] == "|"]
    assert len(rows) == 5 and all(row in known for row in rows)
