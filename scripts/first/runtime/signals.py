"""Signals that ask a long job to save its state: SIGTERM also ends it, SIGUSR1 does not.

Slurm sends SIGTERM some seconds before it kills a job, or earlier with `--signal=TERM@seconds`.
Under Slurm SIGUSR1 ends the job's inner snakemake: send SIGTERM there.
"""

import signal


class StopRequest:
    """Within the block, `stop` and `save` are what signals have asked for."""

    def __init__(self) -> None:
        self.stop = self.save = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGUSR1):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        self.save = True
        self.stop = self.stop or number == signal.SIGTERM
