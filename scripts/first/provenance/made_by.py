"""What a result was made by: code fingerprint and versions of the packages that the code uses.

Of no others: the same job has few packages in its own conda environment and many in one environment
for all, and must give the same bytes in both. Deliberately without time, host, user or path, so
that two runs of one commit give equal bytes. Those facts stand in the job's log and benchmark file
instead.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from scripts.first.provenance.fingerprint import fingerprint, third_party

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")
WITH_TRANSFORMERS = {"tokenizers", "safetensors"}  # it writes weights and tokenizers with them


def provenance(stage: str) -> dict:
    """{stage, code, packages} of a stage, one of `fingerprint.STAGES`."""
    return {"stage": stage, "code": fingerprint(stage), "packages": dict(_versions(stage))}


def _versions(stage: str):
    used = third_party(stage)
    used |= WITH_TRANSFORMERS if "transformers" in used else set()
    for name in filter(used.__contains__, PACKAGES):
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
