"""`--sdm conda` for real: an environment is made, a job runs in it, and makes the same bytes."""

import json
import os
import re
import shutil
import subprocess
import sysconfig

import pytest

from scripts.first.runtime.environments import NOT_LOCKED, canonical
from tests.engineering.test_environments import pins_of, read_lock
from tests.system.workflow.conda_front import set_up
from tests.system.workflow.copies import (
    ROOT,
    copy_repository,
    environment,
    output,
    reduce_scales,
    snakemake,
)

TARGET = "results/tiny/data/csqa/report.json"
CELL = "results/paper/tables/table1/cells/llama2/first_ts/in_domain-csqa.json"
LIST = """
import json
from importlib.metadata import distributions
print(json.dumps([(d.metadata["Name"], d.version) for d in distributions()]))
"""
KEY = "software-deployment-method: conda"


@pytest.fixture(scope="module")
def conda(tmp_path_factory):
    """A PATH with a conda command before everything else."""
    if "posix_local" in sysconfig.get_scheme_names():
        pytest.skip("this Python, patched by Debian, installs nothing into another prefix")
    return f"{set_up(tmp_path_factory.mktemp('conda'))}{os.pathsep}{environment(ROOT)['PATH']}"


def keyed(folder, profile):
    """Make the key of a profile active, as its comment tells the user."""
    path = folder / f"profiles/{profile}/config.yaml"
    text, count = re.subn(rf"^# ({KEY}) ", r"\1 ", path.read_text(), flags=re.M)
    assert count == 1
    path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reduced copy whose profiles use conda."""
    copy = reduce_scales(copy_repository(tmp_path_factory.mktemp("copy") / "first"))
    return keyed(keyed(copy, "local"), "slurm")


def data_of(folder):
    """{name: bytes} of what the rule makes."""
    return {p.name: p.read_bytes() for p in (folder / TARGET).parent.iterdir()}


def test_slurm_profile_plans_the_environments(folder, conda):
    """With the key, `-n` tells that the environments of the jobs will be made."""
    words = ("--profile", "profiles/slurm", "-n", "--quiet", "host", "--")
    plan = snakemake(folder, *words, CELL, PATH=conda)
    assert plan.returncode == 0, output(plan)[-3000:]
    for name in ("artifacts", "data", "train"):
        assert f"Conda environment envs/{name}.yaml will be created" in output(plan)


@pytest.mark.slow
def test_job_runs_in_its_own_environment(folder, conda):
    """Made from envs/data.yaml, it holds the lock's versions and no other package; equal bytes."""
    six = f"six=={read_lock()['six']}"
    probe = ["python", "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", six]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package index here, from which a conda environment is filled")

    plain = snakemake(folder, "-c1", "--", TARGET)
    assert plain.returncode == 0, output(plain)[-3000:]
    without = data_of(folder)
    assert len(without) == 4
    shutil.rmtree((folder / TARGET).parent)

    words = ("--profile", "profiles/local", "-c1", "--quiet", "host", "--", TARGET)
    settings = {"PATH": conda, "PIP_NO_COMPILE": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    made = snakemake(folder, *words, **settings)
    assert made.returncode == 0, output(made)[-3000:]
    assert "Activating conda environment" in output(made)
    assert data_of(folder) == without
    again = snakemake(folder, "-n", *words, **settings)
    assert "Nothing to be done" in output(again)

    (prefix,) = [path.parent for path in folder.glob(".snakemake/conda/*/conda-meta")]
    listed = subprocess.check_output([prefix / "bin/python", "-I", "-c", LIST], text=True)
    found = {canonical(name): number for name, number in json.loads(listed)}
    assert {name: v for name, v in found.items() if name not in NOT_LOCKED} == pins_of("data.yaml")

    # Without pyarrow there the job fails, although the environment of this test has it.
    shutil.rmtree(prefix / sysconfig.get_path("purelib", vars={"base": "."}) / "pyarrow")
    broken = snakemake(folder, "--forcerun", "benchmark_data", *words, **settings)
    assert broken.returncode != 0
    assert "No module named 'pyarrow'" in (folder / "logs/tiny/data/csqa.log").read_text()
