"""A copy of the scripts whose fingerprints are compared."""

import shutil

import pytest

from scripts.first.provenance import fingerprint
from tests import tiny_models as tiny


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of scripts/ that the fingerprint reads instead."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(tiny.REPOSITORY / "scripts", tmp_path / "scripts", ignore=skip)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    yield tmp_path
    fingerprint.module.cache_clear()
