"""The cost of Snakemake itself, and how the demo's time is spent.

With `bench.demo` the demo runs in a scratch folder, on a copy of the code; without, only the dry
run is measured.

The useful compute of a demo is the sum of its jobs' wall time, from Snakemake's records, less the
start-up of every job (the wall time of an empty job, times the number of jobs) and less the
processor time of Snakemake and of the warm server, for which jobs had to wait. Its share is of wall
time x cores, so that idle cores count against it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Row, interleave, median, paired, spread
from benchmarks.points import ROOT
from first_distill.runtime.warm import warm_server

CODE = "Snakefile rules scripts config profiles resources envs slurm".split()
ACCOUNT = "account.json"
MINUTES, USEFUL, SECONDS = 6, 0.8, 5
EMPTY = "sleep 12; for i in 1 2 3 4 5 6 7; do date +%s.%N; python -m scripts.temperature --help"
EMPTY = f"{EMPTY} >/dev/null || exit 1; done; date +%s.%N"  # by then the server is ready


def rows(bench) -> Iterator[Row]:
    """The account of a demo, a dry run at paper scale, a run with nothing to do."""
    demo = bench.scratch / "workflow" / "demo"
    if bench.demo:
        make_demo(demo)
        yield from account_rows(json.loads((demo / ACCOUNT).read_text()))
    paper = copy_code(bench.scratch / "workflow" / "paper")
    dry = ["snakemake", "--profile", "slurm", "-n"]
    jobs = next(w[1] for w in map(str.split, run(dry, paper).splitlines()) if w[:1] == ["total"])
    yield seconds_row(f"12 dry run at paper scale, {jobs} jobs", dry, paper)
    if bench.demo:
        finished = demo_line()
        if "Nothing to be done" not in run(finished, demo):
            raise RuntimeError(f"{demo} is not finished, or was made by other code: rerun it")
        yield seconds_row("12 nothing to do at tiny scale, warm server too", finished, demo)


def seconds_row(name: str, line: list[str], folder: Path) -> Row:
    """Seconds of a command in `folder`, next to those of Snakemake's imports alone."""
    calls = {"ours": lambda: run(line, folder), "theirs": lambda: run(VERSION, folder)}
    taken = interleave(calls)
    ours, note = median(taken["ours"]), "against snakemake --version"
    ratio = median(paired(taken["ours"], taken["theirs"]))
    verdict = (f"<= {SECONDS} s", ours <= SECONDS, note)
    return Row(name, ours, median(taken["theirs"]), "s", ratio, spread(taken["ours"]), *verdict)


VERSION = ["snakemake", "--version"]


def account_rows(account: dict) -> Iterator[Row]:
    """Minutes of the demo, useful share of its cores, Snakemake's share."""
    wall, cores = account["wall"], account["cores"]
    capacity = wall * cores
    overhead = account["empty_job"] * account["jobs"]
    useful = account["job_seconds"] - overhead - account["snakemake_cpu"] - account["server_cpu"]
    share, own = useful / capacity, account["snakemake_cpu"] / capacity
    note = f"{account['jobs']} jobs, {account['empty_job']:.2f} s each before they do anything"
    minutes = (None, f"<= {MINUTES} min", wall / 60 <= MINUTES, f"{cores} cores")
    yield Row("11 demo, wall time", wall / 60, None, "min", wall / 60 / MINUTES, *minutes)
    verdict = (None, f">= {USEFUL}", share >= USEFUL, note)
    yield Row("11 demo, useful compute of wall x cores", useful, capacity, "s", share, *verdict)
    snakemake = ("11 demo, Snakemake's own processor time", account["snakemake_cpu"], capacity, "s")
    yield Row(*snakemake, own, None, "", None)


def make_demo(folder: Path) -> None:
    """Run the whole tiny scale in `folder` and write its account there."""
    shutil.rmtree(folder, ignore_errors=True)
    copy_code(folder)
    with warm_server(environment(folder)) as served:
        times = list(map(float, run(["bash", "-c", EMPTY], folder, served).split()))
    empty = median([b - a for a, b in zip(times, times[1:], strict=False)])
    start = time.perf_counter()
    with open(folder / "demo.log", "w") as log:
        line = {"cwd": folder, "env": environment(folder), "stdout": log, "stderr": log}
        process = subprocess.Popen(demo_line(), **line)
        watch = Watch(process.pid)
        status = process.wait()
    wall = time.perf_counter() - start
    if status:
        raise RuntimeError(f"the demo failed: see {folder}/demo.log")
    jobs = job_seconds(folder)
    account = {"wall": wall, "cores": os.cpu_count(), "jobs": len(jobs)}
    account |= {"job_seconds": sum(jobs), "empty_job": empty, **watch.processor_seconds()}
    (folder / ACCOUNT).write_text(json.dumps(account, indent=1))


def job_seconds(folder: Path) -> list[float]:
    """Wall seconds of each job, from Snakemake's records (one of each output file)."""
    found = {}
    for path in (folder / ".snakemake" / "metadata").iterdir():
        record = json.loads(path.read_text())
        if record.get("starttime") and record.get("shellcmd"):
            taken = record["endtime"] - record["starttime"]
            found[record["shellcmd"]] = max(taken, found.get(record["shellcmd"], 0))
    return list(found.values())


class Watch(threading.Thread):
    """Processor seconds of the two children of `runtime.run`, sampled while it runs.

    Snakemake's are its own, without those of its jobs; the server's are those of its imports.
    """

    def __init__(self, runner: int):
        super().__init__(daemon=True)
        self.runner, self.seconds = runner, {}
        self.start()

    def run(self) -> None:
        import psutil

        try:
            runner = psutil.Process(self.runner)
            while runner.is_running():
                for child in runner.children():
                    times = child.cpu_times()
                    self.seconds[child.pid] = times.user + times.system
                time.sleep(1)
        except psutil.NoSuchProcess:  # the demo has ended
            return

    def processor_seconds(self) -> dict[str, float]:
        """The server starts first, so its process id is the lower one."""
        self.join()
        server, snakemake = (self.seconds[pid] for pid in sorted(self.seconds))
        return {"server_cpu": server, "snakemake_cpu": snakemake}


def demo_line() -> list[str]:
    """What `make demo` runs."""
    runner = [sys.executable, "-m", "first_distill.runtime.run", "--cores", str(os.cpu_count())]
    return [*runner, "--config", "scale=tiny", "--", "all"]


def copy_code(folder: Path) -> Path:
    """Copy the current code to a folder, without results; files made there before stay."""
    for name in CODE:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.unlink(missing_ok=True)
            target.symlink_to(source.readlink())
        elif source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The Makefile's: this Python first, one thread a job, the checkout on the path.

    Bytecode is kept, as Python does unless told otherwise: the jobs are many and short.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    same = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    kept = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PATH": path, "PYTHONPATH": str(folder), **same}


def run(line: list[str], folder: Path, variables: dict[str, str] | None = None) -> str:
    """Output of a command in `folder`; RuntimeError with the end of it on failure."""
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    variables = variables or environment(folder)
    done = subprocess.run(line, cwd=folder, env=variables, check=False, **both)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)} failed: {done.stdout[-2000:]}")
    return done.stdout
