"""Mistakes of the user, and how a script reports them: one line on stderr, no traceback."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

USER_ERROR_STATUS = 2
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the quota, the limit of a file's size
MAKE_ROOM = "free some space there, or raise the limit, and rerun the command"
PATH = (  # no such file, no folder, one in the way, a bad name, no permission
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS),
)
CHECK_PATH = "check the path and its permissions"


class UserError(Exception):
    """A mistake that the user can correct; the message is one line, ``what: where: what to do``."""


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make a system error in the block an OSError that names `path`, the file being written.

    Python's own names no file when a write fails, and libraries in Rust raise other exceptions,
    whose text ends in `(os error 28)`.
    """
    try:
        yield
    except Exception as error:
        rust = re.search(r"\(os error (\d+)\)", str(error))
        number = int(rust[1]) if rust else getattr(error, "errno", None)
        if number is None or (number not in FULL and getattr(error, "filename", None)):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def positive(text: str) -> int:
    """An integer of 1 or more, as the type of an option."""
    return whole(text, 1, 10**9 - 1)


def whole(text: str, least: int = 0, most: int = 2**32 - 1) -> int:
    """An integer from `least` to `most`, such as a seed, as the type of an option."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else -1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of {least} or more")
    return number


def number(text: str) -> float:
    """A number above 0, at most 1e6, as the type of an option."""
    if not 0 < (value := float(text)) <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


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
    except BrokenPipeError:  # `| head` has read enough
        _drop(sys.stdout)
        sys.exit(1)
    except OSError as error:
        _fail(_describe(error))
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)


def without_passwords(text: str) -> str:
    """The text without `user:password@` in addresses, such as that of a mirror or a proxy."""
    return re.sub(r"(:/+)[^/\s@]+@", r"\1", text)  # a path has lost one of the two slashes


def _fail(message: str) -> None:
    try:
        print("error: " + printable(without_passwords(" ".join(message.split()))), file=sys.stderr)
    except OSError:  # the log may be on a full disk too
        _drop(sys.stderr)
    sys.exit(USER_ERROR_STATUS)


def _drop(stream: TextIO) -> None:
    """Let go of what cannot be written, or Python's own status at exit takes the place of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{reason}: {error.filename}{advice(error.errno)}"


def advice(number: int | None) -> str:
    """`: ` and what to do about a system error; nothing where neither room nor path is at fault."""
    if number in FULL:
        return f": {MAKE_ROOM}"
    return f": {CHECK_PATH}" if number in PATH else ""


def reason(error: Exception) -> str:
    """What an error of a user's template says, in one line, whichever its class."""
    if isinstance(error, RecursionError):
        return "nested too deeply, or without an end"
    # Without the line, of the Python code that Jinja2 wrote; a KeyError's text is the key alone.
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return (repr(error) if isinstance(error, KeyError) or not text else text)[:200]


def printable(text: str) -> str:
    """The text with escapes for what does not print, such as a terminal's control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def listed(names: Iterable[object]) -> str:
    """`a, b, c ...`: the first twelve of some names or labels, printable, each cut at 60 signs.

    One that begins or ends with a space has quotes.
    """
    texts = [str(name)[:60] for name in names]
    found = [printable(text) if text == text.strip() else repr(text) for text in texts]
    return ", ".join(found[:12]) + (f" and {len(found) - 12} more" if len(found) > 12 else "")


def few(names: list[str]) -> str:
    """`a, b, c and 5 more`: the first three names, printable, and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(ascii(name)[1:-1][:120] for name in names[:3]) + more
