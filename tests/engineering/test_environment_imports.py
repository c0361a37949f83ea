"""Each rule's conda environment holds what its script can import, and nothing else."""

from __future__ import annotations

import re
import shutil
from functools import cache
from importlib.metadata import packages_distributions

import pytest

from scripts.first.provenance import fingerprint
from tests import tiny_models as tiny
from tests.engineering.test_environments import NEEDED
from tests.engineering.test_environments import canonicalize_name as canonical

# Packages that no script imports by name, and why an environment has them all the same.
NOT_IMPORTED: dict[str, str] = {}
distributions = cache(packages_distributions)


def rules(folder=tiny.REPOSITORY) -> dict[str, dict]:
    """{rule: {environment, stages, local}} of every rule that runs something.

    Read from the text, whose layout snakefmt keeps; `use rule a as b with:` inherits what it does
    not set.
    """
    found = {}
    for path in sorted((folder / "rules").glob("*.smk")):
        blocks = re.split(r"^(?=(?:use )?rule )", path.read_text(), flags=re.M)
        for block in blocks[1:]:
            head = block.splitlines()[0]
            base, name = re.fullmatch(r"(?:use rule (\w+) as|rule) (\w+)(?: with)?:", head).groups()
            environment = re.search(r'    conda:\n        "\.\./envs/(\w+\.yaml)"\n', block)
            inherited = found.get(base, {"environment": None, "stages": set(), "local": False})
            found[name] = {
                "environment": environment[1] if environment else inherited["environment"],
                "stages": set(re.findall(r'fingerprint\("(\w+)"\)', block)) or inherited["stages"],
                "local": "    localrule: True\n" in block or inherited["local"],
            }
    return found


def chosen(name: str, folder=tiny.REPOSITORY) -> set[str]:
    """Packages that an environment names itself, without those that these need."""
    return set(re.findall(r"- ([\w-]+)==", (folder / "envs" / name).read_text().split(NEEDED)[0]))


def imported(stage: str) -> set[str]:
    """Distributions that a stage can import."""
    return {canonical(distributions()[n][0]) for n in fingerprint.third_party(stage)}


def missing(folder=tiny.REPOSITORY) -> dict[str, set[str]]:
    """{rule: imported packages that its environment does not name}, where there are any."""
    found, of = {}, cache(imported)
    for name, rule in rules(folder).items():
        packages = set().union(*map(of, rule["stages"]))
        if lacking := packages - chosen(rule["environment"], folder):
            found[name] = lacking
    return found


def useless(folder=tiny.REPOSITORY) -> dict[str, set[str]]:
    """{environment: packages that no rule with it imports and that have no reason}."""
    of = cache(imported)
    used = {path.name: set() for path in (folder / "envs").glob("*.yaml")}
    for rule in rules(folder).values():
        used[rule["environment"]] |= set().union(*map(of, rule["stages"]))
    extra = {name: chosen(name, folder) - used[name] - set(NOT_IMPORTED) for name in used}
    return {name: packages for name, packages in extra.items() if packages}


def test_every_rule_has_an_environment_and_a_stage():
    found = rules()
    assert len(found) >= 20 and sum(not rule["local"] for rule in found.values()) >= 10
    assert not [
        name for name, rule in found.items() if not (rule["environment"] and rule["stages"])
    ]
    files = {path.name for path in (tiny.REPOSITORY / "envs").glob("*.yaml")}
    assert {rule["environment"] for rule in found.values()} == files


def test_every_import_is_in_the_environment():
    assert missing() == {}


def test_every_package_is_imported_or_has_a_reason():
    assert useless() == {}
    everything = set().union(*map(imported, fingerprint.STAGES))
    assert not everything & set(NOT_IMPORTED), "imported by now: needs no reason"


def test_data_and_tables_do_without_the_training_stack():
    """Or a new torch would fetch every dataset again and remake every table."""
    heavy = {"torch", "transformers", "accelerate"}
    assert not heavy & (chosen("data.yaml") | chosen("artifacts.yaml"))
    assert not heavy & (imported("data") | imported("table1") | imported("figure3"))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of what these tests read, to break."""
    for name in ("scripts", "rules", "envs"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(tiny.REPOSITORY / name, tmp_path / name, ignore=skip)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    clear()
    yield tmp_path
    clear()


def clear() -> None:
    for cached in (fingerprint._path, fingerprint._parsed):
        cached.cache_clear()


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    clear()


def test_new_imports_are_noticed(repository):
    """In a function of a module that scripts import indirectly, but not for types alone."""
    errors = repository / "scripts/first/errors.py"
    text = errors.read_text() + "\nfrom typing import TYPE_CHECKING\n"
    text += "\nif TYPE_CHECKING:\n    import torch\n"
    errors.write_text(text)
    clear()
    assert missing(repository) == {}
    lines = "from sklearn import isotonic", "from yaml import safe_load"
    errors.write_text(
        text + "else:\n    import torch.nn as nn\ndef f():\n    {}\n    {}\n".format(*lines)
    )
    clear()
    found = missing(repository)
    assert found["benchmark_data"] == found["alpaca_data"] == found["figure2"]
    assert found["figure2"] == {"torch", "scikit-learn", "pyyaml"}
    assert found["teacher"] == {"scikit-learn", "pyyaml"}


def test_a_removed_package_is_noticed(repository):
    removed = {"data": "pandas", "train": "scipy", "artifacts": "seaborn"}
    for name, package in removed.items():
        path = repository / "envs" / f"{name}.yaml"
        path.write_text(re.sub(rf" +- {package}==.*\n", "", path.read_text()))
    found = missing(repository)
    assert found["benchmark_data"] == {"pandas"}
    assert found["teacher"] == {"scipy"}
    assert found["figure5"] == {"seaborn"}


def test_another_environment_is_noticed(repository):
    """A rule with the wrong environment, and a package that nothing asks for."""
    edit(repository / "rules/student.smk", "envs/train.yaml", "envs/data.yaml")
    assert "torch" in missing(repository)["student"]
    edit(
        repository / "envs/data.yaml",
        "      - datasets",
        "      - tabulate==0.10.0\n      - datasets",
    )
    assert useless(repository) == {"data.yaml": {"tabulate"}}
