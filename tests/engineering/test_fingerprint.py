"""The code fingerprint: logic changes it, words and layout do not, on a copy of the scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from scripts.first.provenance import fingerprint as module
from tests import tiny_models as tiny

STAGES = "data models teacher knowledge temperature student evaluation artifacts".split()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of scripts/ that the fingerprint reads instead."""
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(tiny.REPOSITORY / "scripts", tmp_path / "scripts", ignore=skip)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    clear()
    yield tmp_path
    clear()


def clear() -> None:
    for cached in (module._parsed, module._imports):
        cached.cache_clear()


def fresh(name: str = "first.matching") -> str:
    """The fingerprint as a new process sees it; by default of a module with few imports."""
    clear()
    return module.fingerprint(f"scripts.{name}")


def edit(repository, name: str, change) -> None:
    path = repository / "scripts" / name
    old = path.read_text()
    new = change(old)
    assert new != old
    path.write_text(new)


def test_fingerprint_is_sixteen_digits_of_the_real_tree(repository):
    prints = {name: module.fingerprint(f"scripts.{name}") for name in STAGES}
    assert all(len(p) == 16 and int(p, 16) >= 0 for p in prints.values())
    assert len(set(prints.values())) == len(STAGES)
    code = "from scripts.first.provenance.fingerprint import fingerprint as f; print(f('student'))"
    environment = {**os.environ, "PYTHONHASHSEED": "5"}
    other = subprocess.check_output(
        [sys.executable, "-c", code], cwd=tiny.REPOSITORY, env=environment, text=True
    )
    assert other.strip() == prints["student"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s + "\n# a remark\n",
        lambda s: s.replace('"""Knowledge', '"""New words: knowledge', 1),
        lambda s: s.replace('    """Return Eq. 5', '    """Return the equation 5', 1),
        lambda s: s.replace("import torch\n", "import  torch  # why\n\n", 1),
        lambda s: s.replace("(\n", "( \n"),
    ],
    ids=["comment", "docstring", "function's docstring", "inline", "layout"],
)
def test_words_and_layout_change_nothing(repository, change):
    before = fresh()
    edit(repository, "first/losses.py", change)
    assert fresh() == before


def test_file_time_changes_nothing(repository):
    before = fresh()
    for path in (repository / "scripts").rglob("*.py"):
        os.utime(path, (1, 1))
    assert fresh() == before


@pytest.mark.parametrize(
    "name, change",
    [
        ("first/matching.py", lambda s: s.replace("0.0, 1.0", "0.0, 2.0", 1)),
        ("first/losses.py", lambda s: s.replace("1e-4", "1e-3", 1)),
        ("first/losses.py", lambda s: s.replace('"renorm"', '"renormalised"')),  # no docstring
        ("first/files.py", lambda s: s.replace('"%.6f"', '"%.5f"', 1)),  # two imports away
        ("first/__init__.py", lambda s: s + "\nX = 1\n"),  # importing a module runs its package
    ],
)
def test_logic_of_any_imported_module_counts(repository, name, change):
    before = fresh()
    edit(repository, name, change)
    assert fresh() != before


def test_losses_are_the_students_and_not_the_datas(repository):
    student, data = fresh("student"), fresh("data")
    edit(repository, "first/losses.py", lambda s: s + "\nX = 1\n")
    assert fresh("student") != student
    assert fresh("data") == data


def test_closure_follows_every_way_to_import(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    package = tmp_path / "scripts" / "sub"
    package.mkdir(parents=True)
    files = {
        "__init__.py": "",
        "a.py": "import scripts.b\nimport os, numpy\nfrom scripts.sub import c as x, value\n",
        "b.py": "def f():\n    from scripts.e import g\n",
        "e.py": "g = 1\n",
        "unused.py": "",
        "sub/__init__.py": "from .d import value\n",
        "sub/c.py": "from . import f\nfrom .. import h\n",
        "sub/d.py": "value = 1\n",
        "sub/f.py": "",
        "h.py": "from scripts.a import x\n",  # a circle ends
    }
    for name, text in files.items():
        (tmp_path / "scripts" / name).write_text(text)
    clear()
    expected = {"scripts", "scripts.sub"} | {f"scripts.{n}" for n in "abeh"}
    assert module.closure("scripts.a") == expected | {f"scripts.sub.{n}" for n in "cdf"}
    clear()


@pytest.mark.parametrize("stage", ["student", "data"])
def test_closure_holds_everything_that_is_really_imported(stage):
    """Import the stage and all it names with Python itself; compare what was loaded."""
    code = f"""
import sys, importlib
from scripts.first.provenance.fingerprint import closure
names = closure("scripts.{stage}")
own = set(sys.modules)
importlib.import_module("scripts.{stage}")
print(*sorted(n for n in sys.modules if n.split(".")[0] == "scripts" and n not in names
              and n != "scripts.first.provenance.fingerprint"))
"""
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=tiny.REPOSITORY, text=True)
    assert printed.strip() == ""
    assert f"scripts.{stage}" in module.closure(f"scripts.{stage}")
