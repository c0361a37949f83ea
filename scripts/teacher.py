"""Stage teacher: fine-tune the large model on a corpus with hard labels (paper, appendix A.1).

Reads a base checkpoint and data/{corpus}/{train,validation}.parquet; writes a checkpoint folder in
Hugging Face layout and validation.json.
"""

from __future__ import annotations

from pathlib import Path

from scripts.first.runtime.launch import launch


def main(argv: list[str] | None = None) -> int:
    """Fine-tune one teacher."""
    from scripts.first import cli

    options = cli.parser("scripts.teacher", __doc__)
    options.add_argument("--model", type=Path, required=True, help="base checkpoint folder")
    options.add_argument("--train", type=Path, required=True, help="training split (parquet)")
    options.add_argument(
        "--output-dir", type=Path, required=True, help="checkpoint folder to write"
    )
    cli.add_encoding_options(options)
    cli.add_training_options(options)
    cli.add_validation_options(options)
    arguments = options.parse_args(argv)

    from scripts.first.training.cross_entropy import train_on_labels
    from scripts.first.training.finetune import tune

    settings = cli.training_settings(arguments)

    def fit(model, corpus, state):
        eos = corpus.tokenizer.eos_id
        return train_on_labels(model, corpus.train, settings, eos, "teacher", state)

    tune("teacher", arguments, fit, kind="teacher")
    return 0


if __name__ == "__main__":
    launch("scripts.teacher", main)
