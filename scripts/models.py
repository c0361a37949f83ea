"""Stage models: base checkpoints in Hugging Face layout, with a record of where they came from.

Commands: `tokenizer` builds the tokenizer that a pretrained family shares, `pretrain` trains a
checkpoint from nothing on prepared text, `copy` takes one that was pretrained here or is part of
the repository, `hub` resolves one on the Hub at a pinned revision, `pair` checks that the two
models of a family have one vocabulary.
"""

from __future__ import annotations

from pathlib import Path

from scripts.first.errors import positive
from scripts.first.runtime.launch import launch


def build_parser():
    """Options of the five commands."""
    from scripts.first import cli
    from scripts.first.training.settings import add_training_options

    options = cli.parser("scripts.models", __doc__)
    commands = options.add_subparsers(dest="command", required=True)

    tokenizer = commands.add_parser("tokenizer", help="build a tokenizer")
    tokenizer.add_argument("--kind", choices=("world", "bpe"), required=True, help="words or BPE")
    tokenizer.add_argument("--world-settings", type=cli.json_object, help="of the world, JSON")
    tokenizer.add_argument("--text", type=Path, nargs="*", default=[], help="training splits")
    tokenizer.add_argument("--vocabulary-size", type=positive, default=8192, help="of the BPE")

    pretrain = commands.add_parser("pretrain", help="pretrain from nothing")
    pretrain.add_argument("--text", type=Path, nargs="+", required=True, help="training splits")
    pretrain.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder")
    pretrain.add_argument("--architecture", type=cli.json_object, help="of a new Llama, JSON")
    pretrain.add_argument("--start-from", nargs="?", type=Path, help="checkpoint to continue from")
    counted = ("all", "response")
    pretrain.add_argument("--supervise", choices=counted, default="all", help="tokens of the loss")
    pretrain.add_argument("--max-rows", type=positive, help="use this many rows, drawn by the seed")
    add_training_options(pretrain)

    copy = commands.add_parser("copy", help="copy a verified checkpoint")
    copy.add_argument("--source", type=Path, required=True, help="checkpoint folder to copy")

    hub = commands.add_parser("hub", help="resolve a model of the Hub")
    hub.add_argument("--repo", required=True, help="repository, OWNER/NAME")
    hub.add_argument("--revision", required=True, help="commit on the Hub, 40 digits")
    hub.add_argument("--mirror", help="local folder instead (default: FIRST_MODEL_MIRROR)")

    pair = commands.add_parser("pair", help="compare two vocabularies")
    pair.add_argument("--teacher", type=Path, required=True, help="base checkpoint folder")
    pair.add_argument("--student", type=Path, required=True, help="base checkpoint folder")
    pair.add_argument("--output", type=Path, required=True, help="JSON file to write")
    for command in (tokenizer, pretrain, copy, hub):
        command.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    return options


def main(argv: list[str] | None = None) -> int:
    """Make one base checkpoint or tokenizer, or compare two."""
    options = build_parser().parse_args(argv)
    if options.command == "tokenizer":
        from scripts.first.training.tokenizers import make_tokenizer

        settings, size = options.world_settings, options.vocabulary_size
        make_tokenizer(options.kind, options.output_dir, settings, options.text, size)
    elif options.command == "pretrain":
        from scripts.first.training.finetune import pretrain

        pretrain(options)
    elif options.command == "copy":
        from scripts.first.models.checkpoints import copy_checkpoint

        copy_checkpoint(options.source, options.output_dir)
    elif options.command == "hub":
        from scripts.first.hub.fetch import model_record
        from scripts.first.models.checkpoints import RECORD
        from scripts.first.provenance import records
        from scripts.first.provenance.made_by import provenance

        record = model_record(options.repo, options.revision, options.mirror)
        record["provenance"] = provenance("models")
        records.write(options.output_dir / RECORD, record)
    else:
        from scripts.first.models.vocabulary_check import check_pair

        check_pair(options.teacher, options.student, options.output)
    return 0


if __name__ == "__main__":
    launch("scripts.models", main)
