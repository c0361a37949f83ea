"""The server's side of `scripts.first.runtime.warm`: preload, fork, supervise, become the job."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import weakref

from scripts.first.runtime.warm import interpreter, receive, same_user, send

# What nearly every script of the workflow needs; a missing one is left to the script to report.
MAPPING = "transformers.conversion_mapping"
LLAMA = f"{MAPPING} transformers.models.llama.modeling_llama transformers.optimization"
PRELOAD = (
    f"numpy pandas pyarrow.parquet scipy.interpolate tabulate tokenizers torch {LLAMA}".split()
)
PR_SET_PDEATHSIG = 1
IDLE_SECONDS = 3  # Snakemake takes longer to start its first job
# What this process has of the repository. A job imports it anew.
PARSED = "scripts.first.provenance.fingerprint"
OWN = (
    "scripts",
    "scripts.first",
    "scripts.first.runtime.warm",
    "scripts.first.runtime.warm_server",
)


def apply_thread_limit() -> None:
    """Set torch's threads to OMP_NUM_THREADS, which torch read when the server imported it."""
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if "torch" in sys.modules and limit.isdecimal() and int(limit) > 0:
        sys.modules["torch"].set_num_threads(int(limit))


def serve(listener: socket.socket, lifeline: int, directory: str) -> dict | None:
    """Accept callers until ``lifeline``, a pipe held open by the runner, is closed.

    Returns None in the server (``directory`` is removed), and its request in each forked job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its runner's end is its own
    greeting = interpreter()  # the imports may add variables
    # A command without jobs is over soon, and shares the machine with no imports that nobody needs.
    select.select([listener, lifeline], [], [], IDLE_SECONDS)
    gc.disable()  # they make a million objects and no garbage; the first jobs wait for them
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if mapping := sys.modules.get(MAPPING):
        # A thousand patterns, which transformers would compile again for each job's model.
        mapping.get_checkpoint_conversion_mapping("")
    parsed = importlib.import_module(PARSED)
    for stage in parsed.STAGES:  # what each job's fingerprint would parse again
        with contextlib.suppress(SyntaxError):  # the job that needs it will tell
            parsed.fingerprint(stage)
    for finalizer in [*getattr(weakref.finalize, "_registry", ())]:
        finalizer.atexit = False  # no job has to take torch apart when it ends
    gc.collect()
    gc.freeze()  # the collector of a job must not copy the server's pages
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    while True:
        if lifeline in select.select([listener, lifeline], [], [])[0]:
            shutil.rmtree(directory, ignore_errors=True)
            return None
        connection, _ = listener.accept()
        supervisor = -1
        with contextlib.suppress(OSError):  # no memory: the caller runs by itself
            supervisor = os.fork()
        if supervisor == 0:
            listener.close()
            os.close(lifeline)
            return _supervise(connection, greeting)
        connection.close()


def _supervise(connection: socket.socket, greeting: dict) -> dict:
    """Between caller and job, in a process of its own; returns in the job only."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        if not same_user(connection):
            os._exit(0)
        send(connection, greeting)
        streams = socket.recv_fds(connection, 1, 3)[1]
        request = receive(connection)
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # the job takes it when it can
        job = os.fork()
    except (OSError, EOFError, ValueError):
        os._exit(0)  # the caller prefers to run by itself
    with contextlib.suppress(OSError):  # by both processes, as either may come first
        os.setpgid(job, job)
    for number, stream in enumerate(streams):
        if job == 0:
            os.dup2(stream, number)
        os.close(stream)
    if job == 0:
        connection.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _die_with(parent)
        return request
    try:
        connection.sendall(bytes([_watch(connection, job)]))
    finally:
        os._exit(0)


def _die_with(parent: int) -> None:
    """Let the kernel kill this process with its parent: nobody else would know of it any more."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watch(connection: socket.socket, job: int) -> int:
    """Pass the caller's signals to the job's process group; returns the status of the job."""
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    while True:
        done, status = os.waitpid(job, os.WNOHANG)
        if done:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        ready, _, _ = select.select([connection, wake], [], [])
        if wake in ready:
            wake.recv(64)
        if connection in ready:
            numbers = b""
            with contextlib.suppress(ConnectionError):
                numbers = connection.recv(64)
            for number in numbers or [signal.SIGKILL]:  # end of file: the caller has died
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(job, number)
            if not numbers:
                os._exit(0)


def run_job(request: dict) -> None:
    """Become the script that the caller asked for; ends by SystemExit."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environ"])
    tempfile.tempdir = None  # the server's own; the caller's TMPDIR may be another
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    for name in OWN:
        sys.modules.pop(name, None)
    sys.path[:] = request["path"]
    importlib.invalidate_caches()
    apply_thread_limit()
    module = importlib.import_module(request["module"])
    sys.argv = [module.__file__, *request["argv"]]
    try:
        importlib.import_module("scripts.first.errors").run_cli(module.main)
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        # What an ordinary exit does, less taking modules apart, which costs half a second.
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(end.code & 0xFF)


def main(argv: list[str]) -> None:
    """Serve on a listening socket: its descriptor, the lifeline's, and the socket's folder."""
    request = serve(socket.socket(fileno=int(argv[0])), int(argv[1]), argv[2])
    if request is not None:
        run_job(request)
