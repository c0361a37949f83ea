"""The ablations that a scale has: its page shows those that exist, and builds none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from first_distill.files import sha256_file
from first_distill.provenance import records
from first_distill.reporting.page.embed import figure, prose


def read(folder: Path) -> tuple[list[dict], list[Path]]:
    """Return the ablations below results/{scale}, in the order of ablations.md, and their records.

    Each has `title`, `image`, `text` (HTML), `csv`, and `old`: made from other results than those
    that are there now.
    """
    joined = folder / f"ablations{records.SUFFIX}"
    if not joined.is_file():
        return [], []
    digest = cache(sha256_file)
    found, sources = [], [joined]
    for name in map(Path, records.read(joined)["made_from"]):
        page = folder / "ablations" / name.name
        record = page.with_suffix(records.SUFFIX)
        if not (page.is_file() and record.is_file()):
            continue
        text = records.verified(page).read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix("# ")
        made_from = records.read(record)["made_from"]
        here = {folder.parent / source: own for source, own in made_from.items()}
        found.append(
            {
                "name": page.stem,
                "title": title,
                "image": figure(page.with_suffix("")),
                "text": prose(text, 3),
                "old": any(p.is_file() and digest(p) != own for p, own in here.items()),
            }
        )
        sources.append(record)
    return found, sources
