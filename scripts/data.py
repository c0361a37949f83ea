"""Stage data: one dataset as uniform tables train / validation / test, and a report on them.

Reads official rows from the Hub, a local mirror, own files or the tiny world. Writes
OUTPUT_DIR/train.parquet, validation.parquet, test.parquet (those that the entry has) and, last,
report.json. Columns: id (official split/row number), prompt, response, candidates, answer,
shorten_start, shorten_end.

The entry is one of `datasets` in the configuration, its prompt's templates in place of a name, as
JSON: where rows lie, and how one becomes a prompt, a response and candidates.
"""

from pathlib import Path

from first_distill import cli
from first_distill.errors import whole
from first_distill.runtime.launch import launch


def build_parser():
    """Options of one dataset."""
    options = cli.parser("scripts.data", __doc__)
    add = options.add_argument
    add("--dataset", required=True, help="name of the dataset")
    add("--entry", required=True, type=cli.json_object, help="its entry, JSON")
    add("--output-dir", required=True, type=Path, help="folder to write")
    add("--mirror", help="local folder in hub layout; without it, FIRST_DATA_MIRROR")
    add("--world-settings", type=cli.json_object, help="generate it: settings of the world, JSON")
    seed = "seed of the division, of subsets and of pretraining text"
    add("--split-seed", type=whole, default=1234, help=seed)
    return options


def main(argv: list[str] | None = None) -> int:
    """Prepare one dataset."""
    options = build_parser().parse_args(argv)

    from first_distill.data.prepare import prepare

    tables = prepare(**vars(options))
    sizes = ", ".join(f"{split} {content.num_rows}" for split, content in tables.items())
    print(f"{options.dataset}: {sizes} rows: {options.output_dir}")
    return 0


if __name__ == "__main__":
    launch("scripts.data", main)
