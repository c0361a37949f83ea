"""The configuration of one scale, read as Snakemake merges it; and its datasets, prepared."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from scripts.first.config.load import load, own_files
from scripts.first.errors import UserError


def load_config(paths: Iterable[Path] = ()) -> dict:
    """The validated configuration of config/, with the user's own files laid over it."""
    return load([*own_files(), *paths])


def scale_settings(config: dict, scale: str) -> dict:
    """One scale's settings; UserError names the scales there are."""
    if scale not in config["scales"]:
        raise UserError(f"--scale {scale}: no such scale: one of {', '.join(config['scales'])}")
    return config["scales"][scale]


def prepared_rows(settings: dict, datasets: list[str], mirror: str | None) -> dict:
    """{dataset: {split: rows}} as stage data makes them, in a temporary folder."""
    from scripts.data import main as prepare
    from scripts.first.data.rows import read_rows

    tables: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in datasets:
            with contextlib.redirect_stdout(sys.stderr):
                prepare(_words(settings["data"], name, Path(folder) / name, mirror))
            files = sorted((Path(folder) / name).glob("*.parquet"))
            tables[name] = {path.stem: read_rows(path) for path in files}
    return tables


def _words(data: dict, dataset: str, folder: Path, mirror: str | None) -> list[str]:
    """The command line of `python -m scripts.data` for one dataset of a scale."""
    options = {
        "dataset": dataset,
        "source_kind": data["source"],
        "split_seed": data["split_seed"],
        "validation_share": data["validation_share"],
        **data["datasets"][dataset],
        "output_dir": folder,
    }
    if data["source"] == "world":
        options["world_settings"] = json.dumps(data["world"], sort_keys=True)
    elif mirror is not None:
        options |= {"mirror": mirror}
    pairs = [["--" + key.replace("_", "-"), str(value)] for key, value in options.items()]
    return ["prepare", *(word for pair in pairs for word in pair)]
