"""A reduced copy of the repository with finished runs, made once for all tests of the workflow."""

import pytest

from tests.workflow.copies import MIRROR, copy_repository, equip, output, reduce_scales, shell

SMOKE = "FIRST_DATA_MIRROR=../shared/hub make smoke"  # as the README has it


@pytest.fixture(scope="session")
def reduced(tmp_path_factory):
    """The copy itself, nothing built."""
    folder = reduce_scales(copy_repository(tmp_path_factory.mktemp("reduced") / "first"))
    equip(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_run(reduced):
    """`make demo`, finished."""
    process = shell(reduced, "make demo")
    assert process.returncode == 0, output(process)[-4000:]
    return reduced


@pytest.fixture(scope="session")
def smoke_run(reduced):
    """`make smoke` on the real datasets, finished."""
    if not MIRROR.is_dir():
        pytest.skip(f"no mirror of the real datasets at {MIRROR}")
    process = shell(reduced, SMOKE)
    assert process.returncode == 0, output(process)[-4000:]
    return reduced
