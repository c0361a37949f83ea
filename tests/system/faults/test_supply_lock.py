"""What pip installs is what the lock names, byte by byte; and each dependency has its reason."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.first.runtime.environments import FOLDER, canonical, named
from tests.system.faults import tried
from tests.system.faults.forked import ROOT


def wheel(folder: Path, name: str, *needs: str) -> str:
    """Write a package of one module, version 1.0; its line in a lock."""
    place = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    about += "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(place, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{name}-1.0.dist-info/METADATA", about)
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{name}-1.0.dist-info/WHEEL", tag)
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(place.read_bytes()).hexdigest()}"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A virtual environment without packages."""
    folder = tmp_path_factory.mktemp("venv") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


def install(tmp_path: Path, environment: Path, lock: str) -> subprocess.CompletedProcess:
    """`make run.stamp` by the project's own Makefile; packages from a folder alone."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "envs").mkdir(exist_ok=True)
    (tmp_path / "envs/lock.txt").write_text(lock + "\n")
    (tmp_path / "envs/lock-torch.txt").write_text("torchlike==1.0\n")
    (environment / "run.stamp").unlink(missing_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "PYTHON"))}
    kept |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        ["make", f"VENV={environment}", str(environment / "run.stamp")],
        cwd=tmp_path,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def lines(tmp_path) -> dict[str, str]:
    """Packages in the folder, and their lines; nothing of them is installed before a test."""
    needs = {"good": (), "other": (), "torchlike": ("good",), "needy": ("absent",)}
    return {name: wheel(tmp_path, name, *needs[name]) for name in needs}


def altered(line: str) -> str:
    return line[:-1] + ("0" if line[-1] != "0" else "1")


CASES = {  # in this order: the last one installs what it then refuses
    "a hash of another file": (lambda ls: altered(ls["good"]), "DO NOT MATCH THE HASHES"),
    "a package without a hash": (lambda ls: ls["good"] + "\nother==1.0", "Hashes are required"),
    "a package without a version": (
        lambda ls: ls["good"] + "\n" + ls["other"].replace("==1.0", ""),
        "pinned with ==",
    ),
    "an altered file": (lambda ls: ls["good"], "DO NOT MATCH THE HASHES"),
    "a need that the lock lacks": (lambda ls: ls["needy"] + "\n" + ls["good"], "absent"),
}


def test_anything_but_what_the_lock_names_is_refused(tmp_path, environment, lines):
    for name, (lock, match) in CASES.items():
        content = (tmp_path / "good-1.0-py3-none-any.whl").read_bytes()
        if name == "an altered file":
            (tmp_path / "good-1.0-py3-none-any.whl").write_bytes(content + b"\0")
        done = install(tmp_path, environment, lock(lines))
        (tmp_path / "good-1.0-py3-none-any.whl").write_bytes(content)
        text = done.stdout + done.stderr
        assert done.returncode != 0 and match in text, (name, text)
        assert not (environment / "run.stamp").exists()
        said = next(line for line in text.splitlines() if match in line).strip()
        tried(f"the lock: {name}", 1, 1, 0, said)
    subprocess.run(
        [environment / "bin/python", "-m", "pip", "uninstall", "-qy", "needy"], check=True
    )
    done = install(tmp_path, environment, f"{lines['good']} --hash=sha256:{'0' * 64}")
    assert done.returncode == 0, done.stdout + done.stderr  # nothing but the faults was refused
    assert (environment / "run.stamp").exists()


def reasons() -> dict[str, str]:
    """{package: what it is for} of envs/DEPENDENCIES.md."""
    text = (FOLDER / "DEPENDENCIES.md").read_text()
    rows = re.findall(r"^\| `([\w.-]+)` \| (.+?) \|", text, flags=re.M)
    assert len(dict(rows)) == len(rows), "a package twice"
    return {canonical(name): reason for name, reason in rows}


def test_every_direct_dependency_has_its_reason_and_no_other():
    direct = named("run.txt", "test.txt", "test-nodeps.txt") | {"uv"}
    assert set(reasons()) == direct
    assert all(len(reason) > 10 for reason in reasons().values())
