"""The real scripts in processes of their own: forked in the short form, by `python -m` when whole.

Forked from a process that has imported torch already, they take a tenth of a second.
"""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

from first_distill.errors import run_cli
from tests.system.faults import WHOLE

ROOT = Path(__file__).resolve().parents[3]
FORK = multiprocessing.get_context("fork")


def script(folder: Path, module: str, line: str, *words: str, **changes: str) -> tuple[int, str]:
    """(exit status, standard error) of `python -m scripts.MODULE`; `changes` to its environment."""
    argv = [*line.split(), *words]
    if WHOLE:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
        done = subprocess.run(
            [sys.executable, "-m", f"scripts.{module}", *argv],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr
    log = folder / "stderr.log"
    process = FORK.Process(target=_work, args=(module, argv, log, folder, changes))
    process.start()
    process.join()
    return process.exitcode, log.read_text()


def _work(module: str, argv: list[str], log: Path, folder: Path, changes: dict) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(changes)
    os.chdir(folder)
    sys.argv = [module, *argv]
    with open(log, "w", buffering=1) as sys.stderr:
        os.dup2(sys.stderr.fileno(), 2)
        run_cli(importlib.import_module(f"scripts.{module}").main)


def refusal(found: tuple[int, str]) -> str:
    """The one line of a script that refused: status 2, no traceback, `error: ` said once."""
    status, text = found
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(lines) == 1 and "Traceback" not in text, (status, text)
    return lines[0]
