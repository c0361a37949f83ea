"""What made a result: the code's fingerprint and the versions of the packages that it uses.

Neither time, host, user nor path, so that two runs of one commit write equal bytes; those facts are
in the job's log. No other packages either: a job's own conda environment has fewer of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from scripts.first.provenance import records
from scripts.first.provenance.fingerprint import fingerprint, third_party

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")
WITH_TRANSFORMERS = {"tokenizers", "safetensors"}  # it writes weights and tokenizers with them
TABLE, FIGURE = ("csv", "md", "tex"), ("csv", "pdf", "png")  # the files of a table, of a figure


def provenance(stage: str) -> dict:
    """{stage, code, packages} of a stage, one of `fingerprint.STAGES`."""
    used = third_party(stage)
    used |= WITH_TRANSFORMERS if "transformers" in used else set()
    packages = {name: version(name) for name in PACKAGES if name in used}
    return {"stage": stage, "code": fingerprint(stage), "packages": packages}


def seal(prefix: str, stage: str, kinds: Sequence[str], made_from: Iterable[str | Path]) -> None:
    """Write prefix.record.json, the record of prefix.csv and the other `kinds`."""
    files = [f"{Path(prefix).name}.{kind}" for kind in kinds]
    records.write(prefix + records.SUFFIX, {"provenance": provenance(stage)}, files, made_from)
