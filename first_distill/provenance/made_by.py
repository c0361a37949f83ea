"""What made a result: the code's fingerprint and the versions of the packages that it uses.

Nothing else, so that two runs of one commit, and in a job's own environment, write equal bytes.
Pages and model cards for people name the commit too.
"""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version

from first_distill import ROOT
from first_distill.provenance.fingerprint import fingerprint, third_party

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")
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
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
