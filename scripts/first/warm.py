"""Start scripts quickly: jobs are forked from one server that has already imported torch.

``python -m scripts.first.warm run -- COMMAND ...`` runs COMMAND with FIRST_WARM_SOCKET naming the
socket (in a private temporary directory) of a preforking server, and returns COMMAND's status. A
script calls :func:`maybe_delegate` first. Its job then has the caller's working directory,
environment, umask, standard streams and thread limit, gets its SIGINT, SIGTERM and SIGHUP, and is
killed when the caller dies. Modules of this repository are imported in the fork only: never stale.

Not carried over: resource limits, niceness, further open files. numpy's BLAS keeps one thread, and
HF_* and the like cannot be set inside a script. The job is no child of the caller, so Snakemake's
``benchmark:`` sees neither its memory nor its CPU time. Elsewhere than on Linux, no server.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import threading
from functools import partial

SOCKET_VARIABLE = "FIRST_WARM_SOCKET"
# What nearly every script of the workflow needs; a missing one is left to the script to report.
PRELOAD = "numpy pandas pyarrow.parquet torch transformers.models.llama.modeling_llama".split()
# Variables that Python or a preloaded library may have read already when the job's environment
# is put in place. Where one differs between server and caller, the caller runs by itself.
EARLY = "PYTHON LD_ OMP_ MKL_ KMP_ GOMP_ ARROW_ TORCH_ PYTORCH_ HF_ HUGGINGFACE_ TRANSFORMERS_"
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GREETING_SECONDS = 60  # a caller may come while the server is still importing
LENGTH = struct.Struct("!Q")


def maybe_delegate(module: str, argv: list[str]) -> int | None:
    """Run ``module.main(argv)`` in the warm server named by FIRST_WARM_SOCKET, if there is one.

    Returns the exit status (128 + n for a job ended by signal n), or None when nothing was run
    and the caller has to do the work. Call it in the main thread, before heavy imports.
    """
    if not (path := os.environ.get(SOCKET_VARIABLE)):
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.settimeout(GREETING_SECONDS)
            connection.connect(path)
            if not _same_user(connection) or _receive(connection) != _interpreter():
                return None
            connection.settimeout(None)
            request = _request(module, argv)
        except (OSError, EOFError, ValueError):
            return None
        return _converse(connection, request)


def _request(module: str, argv: list[str]) -> dict:
    """The job: what to call, and the state of this process that it has to be called in."""
    os.umask(umask := os.umask(0o077))
    ignored = [int(s) for s in FORWARDED if signal.getsignal(s) is signal.SIG_IGN]
    state = {"cwd": os.getcwd(), "environ": dict(os.environ), "path": sys.path, "umask": umask}
    return {"module": module, "argv": argv, "ignored": ignored, **state}


def _converse(connection: socket.socket, request: dict) -> int | None:
    """Send the request, then pass signals on until the exit status comes."""

    def forward(number: int, frame: object) -> None:
        with contextlib.suppress(OSError):  # the job has ended; its status is on the way
            connection.send(bytes([number]))

    # Blocked while sending: a signal's byte must not land in the middle of the request.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    caught = set(FORWARDED) - set(request["ignored"])
    previous = {number: signal.signal(number, forward) for number in caught}
    try:
        try:
            socket.send_fds(connection, [b"F"], [0, 1, 2])
            _send(connection, request)
        except OSError:  # no server any more, or a standard stream is closed: no job was started
            return None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with contextlib.suppress(ConnectionError):
            if answer := connection.recv(1):
                return answer[0]
        print(f"error: warm server: lost while running {request['module']}", file=sys.stderr)
        return 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _same_user(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack("3i", credentials)[1] == os.getuid()


def _interpreter() -> dict:
    """What cannot change after the start of Python; must be equal in server and caller."""
    early = [name for name in os.environ if name.startswith(tuple(EARLY.split()))]
    environment = {n: os.environ[n] for n in early if not n.endswith("_NUM_THREADS")}
    options = [list(sys.flags), sys.warnoptions, sys._xoptions]
    return {"python": sys.executable, "options": options, "environment": environment}


def _send(connection: socket.socket, message: dict) -> None:
    data = json.dumps(message).encode()
    connection.sendall(LENGTH.pack(len(data)) + data)


def _receive(connection: socket.socket) -> dict:
    data, size = b"", LENGTH.size
    while len(data) < size:
        if not (part := connection.recv(size - len(data))):
            raise EOFError("connection closed")
        data += part
        if len(data) == LENGTH.size:
            size += LENGTH.unpack(data)[0]
    return json.loads(data[LENGTH.size :])


def apply_thread_limit() -> None:
    """Set torch's threads to OMP_NUM_THREADS, which torch read when the server imported it."""
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if "torch" in sys.modules and limit.isdecimal() and int(limit) > 0:
        sys.modules["torch"].set_num_threads(int(limit))


def serve(listener: socket.socket, lifeline: int, directory: str) -> dict | None:
    """Accept callers until ``lifeline``, a pipe held open by the runner, is closed.

    Returns None in the server (``directory`` is removed), and its request in each forked job.
    """
    greeting = _interpreter()  # the imports may add variables
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the collector of a job must not copy the server's pages
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
        if not _same_user(connection):
            os._exit(0)
        _send(connection, greeting)
        streams = socket.recv_fds(connection, 1, 3)[1]
        request = _receive(connection)
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
        return request
    try:
        connection.sendall(bytes([_watch(connection, job)]))
    finally:
        os._exit(0)


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


def _run_job(request: dict) -> None:
    """Become the script that the caller asked for; ends by SystemExit."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    for name in [n for n in sys.modules if n.partition(".")[0] == "scripts"]:
        del sys.modules[name]
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
        # What an ordinary exit does, less taking torch apart, which costs half a second.
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(end.code & 0xFF)


def run(command: list[str]) -> int:
    """Run ``command`` with a warm server beside it; returns its status (127: not found)."""
    import tempfile
    from subprocess import DEVNULL, Popen

    watched = {*FORWARDED, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)  # each is taken by sigwaitinfo below
    unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, watched)
    short = len(tempfile.gettempdir()) < 80  # a socket's path has 107 bytes at most
    directory = tempfile.mkdtemp(prefix="first-warm-", dir=None if short else "/tmp")  # mode 0700
    read_end, write_end = os.pipe()  # the write end closes with this process, however it ends
    # Limits are each job's own; but numpy's BLAS must not start threads, which no fork would have.
    environment = {n: v for n, v in os.environ.items() if not n.endswith("_NUM_THREADS")}
    environment |= {"OPENBLAS_NUM_THREADS": "1"}
    server, path = None, os.path.join(directory, "socket")
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(128)
            fds = [listener.fileno(), read_end]
            line = [sys.executable, "-m", "scripts.first.warm", "serve", *map(str, fds), directory]
            options = {"env": environment, "pass_fds": fds, "stdin": DEVNULL, "stdout": DEVNULL}
            # In a session of its own: an interrupt from the keyboard is for COMMAND.
            server = Popen(line, preexec_fn=unblock, start_new_session=True, **options)
        os.close(read_end)
        try:
            child = Popen(command, env={**os.environ, SOCKET_VARIABLE: path}, preexec_fn=unblock)
        except OSError as error:
            print(f"error: {command[0]}: {error.strerror}: check the command", file=sys.stderr)
            return 127
        while child.poll() is None:
            received = signal.sigwaitinfo(watched)
            # One from the terminal (sent by the kernel, code > 0) has reached COMMAND already.
            if received.si_signo != signal.SIGCHLD and received.si_code <= 0:
                child.send_signal(received.si_signo)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode
    finally:
        os.close(write_end)
        if server:
            server.kill()  # jobs that are still running belong to their callers, and go on
            server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main(argv: list[str]) -> int | None:
    """Command line: ``run -- COMMAND ...`` (``serve`` is how ``run`` starts the server)."""
    if argv[:1] == ["serve"]:
        request = serve(socket.socket(fileno=int(argv[1])), int(argv[2]), argv[3])
        return None if request is None else _run_job(request)
    command = argv[2:] if argv[1:2] == ["--"] else argv[1:]
    if argv[:1] != ["run"] or not command:
        sys.exit("usage: python -m scripts.first.warm run -- COMMAND ...")
    return run(command) if sys.platform == "linux" else os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
