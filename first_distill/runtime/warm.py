"""Warm server (Linux): fork jobs from a process that has imported torch, but no stage's code."""

import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator

from first_distill import ROOT
from first_distill.runtime.launch import SOCKET

PRELOAD = "jinja2 numpy pandas pyarrow.parquet scipy.interpolate scipy.optimize tabulate".split()
PRELOAD += (
    "tokenizers torch transformers.models.llama.modeling_llama transformers.optimization".split()
)
PRELOAD += ["transformers.models.auto.tokenization_auto"]
FINGERPRINT = "first_distill.provenance.fingerprint"


@contextlib.contextmanager
def warm_server(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run a server within the block; yields the environment of its callers."""
    if sys.platform != "linux":
        yield environment
        return
    own = {n: v for n, v in environment.items() if not n.endswith("_NUM_THREADS")}
    own |= {"OPENBLAS_NUM_THREADS": "1"}  # no threads that a fork would not have
    with tempfile.TemporaryDirectory(prefix="first-", dir="/tmp") as folder:  # a short path
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path := f"{folder}/socket")
            listener.listen(128)
            line = [sys.executable, "-m", __name__, str(listener.fileno())]
            # Standard input ends with this process, and the server with it; Ctrl-C is for callers.
            streams = {"stdin": subprocess.PIPE, "pass_fds": [listener.fileno()]}
            server = subprocess.Popen(line, env=own, cwd=ROOT, start_new_session=True, **streams)
        with server:
            yield {**environment, SOCKET: path}


def serve(listener: socket.socket) -> None:
    """Fork a job for each request until standard input ends."""
    for name in PRELOAD:
        importlib.import_module(name)
    # Jobs inherit what these keep: parsed sources, and patterns of transformers' tensor names.
    for stage in (sources := importlib.import_module(FINGERPRINT)).STAGES:
        sources.fingerprint(stage)
        sources.third_party(stage)
    conversions = importlib.import_module("transformers.conversion_mapping")
    conversions.get_checkpoint_conversion_mapping("llama")
    gc.freeze()  # a job's collector must not copy the server's pages
    fork = multiprocessing.get_context("fork")
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        multiprocessing.active_children()  # reaps those that have ended
        connection = listener.accept()[0]
        with connection, contextlib.suppress(OSError, ValueError):
            streams = socket.recv_fds(connection, 1, 3)[1]
            request = json.loads(connection.makefile().readline())
            if request["python"] == sys.executable:
                fork.Process(target=work, args=(listener, connection, streams, request)).start()
            for stream in streams:
                os.close(stream)


def work(listener, connection: socket.socket, streams: list[int], request: dict) -> None:
    """Become the requested job; send the caller this process's id, then its exit status."""
    listener.close()
    connection.sendall(f"{os.getpid()}\n".encode())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin = open(0, closefd=False)  # multiprocessing has closed it
    threading.Thread(target=end_with_caller, args=[connection], daemon=True).start()
    try:
        os.chdir(request["cwd"])
        os.umask(request["umask"])
        os.environ.clear()
        os.environ.update(request["environ"])
        tempfile.tempdir = None  # chosen again, by the job's TMPDIR
        sys.path[:], sys.argv = request["path"], [request["module"], *request["argv"]]
        if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
            importlib.import_module("torch").set_num_threads(int(threads))
        main = importlib.import_module(request["module"]).main
        importlib.import_module("first_distill.errors").run_cli(main)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    connection.sendall(f"{status}\n".encode())


def end_with_caller(connection: socket.socket) -> None:
    """Kill this process when its caller has died, since no other process would end it."""
    with contextlib.suppress(ConnectionError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        serve(listener)
