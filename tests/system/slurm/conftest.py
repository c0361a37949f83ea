"""Slurm clusters for the tests of this folder, and copies of a finished run to break."""

import os
import shutil

import pytest

from tests.system.slurm.accounting import ACCOUNTING_PROGRAMS, AccountedCluster
from tests.system.slurm.cluster import PROGRAMS, Cluster, why_not


def needed(programs):
    """Skip where no cluster can run; fail instead when FIRST_REQUIRE_SLURM is set."""
    reason = why_not(programs)
    if reason and os.environ.get("FIRST_REQUIRE_SLURM"):
        pytest.fail(f"FIRST_REQUIRE_SLURM is set: {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster():
    """One running cluster for all tests."""
    needed(PROGRAMS)
    with Cluster() as started:
        yield started


@pytest.fixture
def accounted():
    """A running cluster with accounting."""
    needed(ACCOUNTING_PROGRAMS)
    with AccountedCluster() as started:
        yield started


@pytest.fixture
def finished(tiny_run, tmp_path):
    """A copy of the finished reduced run, with Snakemake's memory of it."""
    return shutil.copytree(tiny_run, tmp_path / "first", symlinks=True)
