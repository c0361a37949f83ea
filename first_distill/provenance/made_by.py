"""What made a result: the code's fingerprint and the versions of the packages that it uses.

Nothing else, so that two runs of one commit, and in a job's own environment, write equal bytes.
The commit and the machine stand in logs and on pages for people, the commit on model cards too.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from first_distill import ROOT
from first_distill.provenance.fingerprint import fingerprint, third_party

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")
CPU = re.compile(r"^model name\s*:\s*(.+)$", re.M)
WITH_TRANSFORMERS = {"tokenizers", "safetensors"}  # it writes weights and tokenizers with them


def provenance(stage: str) -> dict:
    """{stage, code, packages} of a stage, one of `fingerprint.STAGES`."""
    used = third_party(stage)
    used |= WITH_TRANSFORMERS if "transformers" in used else set()
    packages = {name: version(name) for name in PACKAGES if name in used}
    return {"stage": stage, "code": fingerprint(stage), "packages": packages}


def commit() -> str:
    """The commit of this clone, with `-dirty` where files differ; "unknown" where it is none."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        return "unknown"
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    words += ["--abbrev=12", "--exclude=*"]  # a tag is no commit
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def machine() -> dict[str, str]:
    """Processor, cores that this process may use, memory of the machine (GiB), and GPUs it sees."""
    cpuinfo = Path("/proc/cpuinfo")
    cpu = CPU.search(cpuinfo.read_text(errors="replace")) if cpuinfo.exists() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pages = {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= getattr(os, "sysconf_names", {}).keys()
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if pages else 0
    return {
        "processor": cpu[1] if cpu else platform.processor() or platform.machine() or "unknown",
        "cores": str(cores),
        "memory": f"{size / 2**30:.0f} GiB" if size else "unknown",
        "GPUs": _gpus(),
    }


def _gpus() -> str:
    """`2 x NVIDIA H200`, as nvidia-smi lists them; "unknown" where it fails."""
    program, visible = shutil.which("nvidia-smi"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if not program or visible in ("", "-1"):
        return "none"
    words = [program, "--query-gpu=name", "--format=csv,noheader"]
    words += [f"--id={visible}"] if visible else []
    try:
        done = subprocess.run(words, capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    names = Counter(done.stdout.decode(errors="replace").splitlines())
    return ", ".join(f"{count} x {name.strip()}" for name, count in names.items()) or "none"
