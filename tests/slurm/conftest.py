"""One Slurm cluster for all tests of this folder, and copies of a finished run to break."""

import os
import shutil

import pytest

from tests.slurm.cluster import Cluster, why_not


@pytest.fixture(scope="session")
def cluster():
    """The running cluster; where none can run, a skip, or with FIRST_REQUIRE_SLURM a failure."""
    reason = why_not()
    if reason and os.environ.get("FIRST_REQUIRE_SLURM"):
        pytest.fail(f"FIRST_REQUIRE_SLURM is set: {reason}")
    if reason:
        pytest.skip(reason)
    with Cluster() as started:
        yield started


@pytest.fixture
def finished(tiny_run, tmp_path):
    """A copy of the finished reduced run, with Snakemake's memory of it."""
    return shutil.copytree(tiny_run, tmp_path / "first", symlinks=True)
