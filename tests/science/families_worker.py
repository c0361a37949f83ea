"""Run by test_families.py in several processes: many trainings, one start.

`python -m first_distill.distributed.launcher --processes N MODULE FILE`: FILE is a JSON list of
[name, module, options]; what is done is written beside it, as {name: error or None}.
"""

import importlib
import json
import os
import socket
import sys
import time
from pathlib import Path


def rendezvous(path: Path, first: bool) -> None:
    """Let the processes meet at a port of their own, which the first chooses.

    The launcher's store still holds the addresses of the group before, and a second one would wait
    for them for ever.
    """
    if first:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            path.with_suffix(".new").write_text(str(free.getsockname()[1]))
        path.with_suffix(".new").rename(path)
    while not path.is_file():
        time.sleep(0.01)
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": path.read_text()}


def main() -> int:
    """Run every line; the first process writes."""
    path, done = Path(sys.argv[1]), {}
    first = os.environ["RANK"] == "0"
    for number, (name, module, options) in enumerate(json.loads(path.read_text())):
        rendezvous(path.with_name(f"port-{number}"), first)
        try:
            importlib.import_module(module).main(options)
            done[name] = None
        except (Exception, SystemExit) as error:
            done[name] = f"{type(error).__name__}: {error}"
        if first:
            path.with_suffix(".done.json").write_text(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
