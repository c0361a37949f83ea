"""Mistakes of the user, and how a script reports them: one line on stderr, no traceback."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable

USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130


class UserError(Exception):
    """Something the user can put right; the message is one line, ``what: where: what to do``."""


def run_cli(main: Callable[[list[str]], int | None]) -> None:
    """Run ``main(argv)`` on the command line and exit with the status it returns (None is 0).

    A :class:`UserError` or an operating-system error (missing file, no permission, full disk)
    becomes one line ``error: ...`` on stderr and status 2; an interrupt gives status 130. Any
    other exception is a defect of the program and keeps its traceback.
    """
    try:
        status = main(sys.argv[1:])
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        _fail(_describe(error))
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
    sys.exit(status or 0)


def without_passwords(text: str) -> str:
    """The text without `user:password@` in addresses, such as that of a mirror or a proxy."""
    return re.sub(r"(:/+)[^/\s@]+@", r"\1", text)  # a path has lost one of the two slashes


def _fail(message: str) -> None:
    several = "RANK" in os.environ and "MASTER_ADDR" in os.environ
    if several and os.environ["RANK"] != "0":
        # One of several processes: the first has most likely the same to say, and once it has
        # ended the launcher ends this one too.
        time.sleep(2)
    print("error: " + without_passwords(" ".join(message.split())), file=sys.stderr)
    if several:
        # An ordinary end takes connections apart whose other ends may be gone, which can abort it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(USER_ERROR_STATUS)
    sys.exit(USER_ERROR_STATUS)


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}: {error.filename}" if error.filename is not None else reason
