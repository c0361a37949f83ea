"""The processes that train one model together: this one's rank, and collectives on small values.

`accelerate launch` (launcher.py) starts them and sets RANK, WORLD_SIZE and LOCAL_RANK. A job that
was not launched so is one process and needs no communication.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from scripts.first.errors import USER_ERROR_STATUS, UserError

T = TypeVar("T")
TIMEOUT = datetime.timedelta(hours=2)  # others wait while one hashes or gathers a model


def launched() -> bool:
    """Whether a launcher started this process: it sets all of these variables."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def world() -> int:
    """Number of processes."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ["RANK"]) if launched() else 0


def is_main() -> bool:
    """Whether this is the one process that writes files and reports to the user."""
    return rank() == 0


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes, if any, for the block, and leave them before an error is reported.

    A mistake that all processes notice is reported by the first; the others give it time to.
    """
    if world() > 1:
        join()
    try:
        yield
    except (UserError, OSError, SystemExit):
        if not is_main():
            time.sleep(2)  # once a process has failed, the launcher ends all others
        raise
    finally:
        leave()


def join() -> None:
    """Initialise the process group: NCCL between GPUs, gloo between CPUs and for offloading."""
    import torch
    from torch import distributed

    if distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) if launched() else 0)
        backend = "cpu:gloo,cuda:nccl"
    else:
        backend = "gloo"
    if launched():
        distributed.init_process_group(backend, timeout=TIMEOUT)
    else:  # one process that offloads
        store = distributed.HashStore()
        distributed.init_process_group(backend, store=store, rank=0, world_size=1)


def leave() -> None:
    """Destroy the process group, if there is one."""
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
    """The values of all processes, by rank; small Python objects only."""
    if world() == 1:
        return [thing]
    from torch import distributed

    things: list = [None] * world()
    distributed.all_gather_object(things, thing)
    return things


def fail(message: str) -> NoReturn:
    """Raise UserError on the first process and exit silently on the others, which call it too."""
    if is_main():
        raise UserError(message)
    sys.exit(USER_ERROR_STATUS)


def from_main(work: Callable[[], T]) -> T:
    """Run `work` on the first process only and return its result, a small object, on all.

    If it raises UserError or OSError, so does this on the first, and the others exit silently.
    """
    result, failure = None, None
    if is_main():
        try:
            result = work()
        except (UserError, OSError) as error:
            failure = error
    ok, result = gathered((failure is None, result))[0]
    if failure is not None:
        raise failure
    if not ok:
        sys.exit(USER_ERROR_STATUS)
    return result
