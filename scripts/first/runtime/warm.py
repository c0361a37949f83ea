"""Start scripts quickly: jobs are forked from one server that has already imported torch.

``python -m scripts.first.runtime.warm run -- COMMAND`` runs COMMAND with FIRST_WARM_SOCKET naming
the socket (in a private temporary directory) of a preforking server, and returns its status. A
script calls :func:`maybe_delegate` first. Its job then has the caller's working directory,
environment, umask, standard streams and thread limit, gets its SIGINT, SIGTERM and SIGHUP, and is
killed when the caller dies. Modules of this repository are imported in the fork only: never stale.

Not carried over: resource limits, niceness, further open files. numpy's BLAS keeps one thread, and
HF_* and the like cannot be set inside a script. The job is no child of the caller, so Snakemake's
``benchmark:`` sees neither its memory nor its CPU time. Elsewhere than on Linux, no server.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys

SOCKET_VARIABLE = "FIRST_WARM_SOCKET"
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
            if not same_user(connection) or receive(connection) != interpreter():
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
            send(connection, request)
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


def same_user(connection: socket.socket) -> bool:
    """Whether the other end of a socket is a process of this user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack("3i", credentials)[1] == os.getuid()


def interpreter() -> dict:
    """What cannot change after the start of Python; must be equal in server and caller."""
    early = [name for name in os.environ if name.startswith(tuple(EARLY.split()))]
    environment = {n: os.environ[n] for n in early if not n.endswith("_NUM_THREADS")}
    options = [list(sys.flags), sys.warnoptions, sys._xoptions]
    return {"python": sys.executable, "options": options, "environment": environment}


def send(connection: socket.socket, message: dict) -> None:
    """Send one message: its length, then JSON."""
    data = json.dumps(message).encode()
    connection.sendall(LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> dict:
    """Read one message of `send`; EOFError where the connection ends before it."""
    data, size = b"", LENGTH.size
    while len(data) < size:
        if not (part := connection.recv(size - len(data))):
            raise EOFError("connection closed")
        data += part
        if len(data) == LENGTH.size:
            size += LENGTH.unpack(data)[0]
    return json.loads(data[LENGTH.size :])


def run(command: list[str]) -> int:
    """Run ``command`` with a warm server beside it; returns its status (127: not found)."""
    import shutil
    import tempfile
    from functools import partial
    from subprocess import DEVNULL, Popen

    watched = {*FORWARDED, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)  # each is taken by sigwaitinfo below
    unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, watched)
    try:
        short = len(tempfile.gettempdir()) < 80  # a socket's path has 107 bytes at most
        directory = tempfile.mkdtemp(prefix="first-warm-", dir=None if short else "/tmp")  # 0700
    except OSError:  # a full disk, most likely: COMMAND will tell
        unblock()
        os.execvp(command[0], command)
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
            line = [
                sys.executable,
                "-m",
                "scripts.first.runtime.warm",
                "serve",
                *map(str, fds),
                directory,
            ]
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
        from scripts.first.runtime import warm_server

        return warm_server.main(argv[1:])
    command = argv[2:] if argv[1:2] == ["--"] else argv[1:]
    if argv[:1] != ["run"] or not command:
        sys.exit("usage: python -m scripts.first.runtime.warm run -- COMMAND ...")
    return run(command) if sys.platform == "linux" else os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
