"""The one lock and what follows from it: `python -m scripts.first.environments --write-lock`.

The lock holds the installed versions of what run.txt, test.txt and test-nodeps.txt name, and of all
that these need. A conda environment takes from it the versions of the packages that it names and,
below a line that says so, of all that these need: a `pip:` section cannot refer to the lock, and
Snakemake would not notice a change of a file that it refers to.
"""

from __future__ import annotations

import argparse
import re
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

from scripts.first.errors import UserError, run_cli
from scripts.first.files import write_text

FOLDER = Path(__file__).resolve().parents[2] / "envs"
NOT_LOCKED = {"pip", "setuptools", "wheel"}
HEADER = """# The one lock: every version that this project installs, for runs and for tests.
# Made by `make lock`. Names to install: run.txt, test.txt, test-nodeps.txt; conda: *.yaml.
"""
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
    """Versions of the lock."""
    lines = (FOLDER / "lock.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pins}


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


def to_lock() -> set[str]:
    """What the lock has to hold: test-nodeps.txt without what its packages say they need."""
    names = named("run.txt", "test.txt")
    return names | needed(names) | named("test-nodeps.txt")


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
    versions = installed()
    if absent := sorted(to_lock() - versions.keys()):
        raise UserError(f"not installed: {absent[0]}: {INSTALL}")
    pins = "".join(f"{name}=={versions[name]}\n" for name in sorted(to_lock()))
    write_text(FOLDER / "lock.txt", HEADER + pins)
    for path in sorted(FOLDER.glob("*.yaml")):
        write_text(path, completed(path.read_text(encoding="utf-8"), versions))
    return 0


if __name__ == "__main__":
    run_cli(main)
