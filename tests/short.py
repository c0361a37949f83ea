"""Cases of a test of which `make test` runs a few; `make slow` runs the others."""

from collections.abc import Iterable

import pytest


def short(cases: Iterable, *kept) -> list:
    """The cases, all but `kept` marked as slow. A tuple has the values of several parameters."""
    cases = [*cases]
    assert all(case in cases for case in kept), "a case to keep is none"
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [
        pytest.param(*own, marks=() if case in kept else pytest.mark.slow)
        for case, own in zip(cases, values, strict=True)
    ]
