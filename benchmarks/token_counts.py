"""Count a corpus's tokens for the plan: writes an entry of config/token_counts.json."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from first_distill import cli
from first_distill.config.datasets import entry_for, used
from first_distill.config.load import load, own_files
from first_distill.data import prepare
from first_distill.errors import run_cli
from first_distill.files import read_json, write_json
from first_distill.models.tokenizer import load_tokenizer
from first_distill.plan.corpora import SHIPPED, count, encoded_split


def prepared_rows(config: dict, scale: str, datasets: list[str], mirror: str | None = None) -> dict:
    """{dataset: {split: rows}} as stage data makes them for a scale of the configuration."""
    tables, data = {}, config["scales"][scale]["data"]
    for name in datasets:
        options = {"mirror": mirror, "world_settings": data.get("world")}
        options |= {"split_seed": data["split_seed"]}
        found, _ = prepare.load(name, entry_for(name, config, data), **options)
        tables[name] = {split: table.to_pylist() for split, table in found.items()}
    return tables


def counted(tables: dict, tokenizer, encoding: dict) -> dict:
    """{corpus: {split: counts}} of {corpus: {split: rows}}."""
    corpora: dict = {}
    for corpus, splits in tables.items():
        for split, rows in splits.items():
            counts = count(encoded_split(rows, split, tokenizer, encoding))
            corpora.setdefault(corpus, {})[split] = asdict(counts)
    return corpora


def main(argv: list[str]) -> None:
    """Count, and add the entry to the file."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.token_counts")
    options.add_argument("--scale", required=True, help="scale whose data and encoding to count")
    options.add_argument("--name", required=True, help="name of the counts, such as llama")
    options.add_argument("--tokenizer", type=Path, required=True, help="folder with a tokenizer")
    options.add_argument("--models", nargs="*", default=[], help="students with this tokenizer")
    cli.add_bos_option(options)
    options.add_argument("--mirror", help="local folder of datasets in hub layout")
    arguments = options.parse_args(argv)
    config = load(own_files())
    settings = config["scales"][arguments.scale]
    datasets = [name for name in used(settings) if name != "pretraining"]
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.bos)
    tables = prepared_rows(config, arguments.scale, datasets, arguments.mirror)
    entry = {
        "models": arguments.models,
        "real_rows": "world" not in settings["data"],
        "how": f"python -m benchmarks.token_counts --scale {arguments.scale} --name "
        f"{arguments.name}, with the tokenizer {arguments.tokenizer.name}",
        "tokenizer_sha256": tokenizer.sha256,
        "bos": tokenizer.bos_record,
        "encoding": settings["encoding"],
        "corpora": counted(tables, tokenizer, settings["encoding"]),
    }
    write_json(SHIPPED, {**read_json(SHIPPED), arguments.name: entry})


if __name__ == "__main__":
    run_cli(main)
