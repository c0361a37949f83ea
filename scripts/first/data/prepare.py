"""One dataset from its source to the files of stage data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.first.data import sources
from scripts.first.data.tables import build
from scripts.first.errors import UserError
from scripts.first.files import write_parquet
from scripts.first.provenance import records
from scripts.first.provenance.made_by import provenance

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
    source_kind: str,
    *,
    repo: str | None = None,
    name: str | None = None,
    revision: str | None = None,
    mirror: str | Path | None = None,
    world_settings: dict[str, Any] | None = None,
    split_seed: int = 1234,
    max_train_rows: int | None = None,
    max_validation_rows: int | None = None,
    max_test_rows: int | None = None,
    **options: Any,
) -> tuple[dict[str, pyarrow.Table], dict[str, Any]]:
    """({split: uniform table}, report) of a dataset; nothing is written.

    source_kind: `hub` (or its mirror if one is given), `mirror` or `world`. The other options are
    those of scripts/data.py. Raises UserError if the data is not usable.
    """
    if source_kind == "world":
        if world_settings is None:
            raise UserError("no --world-settings: source kind world: pass its settings as JSON")
        official = sources.from_world(dataset, world_settings, max_train_rows, split_seed)
    elif repo is None:
        raise UserError(f"no --repo: source kind {source_kind}: name the dataset, OWNER/NAME")
    else:
        official = sources.from_repository(
            dataset, repo, revision, name, mirror=mirror, use_hub=source_kind == "hub"
        )
    return build(
        dataset,
        official,
        seed=split_seed,
        limits={"train": max_train_rows, "validation": max_validation_rows, "test": max_test_rows},
        **options,
    )
