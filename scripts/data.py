"""Stage data: one dataset as uniform tables train / validation / test, and a report on them.

Reads official rows from the Hub, a local mirror or the tiny world. Writes OUTPUT_DIR/train.parquet,
validation.parquet, test.parquet and, last, report.json. Columns: id (official split/row number),
prompt, response, candidates, answer, shorten_start, shorten_end.

CommonsenseQA, BoolQ and Alpaca: a share of the official training split (--validation-share) becomes
the validation split; the official validation split is the test set. OpenBookQA keeps its official
splits. Alpaca has no test set, pretraining text only a train set.
"""

from pathlib import Path

from scripts.first import cli
from scripts.first.data.prepare import prepare
from scripts.first.data.splits import ORIGINS
from scripts.first.errors import number, positive, run_cli, whole


def build_parser():
    """Options of one dataset."""
    options = cli.parser("scripts.data", __doc__)
    add = options.add_argument
    add("--dataset", required=True, choices=list(ORIGINS), help="which dataset to prepare")
    add("--output-dir", required=True, type=Path, help="folder to write")
    kinds = "hub: the Hub, or --mirror if given; mirror: only --mirror; world: generated questions"
    add("--source-kind", required=True, choices=["hub", "mirror", "world"], help=kinds)
    add("--repo", help="dataset repository, OWNER/NAME (hub, mirror)")
    add("--name", help="configuration of the repository, such as main for OBQA")
    add("--revision", help="commit on the Hub; of a mirror it is only recorded")
    add("--mirror", help="local folder in hub layout; without it, FIRST_DATA_MIRROR")
    add("--world-settings", type=cli.json_object, help="of the world, JSON")
    seed = "seed of the division, of subsets and of pretraining text"
    add("--split-seed", type=whole, default=1234, help=seed)
    share = "share of training rows that becomes validation"
    add("--validation-share", type=number, default=0.1, help=share)
    for split in ("train", "validation", "test"):
        add(f"--max-{split}-rows", type=positive, help=f"draw so many {split} rows")
    return options


def main(argv: list[str] | None = None) -> int:
    """Prepare one dataset."""
    options = build_parser().parse_args(argv)
    tables = prepare(**vars(options))
    sizes = ", ".join(f"{split} {content.num_rows}" for split, content in tables.items())
    print(f"{options.dataset}: {sizes} rows: {options.output_dir}")
    return 0


if __name__ == "__main__":
    run_cli(main)
