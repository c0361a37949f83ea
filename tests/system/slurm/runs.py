"""`snakemake --profile slurm` in a copy of the repository, and what Slurm says of its jobs."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
import yaml

from tests.system.slurm.cluster import PATH, Cluster
from tests.system.workflow.copies import environment

PROFILE = ("snakemake", "--profile", "slurm", "--config", "scale=tiny")
LOGS = ".snakemake/log/*.snakemake.log"
FIRST_LOOK = "--slurm-init-seconds-before-status-checks"
QUICK = (FIRST_LOOK, "1", "--latency-wait", "20")
# `snakemake`, that looks for its jobs every second: jobs of some seconds are over long before the
# plugin's next look, which comes 10 s later after every look that found none finished.
IMPATIENT = """#!{python}
import asyncio
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.sleep = lambda self: asyncio.sleep(1)
sys.exit(main())
"""
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "PREEMPTED", "NODE_FAIL")


class Run:
    """A controller that was started in `folder`; its output goes to `folder/controller.log`."""

    def __init__(
        self, cluster: Cluster, folder: Path, *targets: str, patient: bool = False, **variables: str
    ):
        """patient: with the plugin's own pauses between looks, the first after 9 s."""
        self.cluster, self.folder = cluster, folder
        self.known = {job["JobId"] for job in cluster.jobs()}
        self.logs = set(folder.glob(LOGS))
        impatient = folder / ".snakemake/bin/snakemake"
        impatient.parent.mkdir(parents=True, exist_ok=True)
        impatient.write_text(IMPATIENT.format(python=sys.executable))
        impatient.chmod(0o755)
        path = f"{environment(folder)['PATH']}:{PATH}"
        changes = {"PATH": path if patient else f"{impatient.parent}:{path}", **variables}
        options = (*QUICK, FIRST_LOOK, "9") if patient else QUICK
        with (folder / "controller.log").open("w") as log:
            self.process = subprocess.Popen(
                cluster.command(*PROFILE, *options, "--", *targets, cwd=folder),
                env=environment(folder, **changes),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def jobs(self, part: str = "") -> list[dict[str, str]]:
        """Slurm's records of this run's jobs whose comment (rule, wildcards) has `part` in it."""
        return [
            job
            for job in self.cluster.jobs()
            if job["JobId"] not in self.known and part in job.get("Comment", "")
        ]

    def log(self) -> str:
        """What the controller has printed, and Snakemake's own log of it."""
        own = sorted({*self.folder.glob(LOGS)} - self.logs)[:1]
        return "".join(path.read_text() for path in (self.folder / "controller.log", *own))

    def finish(self, seconds: float = 600) -> int:
        """Wait for the controller; its exit status."""
        return self.process.wait(seconds)


def until(condition: Callable, what: str, seconds: float = 240):
    """Wait until `condition()` is true; return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not in {seconds} s"
        time.sleep(0.1)
    return value


def program(folder: Path, *words: str) -> psutil.Process | None:
    """The running program `python -m ...` of a job in `folder` whose command line has all words."""
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            if line[1:2] == ["-m"] and set(words) <= set(line) and "snakemake" not in line:
                if Path(process.cwd()) == folder.resolve():
                    return process
        except psutil.Error:
            continue
    return None


def preempt(cluster: Cluster) -> None:
    """A job of the partition that comes first takes both nodes, for a second."""
    words = ("--partition=vip", "--nodes=2", "--exclusive", "--output=/dev/null")
    cluster.run("sbatch", *words, "--wrap=sleep 1")


def run_again(cluster: Cluster, run: Run, job: dict[str, str]) -> bool:
    """Let a requeued job start, which Slurm would let wait two minutes; whether it has."""
    number = job["JobId"]
    cluster.run("scontrol", "update", f"jobid={number}", "StartTime=now", check=False)
    (now,) = [one for one in run.jobs() if one["JobId"] == number]
    return now["JobState"] in ("RUNNING", "COMPLETED")


def change(folder: Path, path: str, value) -> None:
    """Set one key of the copy's tiny scale: `a.b.c` below `scales.tiny`."""
    file = folder / "config/scales/tiny.yaml"
    content = yaml.safe_load(file.read_text())
    *parents, last = path.split(".")
    node = content["scales"]["tiny"]
    for name in parents:
        node[name] = dict(node.get(name, {}))  # no part shared by a YAML anchor is changed
        node = node[name]
    node[last] = value
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def remove(folder: Path, *names: str) -> None:
    """Remove files of a finished run, so that their jobs are due again."""
    for name in names:
        (folder / name).unlink()


def interval(job: dict[str, str]) -> tuple[datetime, datetime]:
    """When a job that is over started and ended."""
    start, end = (datetime.fromisoformat(job[key]) for key in ("StartTime", "EndTime"))
    return start, end
