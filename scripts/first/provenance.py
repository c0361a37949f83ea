"""What a result was made by: code fingerprint and package versions.

Deliberately without time, host, user or path, so that two runs of one commit give equal bytes.
Those facts stand in the job's log and benchmark file instead.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from scripts.first.fingerprint import fingerprint

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")


def provenance(module: str) -> dict:
    """{module, code, packages} of a script named like `scripts.student`."""
    return {"module": module, "code": fingerprint(module), "packages": dict(_versions())}


def _versions():
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
