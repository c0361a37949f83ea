"""The one lock and what follows from it: `python -m scripts.first.environments --write-lock`."""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

from scripts.first.files import write_text

FOLDER = Path(__file__).resolve().parents[2] / "envs"
NOT_LOCKED = {"pip", "setuptools", "wheel"}
HEADER = """# The one lock: every version that this project installs, for runs and for tests.
# Made by `make lock`. Names to install: run.txt, test.txt, test-nodeps.txt; conda: *.yaml.
"""


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


def main(argv: list[str]) -> int:
    """Write the lock."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write-lock", action="store_true", required=True)
    options.parse_args(argv)
    pins = "".join(f"{name}=={version}\n" for name, version in installed().items())
    write_text(FOLDER / "lock.txt", HEADER + pins)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
