"""What made a result: the code's fingerprint and the versions of the packages that it uses.

Nothing else, so that two runs of one commit, and in a job's own environment, write equal bytes.
"""

from __future__ import annotations

from importlib.metadata import version

from first_distill.provenance.fingerprint import fingerprint, third_party

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")
WITH_TRANSFORMERS = {"tokenizers", "safetensors"}  # it writes weights and tokenizers with them


def provenance(stage: str) -> dict:
    """{stage, code, packages} of a stage, one of `fingerprint.STAGES`."""
    used = third_party(stage)
    used |= WITH_TRANSFORMERS if "transformers" in used else set()
    packages = {name: version(name) for name in PACKAGES if name in used}
    return {"stage": stage, "code": fingerprint(stage), "packages": packages}
