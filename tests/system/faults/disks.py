"""A small file system of its own under a folder of a small run, to be filled and freed at will.

It is mounted in a mount namespace (as root, or in a user namespace of one's own): nothing outside
sees it, and it is gone with the process that holds it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.faults.runs import surroundings

PAGE = 4096  # what tmpfs counts in
FILLER = ".filler"
# The folder as it is moves into the new file system. Then wait until the test is over.
HOLD = (
    'mkdir "$1.small" && mount -t tmpfs -o "$2" small "$1.small" && cp -a "$1/." "$1.small" && '
    'mount --move "$1.small" "$1" && '
    'exec "$3" -m scripts.first.runtime.warm run -- sh -c \'echo "$FIRST_WARM_SOCKET"; exec cat\''
)


def unshare() -> list[str]:
    """Words that start a command in a mount namespace; skips the test where there can be none.

    Fails it where FIRST_REQUIRE_SLURM is set, as on machines that must run every test.
    """
    for words in (["unshare", "-m"], ["unshare", "-rm"]):
        with contextlib.suppress(FileNotFoundError):
            line = [*words, "mount", "-t", "tmpfs", "small", "/mnt"]
            if subprocess.run(line, capture_output=True, check=False).returncode == 0:
                return words
    reason = "no mount namespace here: neither root nor user namespaces may mount"
    if os.environ.get("FIRST_REQUIRE_SLURM"):
        pytest.fail(reason)
    pytest.skip(reason)


class Disk:
    """A mounted file system: commands run with it in place, and `root` is where it is seen from."""

    def __init__(self, folder: Path, place: Path, holder: subprocess.Popen, socket: str):
        self.folder, self.place, self.holder = folder, place, holder
        self.changes = {"FIRST_WARM_SOCKET": socket}
        self.root = Path(f"/proc/{holder.pid}/root")
        self.inside, self.copy = Path(f"{self.root}{place}"), Path(f"{self.root}{folder}")

    def run(self, line: str, **changes: str) -> subprocess.CompletedProcess:
        """Run one line of the shell in the folder, on this disk."""
        user = ["-U", "--preserve-credentials"] if os.getuid() else []
        return subprocess.run(
            ["nsenter", "-t", str(self.holder.pid), "-m", *user]
            + ["bash", "-c", f"cd {shlex.quote(str(self.folder))}\n{line}"],  # not from outside
            env=surroundings(self.folder, **self.changes) | changes,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def free_bytes(self) -> int:
        """What may still be written."""
        status = os.statvfs(self.inside)
        return status.f_bavail * status.f_frsize

    @contextlib.contextmanager
    def filled(self, leave: int) -> Iterator[None]:
        """Within the block only `leave` bytes (whole pages) are free."""
        with open(self.inside / FILLER, "wb") as filler:
            if (size := self.free_bytes() - leave // PAGE * PAGE) > 0:
                os.posix_fallocate(filler.fileno(), 0, size)
        try:
            yield
        finally:
            (self.inside / FILLER).unlink()

    @contextlib.contextmanager
    def filled_with_files(self, leave: int) -> Iterator[None]:
        """Within the block only `leave` more files fit, whatever their size."""
        (folder := self.inside / FILLER).mkdir()
        with contextlib.suppress(OSError):  # others write here too: it may be full before
            for number in range(os.statvfs(self.inside).f_ffree - leave):
                (folder / str(number)).touch()
        try:
            yield
        finally:
            shutil.rmtree(folder)


@contextlib.contextmanager
def small_disk(folder: Path, place: Path, options: str) -> Iterator[Disk]:
    """Mount a tmpfs with `options` on `place`, a folder of a copy or the copy itself.

    Its content is copied, and a warm server runs within.
    """
    holder = subprocess.Popen(
        [*unshare(), "sh", "-c", HOLD, "sh", str(place), options, sys.executable],
        cwd="/",  # nothing of the mount's process may lie below it
        env=surroundings(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        socket = holder.stdout.readline().strip()
        assert socket, f"no small file system at {place}"
        yield Disk(folder, place, holder, socket)
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
        Path(f"{place}.small").rmdir()
