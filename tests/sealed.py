"""Records that tests change and reseal, as another program might."""

import json
from pathlib import Path

from first_distill.files import describe_files, write_sealed
from first_distill.provenance import records


def reseal(path: str | Path, content: dict | None = None, rehash: bool = False, **changes) -> None:
    """Write a record with other content or `changes`; `rehash`: of its files as they are now."""
    path = Path(path)
    content = dict(content if content is not None else json.loads(path.read_text()))
    content.pop("seal", None)
    content |= changes
    if rehash:
        content["files"] = describe_files(path.parent, list(content["files"]))
    write_sealed(path, {"made_from": {}, "place": records.place(path), **content})
