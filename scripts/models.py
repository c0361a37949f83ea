"""Stage models: base checkpoints in Hugging Face layout, with a record of where they came from.

One command each: `tokenizer` builds the tokenizer that a pretrained family shares, `pretrain` makes
a checkpoint from nothing on prepared text, `copy` takes one that was pretrained here or that the
repository ships, `hub` resolves one on the hub at a pinned revision, `pair` checks that a
family's two vocabularies are one.
"""

from __future__ import annotations

import json
from pathlib import Path

from scripts.first import ROOT
from scripts.first.errors import positive
from scripts.first.hub.mirror import MODEL_MIRROR
from scripts.first.runtime.launch import launch


def build_parser():
    """Options of the five commands."""
    from scripts.first import cli

    options = cli.parser("scripts.models", __doc__)
    commands = options.add_subparsers(dest="command", required=True)

    tokenizer = commands.add_parser("tokenizer", help="build a tokenizer", allow_abbrev=False)
    tokenizer.add_argument(
        "--kind", choices=("world", "bpe"), required=True, help="word level / BPE"
    )
    tokenizer.add_argument("--world-settings", help="settings of the generated world (JSON)")
    tokenizer.add_argument("--text", type=Path, nargs="*", default=[], help="training splits")
    tokenizer.add_argument("--vocabulary-size", type=positive, default=8192, help="of the BPE")

    pretrain = commands.add_parser("pretrain", help="pretrain from nothing", allow_abbrev=False)
    pretrain.add_argument("--text", type=Path, nargs="+", required=True, help="training splits")
    pretrain.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder")
    pretrain.add_argument("--architecture", help="LlamaConfig settings (JSON), unless --start-from")
    pretrain.add_argument("--start-from", nargs="?", type=Path, help="checkpoint to continue from")
    pretrain.add_argument(
        "--supervise", choices=("all", "response"), default="all", help="tokens that are learnt"
    )
    pretrain.add_argument("--max-rows", type=positive, help="use this many rows, drawn by the seed")
    cli.add_encoding_options(pretrain)
    cli.add_training_options(pretrain)

    copy = commands.add_parser("copy", help="copy a verified checkpoint", allow_abbrev=False)
    copy.add_argument("--source", type=Path, required=True, help="checkpoint folder to copy")

    hub = commands.add_parser("hub", help="resolve a hub model", allow_abbrev=False)
    hub.add_argument("--repo", required=True, help="hub id")
    hub.add_argument("--revision", required=True, help="commit on the hub, 40 digits")
    hub.add_argument(
        "--mirror", help=f"local folder instead of the hub; without it, {MODEL_MIRROR}"
    )

    pair = commands.add_parser("pair", help="compare two vocabularies", allow_abbrev=False)
    pair.add_argument("--teacher", type=Path, required=True, help="base checkpoint folder")
    pair.add_argument("--student", type=Path, required=True, help="base checkpoint folder")
    pair.add_argument("--output", type=Path, required=True, help="JSON file to write")
    for command in (tokenizer, pretrain, copy, hub):
        command.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    return options


def main(argv: list[str] | None = None) -> int:
    """Make one base checkpoint or tokenizer."""
    arguments = build_parser().parse_args(argv)
    if arguments.command == "tokenizer":
        from scripts.first.training.pretraining import make_tokenizer

        settings = json.loads(arguments.world_settings) if arguments.world_settings else None
        make_tokenizer(
            arguments.kind,
            arguments.output_dir,
            world_settings=settings,
            text=arguments.text,
            vocabulary_size=arguments.vocabulary_size,
        )
    elif arguments.command == "pretrain":
        from scripts.first.training.pretraining import pretrain

        pretrain(arguments)
    elif arguments.command == "copy":
        from scripts.first.models.checkpoints import copy_checkpoint

        shipped = ROOT / arguments.source
        source = shipped if not arguments.source.exists() and shipped.exists() else arguments.source
        copy_checkpoint(source, arguments.output_dir)
    elif arguments.command == "pair":
        from scripts.first.models.vocabulary_check import check_pair

        check_pair(arguments.teacher, arguments.student, arguments.output)
    else:
        from scripts.first.hub.fetch import model_record
        from scripts.first.models.checkpoints import RECORD
        from scripts.first.provenance import records
        from scripts.first.provenance.made_by import provenance

        record = model_record(arguments.repo, arguments.revision, arguments.mirror)
        record["provenance"] = provenance("models")
        records.write(arguments.output_dir / RECORD, record)
    return 0


if __name__ == "__main__":
    launch("scripts.models", main)
