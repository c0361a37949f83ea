"""Stage teacher: fine-tune the large model on a corpus with hard labels (paper, appendix A.1).

Reads a base checkpoint and data/{corpus}/{train,validation}.parquet; writes a checkpoint folder in
Hugging Face layout and validation.json.
"""

from first_distill.runtime.launch import launch


def main(argv: list[str] | None = None) -> int:
    """Fine-tune one teacher."""
    from first_distill import cli
    from first_distill.training.settings import add_finetuning_options

    options = cli.parser("scripts.teacher", __doc__)
    add_finetuning_options(options)
    arguments = options.parse_args(argv)

    from first_distill.distributed.comm import process_group
    from first_distill.training.finetune import finetune
    from first_distill.training.losses import CrossEntropy

    with process_group():
        finetune("teacher", arguments, CrossEntropy(), what="teacher", kind="teacher")
    return 0


if __name__ == "__main__":
    launch("scripts.teacher", main)
