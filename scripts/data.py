"""Stage data: one dataset as uniform tables train / validation / test, and a report on them.

Reads official rows from the Hub, a local mirror or the tiny world. Writes OUTPUT_DIR/train.parquet,
validation.parquet, test.parquet and, last, report.json. Columns: id (official split/row number),
prompt, response, candidates, answer, shorten_start, shorten_end.

CommonsenseQA, BoolQ and Alpaca: a share of the official training split (--validation-share) becomes
the validation split; the official validation split is the test set. OpenBookQA keeps its official
splits. Alpaca has no test set, pretraining text only a train set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from scripts.first.cli import json_object
from scripts.first.data.prepare import prepare
from scripts.first.data.splits import ORIGINS
from scripts.first.errors import number, positive, run_cli, whole

EXAMPLE = """example:
  python -m scripts.data --dataset csqa --source-kind mirror --mirror /path/to/mirror \\
      --repo tau/commonsense_qa --output-dir results/smoke/data/csqa
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m scripts.data",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = top.add_argument
    add("--dataset", required=True, choices=list(ORIGINS), help="which dataset to prepare")
    add("--output-dir", required=True, type=Path, metavar="DIR", help="folder to write to")
    kinds = "hub: the Hub, or --mirror if given; mirror: only --mirror; world: generated questions"
    add("--source-kind", required=True, choices=["hub", "mirror", "world"], help=kinds)
    add("--repo", metavar="OWNER/NAME", help="dataset repository (hub, mirror)")
    add("--name", metavar="CONFIG", help="configuration of the repository, e.g. main for OBQA")
    add("--revision", metavar="COMMIT", help="commit on the Hub; of a mirror it is only recorded")
    add("--mirror", metavar="DIR", help="the mirror (default: FIRST_DATA_MIRROR)")
    add("--world-settings", type=json_object, metavar="JSON", help="one JSON object")
    seed = "seed of the division, of subsets and of pretraining text (default: 1234)"
    add("--split-seed", type=whole, default=1234, metavar="SEED", help=seed)
    share = "share of training rows that becomes validation (default: 0.1)"
    add("--validation-share", type=number, default=0.1, metavar="SHARE", help=share)
    for split in ("train", "validation", "test"):
        add(f"--max-{split}-rows", type=positive, metavar="N", help=f"draw so many {split} rows")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see --help."""
    options = parser().parse_args(argv)
    tables = prepare(**vars(options))
    sizes = ", ".join(f"{split} {content.num_rows}" for split, content in tables.items())
    print(f"{options.dataset}: {sizes} rows: {options.output_dir}")
    return 0


if __name__ == "__main__":
    run_cli(main)
