"""Checkpoints: model folders in Hugging Face layout, with a record that is written last.

A folder without `record.json` is unfinished. The record holds the size and sha256 of every file
(safetensors does not notice a flipped bit), what the checkpoint was made from, and how.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from first_distill.errors import UserError, writing
from first_distill.files import atomic_path, scratch_folder
from first_distill.hub.models import locate, remove_links
from first_distill.models.loading import check_model, load_weights
from first_distill.provenance import records
from first_distill.provenance.made_by import provenance

RECORD = "record.json"
WEIGHTS = "model.safetensors"
TOKENIZER_COPIES = (
    *("tokenizer.model", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
)
# Files that loading a model or a tokenizer would read even if the record does not name them.
TAKEN_IF_THERE = (WEIGHTS, "adapter_config.json", *TOKENIZER_COPIES)


def verify_checkpoint(folder: str | Path, only: Sequence[str] = ()) -> tuple[Path, dict]:
    """Check a checkpoint's files against its record; return (folder of the files, record).

    `only`: names of the files to check; others, such as unused weights, are not read. Files of the
    hub stay in its cache or in a mirror (`hub.models`). Raises UserError for a missing
    checkpoint, and for a missing, altered or added file.
    """
    folder = Path(folder)
    path = folder / RECORD
    if not path.is_file():
        raise UserError(
            f"missing checkpoint: {folder}: it has no {RECORD}, so it was never finished: "
            "delete the folder and rerun its rule"
        )
    record = records.read(path)
    location = locate(folder, record)
    for name, expected in record["files"].items():
        if not only or name in only:
            records.check(location / name, expected, path)
    for name in TAKEN_IF_THERE:
        if name not in record["files"] and (location / name).is_file():
            raise UserError(
                f"unknown file: {location / name}: {path} does not name it, and it would be used: "
                "remove it"
            )
    return location, record


def weights_digest(record: dict) -> str:
    """The sha256 that names a checkpoint's weights: of its one file, or of its shards' hashes."""
    files = {n: f["sha256"] for n, f in record["files"].items() if n.endswith(".safetensors")}
    if WEIGHTS in files:
        return files[WEIGHTS]
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def load_model(folder: str | Path, dtype: str = "float32", device: str | None = None):
    """Load a verified causal language model for `device` (default: CUDA if there is one)."""
    return load_weights(verify_checkpoint(folder)[0], dtype, device)


def copy_files(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy the named files of a folder, each atomically."""
    for name in names:
        with atomic_path(target / name) as temporary:
            shutil.copyfile(source / name, temporary)


def save_checkpoint(
    model,
    folder: str | Path,
    tokenizer_folder: str | Path,
    record: dict,
    made_from: Sequence[str | Path] = (),
    others: Sequence[str] = (),
) -> None:
    """Write a model as one safetensors file beside config, tokenizer and, last, the record.

    `others`: files already in the folder that the record describes too.
    """
    folder, source = Path(folder), Path(tokenizer_folder)
    (folder / RECORD).unlink(missing_ok=True)
    with writing(folder / WEIGHTS), scratch_folder(folder / "checkpoint") as saved:
        model.save_pretrained(saved, max_shard_size="1000GB")
        names = [path.name for path in saved.iterdir()]
        for name in names:
            with atomic_path(folder / name) as temporary:
                (saved / name).replace(temporary)
    tokenizer = [name for name in TOKENIZER_COPIES if (source / name).is_file()]
    copy_files(source, folder, tokenizer)
    records.write(folder / RECORD, record, [*names, *tokenizer, *others], made_from)


def copy_checkpoint(source: str | Path, target: str | Path) -> None:
    """Verify a checkpoint and copy it to another folder; the record last, without loss curve.

    `pretrained_by` in the new record is the `provenance` of the copied one.
    """
    location, record = verify_checkpoint(source)
    check_model(location)
    target = Path(target)
    (target / RECORD).unlink(missing_ok=True)
    remove_links(target)
    copy_files(location, target, record["files"])
    content = {k: v for k, v in record.items() if k not in ("curve", "files", "made_from")}
    content.setdefault("pretrained_by", record.get("provenance"))
    content["provenance"] = provenance("base_model")
    records.write(target / RECORD, content, record["files"], [Path(source) / RECORD])
