"""Each rule's conda environment holds what its script can import, and nothing else."""

import re
import shutil
from functools import cache
from importlib.metadata import packages_distributions

import pytest

from first_distill.provenance import fingerprint
from tests import tiny_models as tiny
from tests.engineering.test_environments import NEEDED, named
from tests.engineering.test_environments import canonicalize_name as canonical

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
            environment = re.search(r'    conda:\n        environment\("(\w+)"\)\n', block)
            stages = set(re.findall(r'fingerprint\("(\w+)"\)', block))
            rule = dict(found.get(base, {"environment": None, "stages": set(), "local": False}))
            rule |= {"environment": environment[1]} if environment else {}
            rule |= {"stages": stages} if stages else {}
            rule["local"] |= "    localrule: True\n" in block
            found[name] = rule
    return found


def chosen(name: str, folder=tiny.REPOSITORY) -> set[str]:
    """Packages that an environment names itself, without those that these need."""
    text = (folder / f"envs/{name}.yaml").read_text().split(NEEDED)[0]
    return set(re.findall(r"- ([\w-]+)==", text))


def imported(stage: str) -> set[str]:
    """Distributions that a stage can import; not those of an extra, which no rule needs."""
    names = fingerprint.third_party(stage) - named("gguf.in")
    return {canonical(distributions()[name][0]) for name in names}


def differences(folder=tiny.REPOSITORY) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Packages that a rule's environment lacks, and that no rule with an environment imports."""
    missing, of = {}, cache(imported)
    useless = {path.stem: chosen(path.stem, folder) for path in (folder / "envs").glob("*.yaml")}
    for name, rule in rules(folder).items():
        packages = set().union(*map(of, rule["stages"]))
        missing[name] = packages - chosen(rule["environment"], folder)
        useless[rule["environment"]] -= packages
    return tuple({name: found for name, found in d.items() if found} for d in (missing, useless))


def test_every_rule_has_an_environment_and_a_stage():
    found = rules()
    assert len(found) >= 18 and sum(not rule["local"] for rule in found.values()) >= 10
    incomplete = [n for n, rule in found.items() if not (rule["environment"] and rule["stages"])]
    assert incomplete == []
    files = {path.stem for path in (tiny.REPOSITORY / "envs").glob("*.yaml")}
    assert {rule["environment"] for rule in found.values()} == files


def test_environments_hold_what_is_imported_and_nothing_else():
    assert differences() == ({}, {})


def test_data_and_tables_do_without_the_training_stack():
    """Otherwise a new torch would refetch every dataset and remake every table."""
    heavy = {"torch", "transformers", "accelerate"}
    assert not heavy & (chosen("data") | chosen("artifacts"))
    assert not heavy & (imported("data") | imported("table1") | imported("figure3"))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of what these tests read, to break."""
    for name in ("first_distill", "scripts", "rules", "envs"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(tiny.REPOSITORY / name, tmp_path / name, ignore=skip)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    fingerprint.module.cache_clear()
    yield tmp_path
    fingerprint.module.cache_clear()


def test_new_imports_are_noticed(repository):
    """In a function of a module that scripts import indirectly, but not for types alone."""
    path = repository / "first_distill/errors.py"
    lines = "from sklearn import isotonic", "from yaml import safe_load"
    text = "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import scipy\n"
    text += "else:\n    import torch.nn as nn\ndef f():\n    {}\n    {}\n".format(*lines)
    path.write_text(path.read_text() + text)
    found, _ = differences(repository)
    assert found["benchmark_data"] == found["corpus_data"] == found["figure2"]
    assert found["figure2"] == {"torch", "scikit-learn", "pyyaml"}
    assert found["teacher"] == {"scikit-learn", "pyyaml"}


def test_other_environments_are_noticed(repository):
    """A package removed, one that nothing asks for, and a rule with the wrong environment."""

    def edit(name: str, pattern: str, new: str) -> None:
        path = repository / name
        text, count = re.subn(pattern, new, path.read_text(), count=1)
        assert count
        path.write_text(text)

    for name, package in {"data": "pandas", "train": "scipy", "artifacts": "seaborn"}.items():
        edit(f"envs/{name}.yaml", rf" +- {package}==.*\n", "")
    edit("envs/data.yaml", "      - datasets", "      - tabulate==0.10.0\n      - datasets")
    found, useless = differences(repository)
    assert useless == {"data": {"tabulate"}}
    assert found["benchmark_data"] == {"pandas"} and found["teacher"] == {"scipy"}
    assert found["figure5"] == {"seaborn"}
    edit("rules/student.smk", r'environment\("train"\)', 'environment("data")')
    assert "torch" in differences(repository)[0]["student_labels"]
