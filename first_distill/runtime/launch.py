"""Start a script's job: in the warm server of the run where there is one, else in this process.

First it tells the log the commit and the machine.
"""

import contextlib
import json
import os
import socket
import sys

from first_distill import joblog
from first_distill.errors import run_cli
from first_distill.runtime.signals import forward_signals

SOCKET = "FIRST_WARM_SOCKET"


def launch(module: str, main) -> None:
    """Run `main` as the command line program `python -m module` and exit with its status."""
    if line := joblog.head(os.environ):
        with contextlib.suppress(OSError):  # a log on a full disk: what follows will tell
            os.write(sys.stderr.fileno(), f"{line}\n".encode())
    # One of several processes of a training (RANK) needs the environment that torch starts with.
    served = SOCKET in os.environ and "RANK" not in os.environ
    status = delegate(module) if served else None
    if status is None:
        run_cli(main)
    sys.exit(status)


def delegate(module: str) -> int | None:
    """Exit status of `module.main` in a job of the server; None where no job was started."""
    os.umask(umask := os.umask(0o077))
    request = {"module": module, "argv": sys.argv[1:], "path": sys.path, "cwd": os.getcwd()}
    request |= {"environ": dict(os.environ), "umask": umask, "python": sys.executable}
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile() as answers:
        try:
            connection.connect(os.environ[SOCKET])
            socket.send_fds(connection, [b"\n"], [0, 1, 2])
            connection.sendall(json.dumps(request).encode() + b"\n")
            pid = int(answers.readline())
        except (OSError, ValueError):  # no server, or one of another Python
            return None
        forward_signals(os.kill, pid)
        with contextlib.suppress(ConnectionError, ValueError):
            return int(answers.readline())
    print(f"error: killed: {module}: process {pid}: run it again", file=sys.stderr)
    return 1
