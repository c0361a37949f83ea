"""Run one function in this process and print its result, time and memory as one line of JSON."""

from __future__ import annotations

import json
import pkgutil
import re
import sys
import threading
import time
from pathlib import Path


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process: pages that no file backs."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", status).group(1))


class Peak:
    """Largest anonymous memory while it runs, sampled by a thread every 2 ms."""

    def __enter__(self) -> Peak:
        self.before = self.most = anonymous_bytes()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.ended.wait(0.002):
            self.most = max(self.most, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self.most = max(self.most, anonymous_bytes())
        self.ended.set()
        self.thread.join()

    @property
    def above(self) -> int:
        """Bytes above what was held at the start."""
        return self.most - self.before


def main(argv: list[str]) -> None:
    """`module:function` and its arguments as a JSON object."""
    function = pkgutil.resolve_name(argv[0])
    start = time.perf_counter()
    with Peak() as peak:
        result = function(**json.loads(argv[1]))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_bytes": peak.above, **(result or {})}))


if __name__ == "__main__":
    main(sys.argv[1:])
