"""One lock: what conda and pip install, and what runs here, are the versions of envs/lock*.txt."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version

import pytest
import yaml
from packaging.requirements import Requirement
from rattler import MatchSpec

from scripts.first.errors import UserError
from scripts.first.runtime.environments import (
    NEEDED,
    canonical,
    completed,
    installed,
    locked,
    named,
    needed,
    to_lock,
)
from tests import tiny_models as tiny

FOLDER = tiny.REPOSITORY / "envs"
YAML = sorted(path.name for path in FOLDER.glob("*.yaml"))
NAMES = ("run.txt", "test.txt", "test-nodeps.txt")


LOCKS = ("lock.txt", "lock-test.txt", "lock-torch.txt", "lock-tool.txt")


def read_file(name: str) -> dict[str, str]:
    """One file of the lock, read by this test's own rule: every line a version and its hashes."""
    lines = [line for line in (FOLDER / name).read_text().splitlines() if line[:1] != "#"]
    form = r"([a-z0-9-]+)==([0-9][\w.]*)((?: --hash=sha256:[0-9a-f]{64})*)"
    found = [re.fullmatch(form, line).groups() for line in lines]
    assert [bool(hashes) for *_, hashes in found] == [name != "lock-torch.txt"] * len(found)
    pins = {package: version for package, version, _ in found}
    assert len(pins) == len(lines) > 0 and list(pins) == sorted(pins)
    return pins


def read_lock() -> dict[str, str]:
    """The whole lock; no package stands in two of its files."""
    files = [read_file(name) for name in LOCKS]
    pins = {package: version for file in files for package, version in file.items()}
    assert len(pins) == sum(map(len, files))
    return pins


def names_in(name: str) -> list[str]:
    lines = (FOLDER / name).read_text().splitlines()
    return [line.strip().replace("_", "-").lower() for line in lines if line and line[0] != "#"]


def pins_of(name: str) -> dict[str, str]:
    """{package: version} of a conda environment's pip section; every line one exact version."""
    pins = yaml.safe_load((FOLDER / name).read_text())["dependencies"][-1]["pip"]
    parsed = [Requirement(pin) for pin in pins]
    assert all(str(r.specifier).startswith("==") and not r.extras and not r.marker for r in parsed)
    found = {r.name: str(r.specifier).removeprefix("==") for r in parsed}
    assert len(found) == len(pins) > 3
    return found


def test_lock_is_sorted_and_read_as_written():
    assert locked() == read_lock() and list(locked()) == sorted(read_lock())
    assert {path.name for path in FOLDER.glob("lock*")} == set(LOCKS)
    assert canonical("Ruamel_yaml.clib") == "ruamel-yaml-clib"


def test_lock_holds_what_is_needed_and_nothing_else():
    """A package that nobody names, installed by chance, is not locked."""
    assert {name: set(read_file(name)) for name in LOCKS} == to_lock()
    assert to_lock()["lock-torch.txt"] == {"torch"}, "all others have hashes"
    assert "numpy" in needed({"pandas"}) and "pandas" not in needed({"pandas"})
    with pytest.raises(UserError, match="not installed: no-such-package"):
        needed({"no-such-package"})


@pytest.mark.parametrize("name", YAML)
def test_conda_environment_is_what_conda_reads(name):
    """Channels, names and versions that conda's own parser takes, strictly; no pin file.

    With a pin file beside it, Snakemake would not install the pip section.
    """
    content = yaml.safe_load((FOLDER / name).read_text())
    assert list(content) == ["name", "channels", "variables", "dependencies"]
    assert content["channels"] == ["conda-forge", "nodefaults"]
    assert content["variables"] == {"PYTHONNOUSERSITE": "1"}
    *conda, pip = content["dependencies"]
    specs = [MatchSpec(spec, strict=True) for spec in conda]
    assert list(map(str, specs)) == ["python 3.11.*", "pip"]
    assert list(pip) == ["pip"]
    assert {path.name for path in FOLDER.glob(f"{name[:-5]}.*")} == {name}


@pytest.mark.parametrize("name", YAML)
def test_conda_environment_pins_the_lock(name):
    assert {package: read_lock()[package] for package in pins_of(name)} == pins_of(name)


@pytest.mark.parametrize("name", YAML)
def test_conda_environment_is_complete(name):
    """Every package that a named one needs is named too, and no other: `make lock` agrees."""
    text = (FOLDER / name).read_text()
    assert completed(text, read_lock()) == text


def test_what_only_a_removed_package_needed_goes_with_it():
    text = (FOLDER / "data.yaml").read_text()
    chosen = re.sub(r" +- datasets==.*\n", "", text.split(NEEDED)[0])
    shorter = completed(chosen, read_lock())
    assert "- dill==" in text and "- dill==" not in shorter
    assert "- six==" in shorter  # which pandas needs too


@pytest.mark.parametrize("name", NAMES)
def test_every_name_to_install_is_locked(name):
    names = names_in(name)
    assert names and not [n for n in names if n not in read_lock()]


@pytest.mark.parametrize("name", YAML)
def test_conda_packages_are_packages_of_a_run(name):
    chosen = (FOLDER / name).read_text().split(NEEDED)[0]
    assert set(re.findall(r"- ([\w-]+)==", chosen)) <= set(names_in("run.txt"))


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


def test_every_import_is_named():
    """What code imports by itself must not come and go with what some other package needs."""
    owners = packages_distributions()
    files = (FOLDER.parent / "scripts").rglob("*.py")
    trees = [ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in files]
    found = {m.split(".")[0] for nodes in trees for node in nodes for m in imported(node)}
    ours = {"scripts", "benchmarks", *sys.stdlib_module_names}
    packages = {canonical(owners.get(name, [name])[0]) for name in found - ours}
    assert packages - named("run.txt", "test.txt") == set()
    assert {"torch", "psutil", "datasets"} <= packages


def imported(node: ast.AST) -> list[str]:
    """Modules that a node of the syntax tree imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
