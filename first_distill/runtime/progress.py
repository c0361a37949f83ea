"""Progress of long jobs on standard error: count, rate and time left, one line an update."""

import sys
from contextlib import contextmanager


@contextmanager
def progress(label: str, total: int, unit: str, every: float = 10.0, done: int = 0, quiet=False):
    """Yield a function advance(n, note=''); prints at most one line in `every` seconds.

    done: units that an earlier run of the same job has finished. quiet: print nothing.
    """
    from tqdm import tqdm

    shown = {"desc": label, "unit": unit, "ascii": True, "ncols": 100, "mininterval": every}
    with tqdm(total=total, initial=done, disable=quiet, file=Lines(), **shown) as bar:

        def advance(n: int = 1, note: str = "") -> None:
            if note:
                bar.set_postfix_str(note, refresh=False)
            bar.update(n)

        yield advance


class Lines:
    """Standard error for tqdm in a log: a new line where a terminal's line would be rewritten."""

    def write(self, text: str) -> None:
        """Write the text as a line."""
        if text := text.strip("\r\n"):
            print(text, file=sys.stderr)

    def flush(self) -> None:
        """Do nothing: standard error is not buffered."""
