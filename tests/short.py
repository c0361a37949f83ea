"""Cases of a test of which `make test` runs a few; `make slow` runs the others."""

from collections.abc import Iterable

import pytest


def short(cases: Iterable, *kept) -> list:
    """The cases, all but `kept` marked as slow."""
    return [case if case in kept else pytest.param(case, marks=pytest.mark.slow) for case in cases]
