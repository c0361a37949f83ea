"""The container definition installs the one lock by the Makefile's own rule."""

from __future__ import annotations

import re
import shutil
import subprocess

import yaml

from tests import tiny_models as tiny

DEFINITION = tiny.REPOSITORY / "envs/first.def"
SOURCE = "/opt/first-source"


def sections() -> dict[str, list[str]]:
    """{section: its lines}; the header's section is the empty name."""
    found, name = {"": []}, ""
    for line in DEFINITION.read_text().splitlines():
        if line.startswith("%"):
            name = line[1:]
            found[name] = []
        elif line.strip() and line.strip()[0] != "#":
            found[name].append(line.strip())
    return found


def test_it_installs_the_lock(tmp_path):
    """What is copied is enough for make, which then installs the lock's files."""
    for line in sections()["files"]:
        name, target = line.split()
        assert target == f"{SOURCE}/{name}"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(tiny.REPOSITORY / name, tmp_path / name)
    (command,) = [line for line in sections()["post"] if line.startswith("make ")]
    words = command.replace(SOURCE, str(tmp_path)).replace("/opt/first", str(tmp_path / "made"))
    plan = subprocess.check_output(["make", "-n", *words.split()[1:]], text=True)
    assert f"{tmp_path}/made/bin/python -m pip install" in plan
    assert "--require-hashes --no-deps -r envs/lock.txt" in plan
    assert "-r envs/lock-torch.txt" in plan
    assert "test.txt" not in plan
    assert sections()["environment"] == ["export PATH=/opt/first/bin:$PATH"]


def test_python_is_that_of_the_other_environments():
    """Debian 12's python3.11, which make looks for, and python=3.11 of conda."""
    assert sections()[""] == ["Bootstrap: docker", "From: debian:12-slim"]
    (packages,) = [
        line.split() for line in sections()["post"] if line.startswith("apt-get install")
    ]
    assert {"make", "python3.11", "python3.11-venv"} <= set(packages)
    assert "PYTHON ?= python3.11\n" in (tiny.REPOSITORY / "Makefile").read_text()
    conda = yaml.safe_load((tiny.REPOSITORY / "envs/train.yaml").read_text())["dependencies"]
    assert conda[0] == "python=3.11"


def test_jobs_run_in_the_image_that_it_builds():
    """`container:` of the Snakefile is what the definition's first lines build; git ignores it."""
    (image,) = re.findall(
        r'^container: "(.+)"$', (tiny.REPOSITORY / "Snakefile").read_text(), flags=re.M
    )
    assert f"apptainer build {image} envs/first.def" in DEFINITION.read_text()
    ignored = ["git", "check-ignore", "-q", "--no-index", image]
    assert subprocess.run(ignored, cwd=tiny.REPOSITORY, check=False).returncode == 0
