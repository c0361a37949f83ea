"""Signals: passed on to a child, or asking a long job to save its state.

SIGTERM and SIGINT (Ctrl-C) also end the job, SIGUSR1 does not. Slurm sends SIGTERM some seconds
before it kills a job, or earlier with `--signal=TERM@seconds`. Under Slurm SIGUSR1 ends the job's
inner snakemake: send SIGTERM there.
"""

import contextlib
import signal
from collections.abc import Callable


class StopRequest:
    """Within the block, `stop` and `save` record which signals have arrived."""

    def __init__(self) -> None:
        self.stop = self.save = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        self.save = True
        self.stop = self.stop or number != signal.SIGUSR1


def forward_signals(send: Callable[[int, int], None], pid: int) -> None:
    """Forward terminating signals to another process with `os.kill` or `os.killpg` from now on."""

    def forward(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            send(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
