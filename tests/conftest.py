"""Shared by all tests: importable repository root, one thread, reproducible property tests.

And a reduced copy of the repository with finished runs, made once for all tests that want one.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy or torch is imported
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from tests.workflow import copies  # noqa: E402

# No deadline: a busy machine is no failure. Derandomised: the same examples in every run.
settings.register_profile("repository", deadline=None, derandomize=True)
settings.load_profile("repository")

# A test run started in the background inherits an ignored SIGINT (and under nohup SIGHUP), and so
# would every process that the tests start and signal.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(config, items):
    """With several workers, those that want the finished runs go to one, which makes them once.

    It starts with them: they take longest in a row.
    """
    for item in items:
        if {"reduced", "cluster"} & set(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group("runs"))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture(scope="session")
def reduced(tmp_path_factory):
    """The copy itself, nothing built."""
    folder = copies.reduce_scales(
        copies.copy_repository(tmp_path_factory.mktemp("reduced") / "first")
    )
    copies.equip(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_run(reduced):
    """`make demo`, finished."""
    process = copies.shell(reduced, "make demo")
    assert process.returncode == 0, copies.output(process)[-4000:]
    return reduced


@pytest.fixture(scope="session")
def smoke_run(reduced):
    """`make smoke` on the real datasets, finished."""
    if not copies.MIRROR.is_dir():
        pytest.skip(f"no mirror of the real datasets at {copies.MIRROR}")
    process = copies.shell(reduced, copies.SMOKE)
    assert process.returncode == 0, copies.output(process)[-4000:]
    return reduced
