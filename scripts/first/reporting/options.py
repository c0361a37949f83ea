"""Options that hold one list each and belong together element by element."""

from __future__ import annotations

import argparse

from scripts.first.errors import UserError


def paired(args: argparse.Namespace, *names: str) -> list[tuple]:
    """Return the lists of the named options as tuples; UserError when their lengths differ."""
    lists = [getattr(args, name) for name in names]
    if len({len(values) for values in lists}) > 1:
        counts = ", ".join(
            f"{len(values)} for --{name.replace('_', '-')}"
            for name, values in zip(names, lists, strict=True)
        )
        raise UserError(f"lists of unequal length: {args.command}: {counts}: give one of each")
    return list(zip(*lists, strict=True))
