"""One lock: pip, conda and the container install the versions and hashes of envs/lock*.txt."""

import ast
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler import MatchSpec

from first_distill import ROOT

FOLDER = ROOT / "envs"
YAML = sorted(path.name for path in FOLDER.glob("*.yaml"))
NEEDED = "# needed by these; written by `make lock`"


def read_lock(name: str) -> dict[str, str]:
    """{package: version} of a lock file; every package has exactly one version and its hashes."""
    text = (FOLDER / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    if name != "lock-torch.txt":
        assert all(re.search(r"( +--hash=sha256:[0-9a-f]{64})+ *$", line) for line in lines)
    found = [Requirement(line.split(" --hash")[0]) for line in lines]
    assert len({r.name for r in found}) == len(found) > 0
    return {r.name: str(r.specifier).removeprefix("==") for r in found}


def named(*files: str) -> set[str]:
    """Packages that run.in, gguf.in or test.in name."""
    lines = [n.split("#")[0].strip() for f in files for n in (FOLDER / f).read_text().splitlines()]
    return {canonicalize_name(Requirement(line).name) for line in lines if line}


def lock() -> dict[str, str]:
    return read_lock("lock-test.txt") | read_lock("lock.txt") | read_lock("lock-torch.txt")


def pins_of(name: str) -> dict[str, str]:
    """{package: version} of a conda environment's pip section."""
    pins = yaml.safe_load((FOLDER / name).read_text())["dependencies"][-1]["pip"]
    parsed = [Requirement(pin) for pin in pins]
    assert len({r.name for r in parsed}) == len(pins) > 3
    return {r.name: str(r.specifier).removeprefix("==") for r in parsed}


def test_every_name_is_locked():
    assert named("run.in", "test.in") <= lock().keys()


def test_the_extra_is_no_part_of_a_run():
    """Nor does it need anything that a run does not have."""
    extra = read_lock("lock-gguf.txt")
    assert extra.keys() == named("gguf.in") and not extra.keys() & read_lock("lock.txt").keys()
    assert extra.items() <= read_lock("lock-test.txt").items()
    needed = {Requirement(line) for name in extra for line in requires(name) or ()}
    needed = {canonicalize_name(one.name) for one in needed if not one.marker}
    assert needed and needed <= read_lock("lock.txt").keys()


def test_installed_versions_are_the_locked_ones():
    wrong = {}
    for package, pinned in lock().items():
        try:
            found = version(package).split("+")[0]
        except PackageNotFoundError:  # of another platform, or of tests
            continue
        if found != pinned:
            wrong[package] = (found, pinned)
    assert wrong == {}


@pytest.mark.parametrize("name", YAML)
def test_conda_environment_is_what_conda_reads(name):
    """Channels, names and versions that conda's own parser takes, strictly; no pin file.

    With a pin file beside it, Snakemake would not install the pip section.
    """
    content = yaml.safe_load((FOLDER / name).read_text())
    assert content["channels"] == ["conda-forge", "nodefaults"]
    assert content["variables"] == {"PYTHONNOUSERSITE": "1"}
    *conda, pip = content["dependencies"]
    specs = [MatchSpec(spec, strict=True) for spec in conda]
    assert list(map(str, specs)) == ["python 3.11.*", "pip"] and list(pip) == ["pip"]
    assert {path.name for path in FOLDER.glob(f"{name[:-5]}.*")} == {name}


@pytest.mark.parametrize("name", YAML)
def test_conda_environment_pins_the_lock(name):
    assert {package: lock()[package] for package in pins_of(name)} == pins_of(name)
    chosen = (FOLDER / name).read_text().split(NEEDED)[0]
    assert set(re.findall(r"- ([\w-]+)==", chosen)) <= named("run.in")


def imported(node: ast.AST) -> list[str]:
    """Modules that a node of the syntax tree imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []


def test_every_import_is_named():
    """What code imports must not come and go with what some other package needs."""
    owners = packages_distributions()
    files = [p for d in ("first_distill", "scripts") for p in (ROOT / d).rglob("*.py")]
    trees = [ast.walk(ast.parse(path.read_text())) for path in files]
    found = {m.split(".")[0] for nodes in trees for node in nodes for m in imported(node)}
    ours = {"first_distill", "scripts", *sys.stdlib_module_names}
    packages = {canonicalize_name(owners.get(name, [name])[0]) for name in found - ours}
    assert packages - named("gguf.in") <= named("run.in") and {"torch", "datasets"} <= packages


def wheel(folder, name: str) -> str:
    """Write a package of one module, version 1.0; its line in a lock."""
    place = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(place, "w") as file:
        file.writestr(f"{name}.py", "")
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        file.writestr(f"{name}-1.0.dist-info/METADATA", about)
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{name}-1.0.dist-info/WHEEL", tag)
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(place.read_bytes()).hexdigest()}"


def test_only_what_the_lock_names_is_installed(tmp_path):
    """`make` refuses a package with another hash or without one."""
    lines = (ROOT / "Makefile").read_text().splitlines(keepends=True)
    without_project = [line for line in lines if "--editable ." not in line]  # none here to build
    (tmp_path / "Makefile").write_text("".join(without_project))
    (tmp_path / "envs").mkdir()
    venv = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    good, *_ = (wheel(tmp_path, name) for name in ("good", "other", "torchlike"))
    (tmp_path / "envs/lock-torch.txt").write_text("torchlike==1.0\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "PYTHON"))}
    kept |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}

    def install(lock: str) -> tuple[bool, str]:
        (tmp_path / "envs/lock.txt").write_text(lock + "\n")
        line = ["make", f"VENV={venv}", f"{venv}/run.stamp"]
        done = subprocess.run(line, cwd=tmp_path, env=kept, capture_output=True, text=True)
        return (venv / "run.stamp").exists(), done.stdout + done.stderr

    wrong = good[:-1] + ("0" if good[-1] != "0" else "1")
    for lock, reason in (
        (wrong, "DO NOT MATCH THE HASHES"),
        (f"{good}\nother==1.0", "Hashes are required"),
    ):
        made, text = install(lock)
        assert not made and reason in text, text
    made, text = install(good)
    assert made, text


def test_the_container_installs_the_lock():
    """By the Makefile's own rule, with the files that it copies; the Snakefile names the image."""
    definition = (FOLDER / "first.def").read_text()
    copied = re.findall(r"^    (\S+) /opt/first-source/(\S+)$", definition, flags=re.M)
    assert {source for source, target in copied if source == target} == {
        "Makefile",
        "envs/lock.txt",
        "envs/lock-torch.txt",
    }
    assert "make -C /opt/first-source VENV=/opt/first /opt/first/run.stamp" in definition
    (image,) = re.findall(r"^#   apptainer build (\S+) envs/first.def$", definition, flags=re.M)
    assert f'container: here("{image}")' in (ROOT / "Snakefile").read_text()
