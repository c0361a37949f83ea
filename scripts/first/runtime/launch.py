"""How every script starts: in the warm server when there is one, else by itself."""

from __future__ import annotations

import sys

from scripts.first.errors import run_cli
from scripts.first.runtime.warm import maybe_delegate


def launch(module: str, main) -> None:
    """Run `main` as the command line program `python -m module` and exit with its status."""
    status = maybe_delegate(module, sys.argv[1:])
    if status is None:
        run_cli(main)
    sys.exit(status)
