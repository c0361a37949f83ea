"""The one lock and what follows from it: see --write-lock.

The lock holds the installed versions of what run.txt, test.txt and test-nodeps.txt name, and of all
that these need, each with the SHA-256 of every file that the index has of it: pip refuses any other
file, on any platform. It lies in several files, because pip installs whole ones: lock.txt is a run,
lock-test.txt what tests add, lock-tool.txt the program that asks the index. lock-torch.txt has no
hash (see README.md there).

A conda environment takes from the lock the versions of the packages that it names and, below a line
that says so, of all that these need: a `pip:` section cannot refer to the lock, and Snakemake would
not notice a change of a file that it refers to.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distributions, requires

from scripts.first import ROOT
from scripts.first.errors import UserError, run_cli
from scripts.first.files import write_text

FOLDER = ROOT / "envs"
NOT_LOCKED = {"pip", "setuptools", "wheel"}
TORCH, TOOL = "torch", "uv"
HEADERS = {
    "lock.txt": "Every version that a run installs, and the hash of each of its files.",
    "lock-test.txt": "What tests and linters add to lock.txt.",
    "lock-torch.txt": "torch by its version alone: each CUDA, and the CPU, has a file of its own.",
    "lock-tool.txt": "What `make lock` asks the index with.",
}
MADE = "# Made by `make lock`. README.md tells how; names to install: run.txt, test*.txt.\n"
NEEDED = "# needed by these; written by `make lock`"
INSTALL = "the lock is written from what is installed: install it first"
PIN = re.compile(r"- ([\w.-]+)==\S+")


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """Versions of the running environment, without local build tags such as +cpu."""
    found = {}
    for distribution in distributions():
        name = canonical(distribution.metadata["Name"])
        if name not in NOT_LOCKED:
            found[name] = distribution.version.split("+")[0]
    return dict(sorted(found.items()))


def locked() -> dict[str, str]:
    """Versions of the lock, of all its files."""
    texts = [(FOLDER / name).read_text(encoding="utf-8") for name in HEADERS]
    lines = [line for text in texts for line in text.splitlines() if line and line[0] != "#"]
    pins = [line.split()[0].split("==") for line in lines]
    return dict(sorted((canonical(name), version) for name, version in pins))


def named(*files: str) -> set[str]:
    """Packages that files of names to install name."""
    lines = [n for f in files for n in (FOLDER / f).read_text(encoding="utf-8").splitlines()]
    return {canonical(line.strip()) for line in lines if line.strip() and line[0] != "#"}


def needed(names: set[str]) -> set[str]:
    """What installed packages require on this platform, in turn; without themselves.

    Raises UserError for a package that is not installed.
    """
    from packaging.requirements import Requirement

    found, queue = set(), [(name, "") for name in names]
    while queue:
        name, extra = queue.pop()
        if (name, extra) in found or name in NOT_LOCKED:
            continue
        found.add((name, extra))
        try:
            requirements = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            raise UserError(
                f"not installed: {name}: install it before you write the lock"
            ) from None
        for requirement in requirements:
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                queue += [(canonical(requirement.name), e) for e in ("", *requirement.extras)]
    return {name for name, _ in found} - names


def to_lock() -> dict[str, set[str]]:
    """What each file of the lock has to hold.

    Of test-nodeps.txt only the packages themselves, without what they say they need.
    """
    of_run, names = named("run.txt"), named("run.txt", "test.txt")
    run = of_run | needed(of_run)
    everything = names | needed(names) | named("test-nodeps.txt")
    files = {"lock.txt": run - {TORCH}, "lock-test.txt": everything - run}
    return files | {"lock-torch.txt": {TORCH}, "lock-tool.txt": {TOOL}}


def hashed(pins: list[str]) -> list[str]:
    """Each `name==version` with the hashes of its files, one line each, as the index has them.

    The index is uv's: the public one, or UV_DEFAULT_INDEX, or PIP_INDEX_URL where that is set.
    """
    words = ["pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-header"]
    words += ["--no-annotate", "--python-version", "3.11", "-"]
    mirror = os.environ.get("PIP_INDEX_URL")
    environment = {**({"UV_DEFAULT_INDEX": mirror} if mirror else {}), **os.environ}
    done = subprocess.run(
        [sys.executable, "-m", TOOL, *words],
        input="\n".join(pins),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"no hashes: {(done.stderr.strip().splitlines() or ['uv'])[-1]}: {INSTALL}")
    found = done.stdout.replace("\\\n", " ").splitlines()
    lines = (" ".join(line.split()) for line in found)
    return sorted(lines, key=lambda line: line.split("==")[0])


def completed(text: str, versions: dict[str, str]) -> str:
    """A conda environment with the versions of the lock, and with all that its packages need."""
    head, pip, tail = text.partition("  - pip:\n")
    chosen = {canonical(name) for name in PIN.findall(tail.split(NEEDED)[0])}
    lines = [f"- {name}=={versions[name]}" for name in sorted(chosen)] + [NEEDED]
    lines += [f"- {name}=={versions[name]}" for name in sorted(needed(chosen))]
    return head + pip + "".join(f"      {line}\n" for line in lines)


def main(argv: list[str]) -> int:
    """Write the lock and the versions of the conda environments."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write-lock", action="store_true", required=True)
    options.parse_args(argv)
    versions, files = installed(), to_lock()
    if absent := sorted(set().union(*files.values()) - versions.keys()):
        raise UserError(f"not installed: {absent[0]}: {INSTALL}")
    for file, names in files.items():
        pins = [f"{name}=={versions[name]}" for name in sorted(names)]
        lines = pins if names == {TORCH} else hashed(pins)
        if [line.split()[0] for line in lines] != pins:
            raise UserError(f"no hashes: {file}: the index lacks some of its packages")
        write_text(FOLDER / file, f"# {HEADERS[file]}\n{MADE}" + "\n".join(lines) + "\n")
    for path in sorted(FOLDER.glob("*.yaml")):
        write_text(path, completed(path.read_text(encoding="utf-8"), versions))
    return 0


if __name__ == "__main__":
    run_cli(main)
