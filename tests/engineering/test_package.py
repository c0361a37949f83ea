"""`pip install .`: what it asks for is in the lock, is imported, and is enough for the examples."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import first_distill
from tests import tiny_models as tiny
from tests.engineering.test_environments import lock, named
from tests.system.workflow.copies import copy_repository

PROJECT = tomllib.loads((tiny.REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
HEAVY = ("transformers", "tokenizers", "accelerate", "datasets", "huggingface_hub", "pydantic")
HEAVY += ("snakemake", "yaml", "jinja2", "matplotlib", "tabulate")


def requirements(*lists: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for words in lists for r in map(Requirement, words)}


def test_the_lock_satisfies_every_lower_bound():
    """And there are no other bounds: the lock says which versions are tested."""
    found = requirements(PROJECT["dependencies"], *EXTRAS.values())
    for name, requirement in found.items():
        (bound,) = requirement.specifier
        assert bound.operator == ">=" and Version(bound.version) <= Version(lock()[name]), name


def test_the_workflows_packages_are_those_of_its_list():
    library = requirements(PROJECT["dependencies"])
    assert library.keys() | requirements(EXTRAS["workflow"]) == named("run.in") | {"torch"}
    assert not library.keys() & requirements(EXTRAS["workflow"]).keys()
    assert requirements(EXTRAS["trainer"]).items() <= requirements(EXTRAS["workflow"]).items()


def loaded(*statements: str) -> set[str]:
    """Top-level modules in a new process after some statements."""
    code = "; ".join([*statements, "import sys", "print(*{m.split('.')[0] for m in sys.modules})"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tiny.REPOSITORY)},
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_the_library_loads_what_it_is_asked_for():
    metrics = "Estimate, expected_calibration_error, score, search_temperature, prob_softmax"
    assert not loaded("import first_distill") & {"numpy", "torch"}
    found = loaded(f"from first_distill import {metrics}")
    assert {"numpy", "scipy"} <= found and not found & {"torch", "safetensors", *HEAVY}
    every = loaded("from first_distill import *")
    assert {"torch", "safetensors"} <= every and not every & set(HEAVY)
    names = {canonicalize_name(name) for name in every}
    assert requirements(PROJECT["dependencies"]).keys() <= names


def test_it_says_what_it_has(monkeypatch):
    """Its names before they are imported, and its version, where it is installed."""
    assert {"__version__", "ROOT", *first_distill.__all__} <= set(dir(first_distill))
    assert all(getattr(first_distill, name) for name in dir(first_distill) if name != "__spec__")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} 1.2")
    assert first_distill.__version__ == "first-distill 1.2"
    monkeypatch.undo()
    missing = lambda name: importlib.metadata.distribution("no-such-package").version  # noqa: E731
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert first_distill.__version__ == "0+unknown"
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = first_distill.no_such_name


@pytest.mark.slow
def test_it_installs_into_an_empty_environment(tmp_path):
    """And the examples run there, from another folder; needs pip's index."""
    made = tmp_path / "empty"
    venv.create(made, with_pip=True)
    python, source = made / "bin/python", copy_repository(tmp_path / "first")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    kept |= {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    away = tmp_path / "away"
    away.mkdir()

    def run(*words: object) -> str:
        done = subprocess.run(
            [str(python), *map(str, words)], cwd=away, env=kept, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    torch = (tiny.REPOSITORY / "envs/lock-torch.txt").read_text().splitlines()[-1]
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, torch)  # as a user does; its default build may be larger than the machine needs
    run(*pip, source)
    where = run("-c", "import first_distill as f; print(f.__version__, f.__file__, sep='\\n')")
    version, file = where.splitlines()
    assert version == PROJECT["version"] and file.startswith(str(made))
    assert Path(file).with_name("py.typed").is_file()
    installed = run("-m", "pip", "list", "--format", "freeze").split()
    assert not {word.split("==")[0] for word in installed} & {"transformers", "snakemake"}
    examples = tiny.REPOSITORY / "examples"
    assert "student ECE" in run(examples / "torch_loop.py")
    run("-c", STORE)
    assert run(examples / "read_store.py", "store").startswith("1 rows, 3 positions, top 2")
    (away / "samples_exam_2026-01-01.jsonl").write_text(SAMPLES)
    assert "accuracy 50.00 [" in run(examples / "lm_eval_metrics.py", *away.glob("*.jsonl"))
    run(*pip, f"{source}[trainer]")
    assert "at last" in run(examples / "trainer.py")


STORE = """
import numpy as np, torch
from first_distill import top_k, id_dtype, row_hash, write_store
ids, log_probs, log_tail = top_k(torch.randn(3, 9), 2)
write_store("store", {"ids": ids.astype(id_dtype(9)), "log_probs": log_probs, "log_tail": log_tail,
    "gold_rank": np.zeros(3, np.uint8), "offsets": np.array([0, 3]),
    "row_hashes": np.frombuffer(row_hash([4, 5], 1), np.uint8)[None]}, {"vocabulary_size": 9})
"""
ANSWERS = '"filtered_resps": [["-0.5", "True"], ["-2", "False"]]'
SAMPLES = "".join(f'{{"doc_id": {i}, "acc": {i % 2}, {ANSWERS}}}\n' for i in range(20))
