"""A copy of the scripts whose fingerprints are compared."""

import shutil

import pytest

from first_distill.provenance import fingerprint
from tests import tiny_models as tiny


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of the code that the fingerprint reads instead."""
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("first_distill", "scripts"):
        shutil.copytree(tiny.REPOSITORY / name, tmp_path / name, ignore=skip)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    yield tmp_path
    fingerprint.module.cache_clear()
