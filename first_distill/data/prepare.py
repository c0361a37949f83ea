"""One dataset from its source to the files of stage data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from first_distill.data import sources
from first_distill.data.tables import build
from first_distill.errors import UserError
from first_distill.files import write_parquet
from first_distill.provenance import records
from first_distill.provenance.made_by import provenance

if TYPE_CHECKING:
    import pyarrow

REPORT = "report.json"


def prepare(output_dir: Path, dataset: str, **options: Any) -> dict[str, pyarrow.Table]:
    """Write {split}.parquet and, last, report.json with their hashes; return the tables.

    A folder with a report is complete. `options` are those of `load`.
    """
    tables, report = load(dataset, **options)
    for path in (output_dir / REPORT, *output_dir.glob("*.parquet")):
        path.unlink(missing_ok=True)
    for split, content in tables.items():
        write_parquet(output_dir / f"{split}.parquet", content)
    report["provenance"] = provenance("data")
    records.write(output_dir / REPORT, report, [f"{split}.parquet" for split in tables])
    return tables


def load(
    dataset: str,
    entry: Mapping[str, Any],
    *,
    mirror: str | Path | None = None,
    world_settings: dict[str, Any] | None = None,
    split_seed: int = 1234,
) -> tuple[dict[str, pyarrow.Table], dict[str, Any]]:
    """({split: uniform table}, report) of a dataset; nothing is written.

    entry: of `datasets` in the configuration, its prompt's templates in place of their name. From
    the world, if its settings are given, else from the entry's `path` or `repo`. Raises UserError
    if the data is not usable.
    """
    for key, parts in {"splits": (), "fields": (), "prompt": ("text", "response")}.items():
        found = entry.get(key)
        if not isinstance(found, Mapping) or not {*parts} <= found.keys():
            form = " with ".join(["an object", *filter(None, [" and ".join(parts)])])
            raise UserError(
                f"{key} of --entry is {found!r:.60}, not {form}: {dataset}: see config/README.md"
            )
    if world_settings is not None:
        official = sources.from_world(dataset, entry, world_settings, split_seed)
    elif "path" in entry:
        official = sources.from_files(dataset, entry)
    elif "repo" in entry:
        official = sources.from_repository(dataset, entry, mirror)
    else:
        raise UserError(f"no repo and no path: --entry of {dataset}: name one of them")
    return build(dataset, entry, official, split_seed)
