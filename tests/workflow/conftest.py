"""Finished runs of the small scales, made once for all tests of the workflow."""

import pytest

from tests.workflow.copies import MINI, MIRROR, SMOKE, copy_repository, output, snakemake


@pytest.fixture(scope="session")
def mini_run(tmp_path_factory):
    """A copy of the repository with the whole mini scale finished, two jobs at a time."""
    folder = copy_repository(tmp_path_factory.mktemp("mini") / "clone")
    process = snakemake(
        folder, "--profile", "profiles/local", "-c2", "--configfile", MINI, "--", "all", warm=True
    )
    assert process.returncode == 0, output(process)[-4000:]
    return folder


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """A copy with the reduced smoke scale finished: real rows through every rule."""
    if not MIRROR.is_dir():
        pytest.skip(f"no mirror of the real datasets at {MIRROR}")
    folder = copy_repository(tmp_path_factory.mktemp("smoke") / "clone")
    words = ["--profile", "profiles/local", "-c2", "--configfile", SMOKE, "--", "all"]
    process = snakemake(folder, *words, warm=True, FIRST_DATA_MIRROR=str(MIRROR.resolve()))
    assert process.returncode == 0, output(process)[-4000:]
    return folder
