"""Ctrl-C: one line at the end of a run, whatever Snakemake is about.

Snakemake ends jobs where it schedules them. Before that and after it Ctrl-C would be a traceback,
and a second one nearly anywhere; jobs have their own way to hear of it (errors.run_cli).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys

from scripts.first.errors import INTERRUPTED_STATUS

LINE = "error: interrupted: the same command continues"
_told: list[bool] = []


def listen(workflow) -> None:
    """Take Ctrl-C of a run from here on. Call it early: it has the last word at the end."""

    def interrupt(*_) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough; SIGTERM ends the patience
        _told.append(True)
        if workflow.scheduler is not None:
            raise KeyboardInterrupt  # Snakemake's scheduler ends the jobs
        with contextlib.suppress(Exception):
            workflow._snakemake_tmp_dir.cleanup()
        _tell()
        sys.stdout.flush()
        os._exit(INTERRUPTED_STATUS)  # nothing has begun: no lock, no job

    atexit.register(_tell)
    signal.signal(signal.SIGINT, interrupt)


def happened() -> bool:
    """Whether Ctrl-C was pressed."""
    return bool(_told)


def over() -> None:
    """The run is over: Ctrl-C has nothing to end. SystemExit where it was pressed before."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if happened():
        sys.exit(INTERRUPTED_STATUS)


def _tell() -> None:
    if happened():
        with contextlib.suppress(OSError):
            print(LINE, file=sys.stderr, flush=True)
