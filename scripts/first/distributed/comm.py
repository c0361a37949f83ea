"""The processes that train one model together: who this one is, and what they say to each other.

`accelerate launch` (launcher.py) starts them and sets RANK, WORLD_SIZE and LOCAL_RANK. A job that
was not launched so is one process and needs no communication at all.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

from scripts.first.errors import USER_ERROR_STATUS, UserError

T = TypeVar("T")


def launched() -> bool:
    """Whether a launcher started this process: all it sets is there, not one stray variable."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def world() -> int:
    """Number of processes."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def rank() -> int:
    """Number of this process, 0 in front."""
    return int(os.environ["RANK"]) if launched() else 0


def is_main() -> bool:
    """The one process that writes files and speaks to the user."""
    return rank() == 0


def join() -> None:
    """Meet the other processes: NCCL between GPUs, gloo between CPUs and for what is offloaded."""
    import datetime

    import torch
    from torch import distributed

    if distributed.is_initialized():
        return
    patience = datetime.timedelta(hours=2)  # the others wait while one hashes or gathers a model
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) if launched() else 0)
        backend = "cpu:gloo,cuda:nccl"
    else:
        backend = "gloo"
    if launched():
        distributed.init_process_group(backend, timeout=patience)
    else:  # one process that shards nothing but offloads
        store = distributed.HashStore()
        distributed.init_process_group(backend, store=store, rank=0, world_size=1)


def leave() -> None:
    """Part from the others."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def totals(*values: float) -> list[float]:
    """Sums over all processes, in float64."""
    if world() == 1:
        return list(values)
    import torch
    from torch import distributed

    tensor = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(tensor)
    return tensor.tolist()


def gathered(thing: T) -> list[T]:
    """What every process has, in the order of their numbers; small Python objects only."""
    if world() == 1:
        return [thing]
    from torch import distributed

    things: list = [None] * world()
    distributed.all_gather_object(things, thing)
    return things


def from_main(work: Callable[[], T]) -> T:
    """Let the first process work, and give all of them its result, a small Python object.

    Its UserError or OSError is raised there and ends the others in silence.
    """
    if world() == 1:
        return work()
    result, failure = None, None
    if is_main():
        try:
            result = work()
        except (UserError, OSError) as error:
            failure = error
    results = gathered((failure is None, result))
    if failure is not None:
        raise failure
    if not results[0][0]:
        _end_quietly()
    return results[0][1]


def main_first(work: Callable[[], T]) -> T:
    """Work in every process, in the first one first: what it cannot do, the others do not try."""
    kept = []
    from_main(lambda: kept.append(work()))
    return kept[0] if kept else work()


def fail(message: str) -> NoReturn:
    """Raise UserError in the first process; end the others, to whom the same happened, in silence.

    Every process has to call it.
    """
    if is_main():
        raise UserError(message)
    _end_quietly()


def _end_quietly() -> NoReturn:
    time.sleep(2)  # the launcher ends all others once one has failed: let the first one speak
    sys.exit(USER_ERROR_STATUS)
