"""Signals that ask a long job to save its state: SIGTERM also ends it, SIGUSR1 does not.

Slurm sends SIGTERM to a job that is preempted, cancelled or out of time, some seconds before it
kills, or longer before where `sbatch --signal=TERM@seconds` asks for it, as profiles/slurm does.
SIGUSR1 is for a user who wants the state of a running script now. Under Slurm it ends the snakemake
that runs inside the job, and so the job: there SIGTERM is the one to send.
"""

from __future__ import annotations

import signal
import threading


class StopRequest:
    """Within the block `stop` and `save` say what has been asked for; before it, nothing is heard.

    Outside the main thread, where Python hears no signal, both stay False.
    """

    def __init__(self) -> None:
        self.stop = False
        self.save = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGUSR1):
                self._previous[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: object) -> None:
        self.save = True
        self.stop = self.stop or number == signal.SIGTERM
