"""A real Slurm on this machine: munge, one controller, two nodes with two pretended GPUs each.

It lives in a mount and a network namespace of its own. There /etc/slurm is its configuration, and
there is no network but loopback: what runs on it runs on nodes without network, and no other
program of this machine sees a Slurm. By hand:

    python -m tests.system.slurm.cluster run -- snakemake --profile slurm --config scale=tiny
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "unshare", "nsenter", "ip")
INSTALL = "apt-get install slurm-wlm munge iproute2, with accounting slurmdbd mariadb-server"
NODES = ("cpu1", "cpu2")
CPUS, MEMORY_MB, GPUS = 8, 16000, 2  # of one node, whatever this machine has
KILL_WAIT = 20  # seconds from SIGTERM to SIGKILL; clusters have 30 by default
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def why_not(programs: tuple[str, ...]) -> str | None:
    """Why no cluster can be started here; None when one can."""
    missing = [name for name in programs if shutil.which(name, path=PATH) is None]
    if missing:
        return f"no Slurm here ({', '.join(missing)}): {INSTALL}"
    if os.geteuid() != 0:
        return "the daemons of the test cluster are started by root"
    trial = ["unshare", "--net", "--mount", "true"]
    error = subprocess.run(trial, capture_output=True, text=True, check=False).stderr.strip()
    return f"no namespaces here: {error}" if error else None


class Cluster:
    """Started by `with Cluster() as cluster`; stopped, with everything in it, at the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # sockets: short paths
        self.holder: subprocess.Popen | None = None
        self.network: int | None = None

    def __enter__(self) -> "Cluster":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def command(self, *words: str, cwd: Path | None = None) -> list[str]:
        """A command line that runs `words` on the cluster's side of the namespaces."""
        spaces = [f"--{kind}=/proc/{self.holder.pid}/ns/{kind}" for kind in ("net", "mnt")]
        spaces[1] = spaces[1].replace("--mnt", "--mount")
        return ["nsenter", *spaces, f"--wdns={(cwd or Path.cwd()).resolve()}", *words]

    def run(self, *words: str, **options) -> subprocess.CompletedProcess:
        """Run a Slurm command; its output is text."""
        defaults = {"check": True, "capture_output": True, "text": True, "timeout": 60}
        environment = {**os.environ, "PATH": PATH}
        return subprocess.run(self.command(*words), **{"env": environment, **defaults, **options})

    def jobs(self) -> list[dict[str, str]]:
        """Slurm's own record of every job, as `scontrol show job` prints it, in order of ids."""
        lines = self.run("scontrol", "--oneliner", "show", "job").stdout.splitlines()
        records = [dict(w.split("=", 1) for w in line.split() if "=" in w) for line in lines]
        return sorted((r for r in records if "JobId" in r), key=lambda r: int(r["JobId"]))

    def task_environments(self) -> dict[str, dict[str, str]]:
        """By job id: the environment that Slurm gave to the job's program."""
        found = {}
        for path in self.folder.glob("tasks/*"):
            lines = path.read_text(errors="replace").splitlines()
            found[path.name] = dict(line.split("=", 1) for line in lines if "=" in line)
        return found

    def prepare_accounting(self) -> None:
        """What must run before the controller; nothing without accounting."""

    def logs(self) -> str:
        """What the daemons have written."""
        return "\n".join(p.read_text(errors="replace") for p in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """Cancel every job and end every process of the namespaces."""
        if self.network is not None:
            with contextlib.suppress(subprocess.SubprocessError):
                self.run("scancel", "--signal=KILL", "--user=root", timeout=10)
            end_processes(self.network)
            self.holder.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self._write_configuration()
        ready, munge = self.folder / "ready", self.folder / "munge.socket"
        # The second address: with 127.0.0.1 alone the C library finds no address to listen on.
        inside = (
            "ip link set lo up && ip address add 127.0.0.2/8 dev lo "
            '&& mount --bind "$1/etc" /etc/slurm && touch "$1/ready"'
        )
        hold = ["sh", "-c", f'{inside} && exec "$0" "$2" hold "$1"', sys.executable]
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private"]
            + [*hold, str(self.folder), __file__],
            start_new_session=True,
        )
        self.wait_for(ready.exists, "the namespaces")
        self.network = network_of(self.holder.pid)
        files = [f"--{x}-file={self.folder}/munge.{x}" for x in ("key", "pid", "log", "seed")]
        self.daemon("munged", f"--socket={munge}", *files, "--force")
        self.wait_for(munge.exists, "munge")
        self.prepare_accounting()
        self.daemon("slurmctld")
        for node in NODES:
            self.daemon("slurmd", "-N", node)
        self.wait_for(self._nodes_are_idle, "the nodes")

    def daemon(self, *words: str) -> None:
        """Start a program that goes to the background by itself."""
        log = (self.folder / "daemons.log").open("ab")
        self.run(*words, capture_output=False, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _nodes_are_idle(self) -> bool:
        shown = self.run("sinfo", "--noheader", "--format=%T %D", "--partition=main", check=False)
        return shown.stdout.split() == ["idle", str(len(NODES))]

    def background(self, *words: str) -> None:
        """Start a program that stays in the foreground."""
        log = (self.folder / "daemons.log").open("ab")
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        subprocess.Popen(self.command(*words), env={**os.environ, "PATH": PATH}, **streams)

    def filled(self, template: str) -> str:
        """A configuration file with this cluster's values."""
        values = {"folder": self.folder, "host": socket.gethostname().split(".")[0]}
        values |= {"CPUS": CPUS, "MEMORY_MB": MEMORY_MB, "GPUS": GPUS, "KILL_WAIT": KILL_WAIT}
        for name, value in values.items():
            template = template.replace(f"@{name}@", str(value))
        return template

    def wait_for(self, condition, name: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"{name}: not ready in {seconds} s\n{self.logs()[-6000:]}")
            time.sleep(0.1)

    def _write_configuration(self) -> None:
        for name in ("etc", "state", "spool", "tasks"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        for number in range(GPUS):  # Slurm hands out character devices only: these are /dev/null's
            os.mknod(self.folder / f"nvidia{number}", 0o20666, os.makedev(1, 3))
        template = Path(__file__).with_name("slurm.conf").read_text(encoding="utf-8")
        (self.folder / "etc/slurm.conf").write_text(self.filled(template))
        devices = f"{self.folder}/nvidia[0-{GPUS - 1}]"
        (self.folder / "etc/gres.conf").write_text(
            f"AutoDetect=off\nNodeName=cpu[1-2] Name=gpu Type=a100 File={devices}\n"
        )
        prolog = self.folder / "task_prolog"
        prolog.write_text(f'#!/bin/sh\nenv >"{self.folder}/tasks/$SLURM_JOB_ID"\n')
        prolog.chmod(0o755)


def network_of(process: int) -> int | None:
    """Number of a process's network namespace; None when it is gone."""
    try:
        return os.stat(f"/proc/{process}/ns/net").st_ino
    except OSError:
        return None


def end_processes(network: int) -> None:
    """End every process of a network namespace, jobs too, but not the caller."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
            members = [p for p in pids if network_of(p) == network and p != os.getpid()]
            if not members:
                return
            for process in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            time.sleep(0.2)


def hold(folder: Path) -> None:
    """Keep the namespaces while the parent lives; end what is in them when it was killed."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    end_processes(network_of(os.getpid()))
    shutil.rmtree(folder, ignore_errors=True)


def main(words: list[str]) -> int:
    """`run -- COMMAND`: start a cluster, run the command with it, stop it."""
    if words[:1] == ["hold"]:  # the cluster's own process, not for use by hand
        hold(Path(words[1]))
        return 0
    if words[:2] != ["run", "--"] or not words[2:]:
        print(
            f"usage: python -m tests.system.slurm.cluster run -- COMMAND\n{__doc__}",
            file=sys.stderr,
        )
        return 2
    reason = why_not(PROGRAMS)
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    with Cluster() as cluster:
        process = subprocess.Popen(cluster.command(*words[2:]))
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the command has had it too: let it finish
                continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
