"""What the failed jobs of a run said, as its last lines: one each, and what disk is full.

Snakemake tells a failed job by its shell command. Why it failed stands in its log. Where the disk
of its own folder is full, Snakemake would tell by tracebacks.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scripts.first.errors import FULL, MAKE_ROOM, UserError
from scripts.first.runtime.interrupts import happened

AT_MOST = 20  # lines; more failures than that have one cause
WRITTEN = ("results", "logs", ".snakemake")
PROBE = 1 << 15  # bytes
SECONDS_OF_THREADS = 10


class Failures(logging.Handler):
    """Hears of each failed job from Snakemake's logger; a retry that succeeds is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, tuple[str, list[str]]] = {}
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Note a job's error, with its rule and logs, or its end, or an error of the run itself."""
        event = getattr(getattr(record, "event", None), "value", None)
        if event == "job_error":
            self.jobs[record.jobid] = (record.rule_name, list(record.log))
        elif event == "job_finished":
            self.jobs.pop(record.job_id, None)
        self.failed |= event is None and record.levelno >= logging.ERROR

    def tell(self) -> None:
        """Print `error: RULE: LOG: what it said` for each failed job, then each full folder.

        Nothing after Ctrl-C: what failed then was ended.
        """
        if happened():
            return
        lines = [f"{rule}: {reason(logs)}" for rule, logs in self.jobs.values()]
        if len(lines) > AT_MOST:
            lines[AT_MOST:] = [f"and {len(lines) - AT_MOST} more: see the logs"]
        if self.jobs or self.failed:
            lines += [full for folder in (*WRITTEN, _temporary()) if (full := full_disk(folder))]
        for line in lines:
            print(f"error: {line}", file=sys.stderr)


def watch(workflow, logger: logging.Logger) -> None:
    """Tell a run's failures at its end. UserError, before it starts, where it has no room.

    For the run itself; the jobs that it starts on a cluster have their own machines and folders.
    """
    check_temporary_folder()
    if full := full_disk(".snakemake"):
        raise UserError(full)
    logging.raiseExceptions = False  # a log on a full disk: no traceback for each of its lines
    failures = Failures()
    logger.addHandler(failures)
    atexit.register(failures.tell)
    workflow.execute = _told(workflow.execute, failures)
    workflow.tear_down = _patient(workflow)


def _told(execute: Callable, failures: Failures) -> Callable:
    """Snakemake's `execute`, which ends without a traceback where its own disk is full."""

    def run(*words, **named):
        try:
            return execute(*words, **named)
        except OSError as error:
            if error.errno not in FULL:
                raise
            failures.failed = True
            sys.exit(1)

    return run


def _patient(workflow) -> Callable[[], None]:
    """Snakemake's `tear_down`, once its threads have told of their jobs.

    After Ctrl-C it would close their event loops under them, and end in a traceback.
    """
    tear_down = workflow.tear_down

    def run() -> None:
        end = time.monotonic() + SECONDS_OF_THREADS
        while time.monotonic() < end and any(
            runner.get_loop().is_running() for runner in list(workflow._async_runners.values())
        ):
            time.sleep(0.05)
        with contextlib.suppress(RuntimeError):  # one has begun since: the process ends anyway
            tear_down()

    return run


def reason(logs: list[str]) -> str:
    """The last `error: ...` line of a job's logs, behind the log's name."""
    for log in logs:
        try:
            lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in reversed(lines):
            if line.startswith("error: "):
                return f"{log}: {line.removeprefix('error: ')}"
    return f"{' '.join(logs) or 'it has no log'}: it told no reason"


def check_temporary_folder() -> None:
    """UserError where TMPDIR is no folder, or where no folder for temporary files has room.

    Python would take another folder in silence, maybe one in memory.
    """
    named = os.environ.get("TMPDIR")
    if named and not os.path.isdir(named):
        raise UserError(f"TMPDIR = {named}: no such folder: make it, or unset TMPDIR")
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise UserError(f"{error.strerror}: free some space, or set TMPDIR") from None


def full_disk(folder: str) -> str | None:
    """A line where the system has no room in a folder (disk, files, quota); None where it has."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(PROBE))
            if file.tell() == PROBE:
                return None
            reason = "No space left on device"
    except OSError as error:
        if error.errno not in FULL:
            return None
        reason = os.strerror(error.errno)
    return f"{reason}: {folder}: {MAKE_ROOM}"


def _temporary() -> str:
    """The folder for temporary files; TMPDIR's own where none has room."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.environ.get("TMPDIR") or "/tmp"
