"""Stage teacher: fine-tune the large model on a corpus with hard labels (paper, appendix A.1).

Reads a base checkpoint and data/{corpus}/{train,validation}.parquet; writes a checkpoint folder in
Hugging Face layout and validation.json.
"""

from scripts.first.runtime.launch import launch


def main(argv: list[str] | None = None) -> int:
    """Fine-tune one teacher."""
    from scripts.first import cli
    from scripts.first.training.settings import add_finetuning_options

    options = cli.parser("scripts.teacher", __doc__)
    add_finetuning_options(options)
    arguments = options.parse_args(argv)

    from scripts.first.distributed.comm import process_group
    from scripts.first.training.finetune import finetune
    from scripts.first.training.losses import CrossEntropy

    with process_group():
        finetune("teacher", arguments, CrossEntropy(), what="teacher", kind="teacher")
    return 0


if __name__ == "__main__":
    launch("scripts.teacher", main)
