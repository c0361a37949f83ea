"""One lock: what conda and pip install, and what runs here, are the versions of envs/lock.txt."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

import pytest
import yaml

from scripts.first.environments import canonical, installed, locked
from tests import tiny_models as tiny

FOLDER = tiny.REPOSITORY / "envs"
YAML = sorted(path.name for path in FOLDER.glob("*.yaml"))
NAMES = ("run.txt", "test.txt", "test-nodeps.txt")


def read_lock() -> dict[str, str]:
    """The lock, read by this test's own rule."""
    lines = [line for line in (FOLDER / "lock.txt").read_text().splitlines() if line[:1] != "#"]
    pins = dict(re.fullmatch(r"([a-z0-9-]+)==([0-9][\w.]*)", line).groups() for line in lines)
    assert len(pins) == len(lines)
    return pins


def names_in(name: str) -> list[str]:
    lines = (FOLDER / name).read_text().splitlines()
    return [line.strip().replace("_", "-").lower() for line in lines if line and line[0] != "#"]


def test_lock_is_sorted_and_read_as_written():
    assert locked() == read_lock()
    assert list(read_lock()) == sorted(read_lock())
    assert canonical("Ruamel_yaml.clib") == "ruamel-yaml-clib"


def test_there_is_an_environment_for_every_conda_directive():
    used = set()
    for path in (tiny.REPOSITORY / "rules").glob("*.smk"):
        used |= set(re.findall(r"envs/(\w+\.yaml)", path.read_text()))
    assert used == set(YAML)


@pytest.mark.parametrize("name", YAML)
def test_conda_environment_pins_the_lock(name):
    content = yaml.safe_load((FOLDER / name).read_text())
    assert content["channels"] == ["conda-forge", "nodefaults"]
    *conda, pip = content["dependencies"]
    assert conda == ["python=3.11", "pip"]
    pins = dict(pin.split("==") for pin in pip["pip"])
    assert len(pins) == len(pip["pip"]) > 3
    for package, pinned in pins.items():
        assert read_lock()[canonical(package)] == pinned, package


@pytest.mark.parametrize("name", NAMES)
def test_every_name_to_install_is_locked(name):
    names = names_in(name)
    assert names and not [n for n in names if n not in read_lock()]


@pytest.mark.parametrize("name", YAML)
def test_conda_packages_are_packages_of_a_run(name):
    pins = yaml.safe_load((FOLDER / name).read_text())["dependencies"][-1]["pip"]
    assert {canonical(pin.split("==")[0]) for pin in pins} <= set(names_in("run.txt"))


def test_installed_versions_are_the_locked_ones():
    here, wrong = installed(), {}
    for package, pinned in read_lock().items():
        try:
            found = version(package).split("+")[0]
        except PackageNotFoundError:
            continue  # an environment for runs only has no oracles
        assert here[package] == found
        if found != pinned:
            wrong[package] = (found, pinned)
    assert wrong == {}
    assert {"numpy", "pytest", "pyyaml"} <= here.keys()
