"""Shared by all tests: importable repository root, one thread, reproducible property tests.

And reduced copies of the repository with finished runs, made once for all tests that want one.
"""

import os
import re
import shutil
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

from tests.system.workflow import copies  # noqa: E402

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


# Science first. Then, for an even end with two workers, the longest files of system first.
ORDER = ("science/", "engineering/", "system/workflow/", "system/faults/", "system/slurm/")


def pytest_collection_modifyitems(items):
    """Sort the tests by ORDER."""

    def place(item) -> int:
        path = item.path.relative_to(f"{ROOT}/tests").as_posix()
        return next((i for i, start in enumerate(ORDER) if path.startswith(start)), len(ORDER))

    items.sort(key=place)


def finished(factory, line):
    """A copy of a reduced repository in which `line` has run, once for all workers and modules."""

    def make(made: Path) -> None:
        folder = copies.reduce_scales(copies.copy_repository(made / "first"))
        copies.equip(folder)
        process = copies.shell(folder, line)
        assert process.returncode == 0, copies.output(process)[-4000:]

    made = copies.once(factory.getbasetemp(), re.sub(r"\W+", "-", line), make)
    return shutil.copytree(made, factory.mktemp("finished") / "run", symlinks=True) / "first"


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """`make demo`, finished."""
    return finished(tmp_path_factory, "make demo")


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory):
    """`make smoke` on the real datasets, finished."""
    if not copies.MIRROR.is_dir():
        pytest.skip(f"no mirror of the real datasets at {copies.MIRROR}")
    return finished(tmp_path_factory, copies.SMOKE)
