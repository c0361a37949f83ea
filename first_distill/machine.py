"""The commit, the machine and the start of a job: one line at the head of its log.

They stand in logs, never in records: equal runs on two machines write equal records.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

COMMIT = "FIRST_COMMIT"  # of the rules, in the environment of their jobs
TIME = "%Y-%m-%d %H:%M:%S UTC"
CPU = re.compile(r"^model name\s*:\s*(.+)$", re.M)
KEYS = ("commit", "processor", "cores", "memory", "GPUs", "started")
LINE = re.compile(r"^job: " + "; ".join(rf"{key} (?P<{key}>[^;\n]+)" for key in KEYS) + r"$", re.M)


def describe() -> dict[str, str]:
    """Processor, cores that this process may use, memory of the machine (GiB), and GPUs it sees."""
    cpuinfo = Path("/proc/cpuinfo")
    cpu = CPU.search(cpuinfo.read_text(errors="replace")) if cpuinfo.exists() else None
    processor = cpu[1] if cpu else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pages = {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= getattr(os, "sysconf_names", {}).keys()
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if pages else None
    return {
        "processor": processor.replace(";", ","),
        "cores": str(cores),
        "memory": f"{size / 2**30:.0f} GiB" if size else "unknown",
        "GPUs": _gpus(),
    }


def head(environment: dict[str, str]) -> str | None:
    """The line of this job; None outside a rule, and in all but the first of its processes."""
    if COMMIT not in environment or environment.get("RANK", "0") != "0":
        return None
    started = time.strftime(TIME, time.gmtime())
    facts = {"commit": environment[COMMIT], **describe(), "started": started}
    return "job: " + "; ".join(f"{key} {facts[key]}" for key in KEYS)


def told(log: Path) -> dict[str, str] | None:
    """What the last such line of a log says, by `KEYS`; None without one."""
    try:
        lines = [*LINE.finditer(log.read_text(encoding="utf-8", errors="replace"))]
    except OSError:
        return None
    return lines[-1].groupdict() if lines else None


def _gpus() -> str:
    """`2 x NVIDIA H200`, as nvidia-smi lists them; "none" where there is no such program."""
    program, visible = shutil.which("nvidia-smi"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if not program:
        return "none"
    words = [program, "--query-gpu=name", "--format=csv,noheader"]
    words += [f"--id={visible}"] if visible else []
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    names = Counter(line.strip().replace(";", ",") for line in lines)
    return ", ".join(f"{count} x {name}" for name, count in names.items()) or "none"
