"""Stage teacher: fine-tune the large model on a corpus with hard labels (paper, appendix A.1).

Reads a base checkpoint and data/{corpus}/{train,validation}.parquet; writes a checkpoint folder in
Hugging Face layout and validation.json.
"""

from __future__ import annotations

from pathlib import Path

from scripts.first.runtime.launch import launch


def build_parser():
    """Options of one teacher's training."""
    from scripts.first import cli
    from scripts.first.training.settings import add_training_options

    options = cli.parser("scripts.teacher", __doc__)
    options.add_argument("--model", type=Path, required=True, help="base checkpoint folder")
    options.add_argument("--train", type=Path, required=True, help="training split (parquet)")
    options.add_argument(
        "--output-dir", type=Path, required=True, help="checkpoint folder to write"
    )
    cli.add_encoding_options(options)
    add_training_options(options)
    cli.add_validation_options(options)
    return options


def main(argv: list[str] | None = None) -> int:
    """Fine-tune one teacher."""
    arguments = build_parser().parse_args(argv)

    from scripts.first.distributed.comm import process_group
    from scripts.first.training.cross_entropy import CrossEntropy
    from scripts.first.training.finetune import finetune

    with process_group():
        finetune("teacher", arguments, CrossEntropy(), "teacher", kind="teacher")
    return 0


if __name__ == "__main__":
    launch("scripts.teacher", main)
