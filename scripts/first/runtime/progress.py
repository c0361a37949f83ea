"""Progress of long jobs: count, rate and time left, a line at a time, on standard error."""

from __future__ import annotations

import sys
from contextlib import contextmanager


@contextmanager
def progress(
    label: str,
    total: int,
    unit: str,
    seconds_between: float = 10.0,
    done: int = 0,
    quiet: bool = False,
):
    """Yield a function advance(n, note=''). Lines end in a newline, so that logs stay readable.

    `done` is what an earlier run of the same job had done; `quiet` prints nothing.
    """
    from tqdm import tqdm

    bar = tqdm(
        total=total,
        initial=done,
        disable=quiet,
        desc=label,
        unit=unit,
        file=_Lines(),
        mininterval=seconds_between,
        ascii=True,
        ncols=100,
    )

    def advance(n: int = 1, note: str = "") -> None:
        if note:
            bar.set_postfix_str(note, refresh=False)
        bar.update(n)

    try:
        yield advance
    finally:
        bar.close()


class _Lines:
    """tqdm rewrites one terminal line; a log wants one line an update."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n")
        if text:
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
