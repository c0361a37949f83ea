"""Write the lock and the pip sections of the conda environments: `make lock` (uv resolves).

Versions in lock.txt and lock-test.txt stay as they are unless `--upgrade` or `--upgrade-package
NAME` is given, or run.in and test.in ask for others. The lock holds for every platform and for
Python 3.11 and later. A conda environment takes the versions of the packages that it names, and of
all that these need, from the lock: a `pip:` section cannot refer to another file.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
UNIVERSAL = ["--universal", "--generate-hashes", "--no-emit-package", "torch"]
LOCKED = ["-c", "lock.txt", "-c", "lock-torch.txt"]
EXTRA = [*UNIVERSAL, "--no-deps"]  # what it needs is in lock.txt
NEEDED = "# needed by these; written by `make lock`"


def resolve(*words: str, text: str | None = None) -> str:
    """Requirements that `uv pip compile` prints for Python 3.11 and later."""
    line = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-annotate"]
    line += ["--no-header", "--config-file", "uv.toml", "--python-version", "3.11", *words]
    done = subprocess.run(line, cwd=FOLDER, input=text, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def completed(text: str) -> str:
    """A conda environment with the locked versions of its packages and of all that they need."""
    head, pip, tail = text.partition("  - pip:\n")
    chosen = tail.partition(NEEDED)[0].replace("- ", "").split()
    names = [pin.split("==")[0] for pin in chosen]
    found = resolve("--python-platform", "linux", *LOCKED, "-", text="\n".join(names)).split("\n")
    pins = [pin.split(";")[0].strip() for pin in found if pin]
    own = [pin for pin in pins if pin.split("==")[0] in names]
    lines = [f"- {pin}" for pin in own] + [NEEDED] + [f"- {p}" for p in pins if p not in own]
    return head + pip + "".join(f"      {line}\n" for line in lines)


def main(upgrade: list[str]) -> None:
    """Write everything; `upgrade` are options of uv."""
    resolve(*UNIVERSAL, *upgrade, "-c", "lock-torch.txt", "run.in", "-o", "lock.txt")
    resolve(*EXTRA, *upgrade, "gguf.in", "-o", "lock-gguf.txt")
    tests = [*LOCKED, "-c", "lock-gguf.txt", "run.in", "test.in"]
    resolve(*UNIVERSAL, *upgrade, *tests, "-o", "lock-test.txt")
    for path in sorted(FOLDER.glob("*.yaml")):
        path.write_text(completed(path.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
