"""The processes that train one model together: this one's rank, and collectives on small values.

`accelerate launch` (launcher.py) starts them. A job that was not launched so is one process and
needs no communication.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

import torch
from torch import distributed

from first_distill.errors import USER_ERROR_STATUS, UserError

T = TypeVar("T")
TIMEOUT = datetime.timedelta(hours=2)  # others wait while one hashes or gathers a model


def world() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the one process that writes files and reports to the user."""
    return rank() == 0


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes, if any, for the block, and leave them before an error is reported.

    A mistake that all processes notice is reported by the first; the others give it time to.
    """
    if distributed.is_torchelastic_launched():
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
    if distributed.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    if distributed.is_torchelastic_launched():
        distributed.init_process_group(backend, timeout=TIMEOUT)
    else:  # one process that offloads
        store = distributed.HashStore()
        distributed.init_process_group(backend, store=store, rank=0, world_size=1)


def leave() -> None:
    """Destroy the process group, if there is one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def totals(*values: float) -> list[float]:
    """Sums over all processes, in float64."""
    if world() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(tensor)
    return tensor.tolist()


def gathered(thing: T) -> list[T]:
    """The values of all processes, by rank; small Python objects only."""
    if world() == 1:
        return [thing]
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
    result = failure = None
    if is_main():
        try:
            result = work()
        except (UserError, OSError) as error:
            failure = error
    failed, result = gathered((failure is not None, result))[0]
    if failure:
        raise failure
    if failed:
        sys.exit(USER_ERROR_STATUS)
    return result
