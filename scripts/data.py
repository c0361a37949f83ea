"""Stage data: one dataset as uniform tables train / validation / test, and a report on them.

Reads official rows from the hub, a local mirror or the tiny world. Writes OUTPUT_DIR/train.parquet,
validation.parquet, test.parquet (where the dataset has them) and, last, report.json. Columns: id
(official split/row number), prompt, response, candidates, answer, shorten_start, shorten_end.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.first.data import sources
from scripts.first.data import tables as uniform
from scripts.first.data.splits import ORIGINS
from scripts.first.errors import UserError, run_cli
from scripts.first.files import write_parquet
from scripts.first.hub.mirror import DATA_MIRROR, mirror_folder, mirror_given
from scripts.first.provenance import records
from scripts.first.provenance.made_by import provenance

if TYPE_CHECKING:
    import pyarrow

SPLITS = ("train", "validation", "test")
REPORT = "report.json"
EXAMPLE = """example:
  python -m scripts.data prepare --dataset csqa --source-kind mirror --mirror ../shared/hub \\
      --repo tau/commonsense_qa --output-dir results/smoke/data/csqa
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m scripts.data",
        description="Prepare the datasets of FIRST.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = commands.add_parser(
        "prepare",
        help="write one dataset as uniform tables and a report",
        description=(
            "Write train.parquet, validation.parquet, test.parquet and report.json of one dataset. "
            "CommonsenseQA, BoolQ and Alpaca: 10 percent of the official training split becomes "
            "the validation split; the official validation split is the test set. OpenBookQA "
            "keeps its official splits. Alpaca has no test set, pretraining text only a train set."
        ),
    ).add_argument
    add("--dataset", required=True, choices=list(ORIGINS), help="which dataset to prepare")
    add("--output-dir", required=True, type=Path, metavar="DIR", help="folder to write to")
    add(
        "--source-kind",
        required=True,
        choices=["hub", "mirror", "world"],
        help="hub: the Hugging Face hub, or its mirror where one is given; mirror: a local folder "
        "in hub layout, never the hub; world: generated questions",
    )
    add("--repo", metavar="OWNER/NAME", help="dataset repository (hub, mirror)")
    add("--name", metavar="CONFIG", help="configuration of the repository, e.g. main for OBQA")
    add(
        "--revision",
        metavar="COMMIT",
        help="commit of the repository: needed for the hub; a mirror has none, there it is only "
        "noted in the report",
    )
    add(
        "--mirror",
        metavar="DIR",
        help=f"the mirror's folder; without it the environment variable {DATA_MIRROR}",
    )
    add("--world-settings", metavar="JSON", help="settings of the world, one JSON object")
    add(
        "--split-seed",
        type=int,
        default=1234,
        metavar="SEED",
        help="seed of the 90/10 division, of subsets and of pretraining text (default: 1234)",
    )
    add(
        "--validation-share",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the official training split that becomes validation (default: 0.1)",
    )
    for split in SPLITS:
        add(
            f"--max-{split}-rows",
            type=int,
            metavar="N",
            help=f"keep N {split} rows, drawn at random after the division (default: all)"
            + ("; for pretraining: make N rows" if split == "train" else ""),
        )
    add(
        "--obqa-letters",
        choices=["upper", "lower"],
        default="upper",
        help="letters of OpenBookQA's choices (default: upper)",
    )
    return top


def write(output_dir: Path, tables: dict[str, pyarrow.Table], report: dict[str, Any]) -> None:
    """Write the tables, then the report with their hashes: a folder with a report is complete."""
    for name in (REPORT, *(f"{split}.parquet" for split in SPLITS)):
        (output_dir / name).unlink(missing_ok=True)
    for split, content in tables.items():
        write_parquet(output_dir / f"{split}.parquet", content)
    records.write(output_dir / REPORT, report, [f"{split}.parquet" for split in tables])


def load(options: argparse.Namespace) -> sources.Official:
    """Return the official rows that the command line asks for."""
    dataset, kind = options.dataset, options.source_kind
    if kind == "world":
        if options.world_settings is None:
            raise UserError("no --world-settings: source kind world: pass its settings as JSON")
        settings = sources.world_settings(options.world_settings)
        return sources.from_world(dataset, settings, options.max_train_rows, options.split_seed)
    if dataset == "pretraining":
        raise UserError(f"dataset pretraining: source kind {kind}: only the world makes it")
    if options.repo is None:
        raise UserError(f"no --repo: source kind {kind}: name the dataset, OWNER/NAME")
    if kind == "hub" and not mirror_given(options.mirror, DATA_MIRROR):
        return sources.from_hub(dataset, options.repo, options.revision, options.name)
    folder = mirror_folder(options.mirror, DATA_MIRROR)
    return sources.from_mirror(dataset, folder, options.repo, options.name, options.revision)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see --help."""
    options = parser().parse_args(argv)
    limits = {split: getattr(options, f"max_{split}_rows") for split in SPLITS}
    tables, report = uniform.build(
        options.dataset,
        load(options),
        seed=options.split_seed,
        validation_share=options.validation_share,
        limits=limits,
        obqa_letters=options.obqa_letters,
    )
    write(options.output_dir, tables, {**report, "provenance": provenance("data")})
    sizes = ", ".join(f"{split} {content.num_rows}" for split, content in tables.items())
    print(f"{options.dataset}: {sizes} rows: {options.output_dir}")
    return 0


if __name__ == "__main__":
    run_cli(main)
