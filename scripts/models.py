"""Stage models: base checkpoints in Hugging Face layout, with a record of where they came from."""

import argparse
from functools import partial
from pathlib import Path

from first_distill import cli
from first_distill.errors import positive, whole
from first_distill.runtime.launch import launch


def tokenizer(options, words: list[str]) -> None:
    """Build the tokenizer that a pretrained family shares."""
    options.add_argument("--kind", choices=("world", "bpe"), required=True, help="words or BPE")
    options.add_argument("--world-settings", type=cli.json_object, help="of the world, JSON")
    options.add_argument("--text", type=Path, nargs="*", default=[], help="training splits")
    options.add_argument("--vocabulary-size", type=positive, default=8192, help="of the BPE")
    chosen = options.parse_args(words)

    from first_distill.training.tokenizers import make_tokenizer

    settings, size = chosen.world_settings, chosen.vocabulary_size
    make_tokenizer(chosen.kind, chosen.output_dir, settings, chosen.text, size)


def pretrain(options, words: list[str]) -> None:
    """Train a checkpoint on prepared text, from nothing or from another one."""
    from first_distill.training.settings import add_training_options

    options.add_argument("--text", type=Path, nargs="+", required=True, help="training splits")
    options.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder")
    options.add_argument("--architecture", type=cli.json_object, help="of a new Llama, JSON")
    options.add_argument("--start-from", nargs="?", type=Path, help="checkpoint to continue from")
    options.add_argument("--supervise", choices=("all", "response"), default="all", help="tokens")
    options.add_argument("--max-rows", type=positive, help="use this many rows, drawn by the seed")
    add_training_options(options)
    chosen = options.parse_args(words)

    from first_distill.training import finetune

    finetune.pretrain(chosen)


def copy(options, words: list[str]) -> None:
    """Verify and copy a checkpoint that was made here or is part of the repository."""
    options.add_argument("--source", type=Path, required=True, help="checkpoint folder to copy")
    chosen = options.parse_args(words)

    from first_distill.models.checkpoints import copy_checkpoint

    copy_checkpoint(chosen.source, chosen.output_dir)


def prune(options, words: list[str]) -> None:
    """Make a model of another one's layers, evenly spaced, the first and the last among them."""
    options.add_argument("--source", type=Path, required=True, help="checkpoint folder to prune")
    two = partial(whole, least=2)
    options.add_argument("--layers", type=two, required=True, help="layers to keep, 2 or more")
    chosen = options.parse_args(words)

    from first_distill.models.sources.pruning import prune_checkpoint

    prune_checkpoint(chosen.source, chosen.layers, chosen.output_dir)


def hub(options, words: list[str]) -> None:
    """Resolve a model on the Hub at a pinned revision."""
    options.add_argument("--repo", required=True, help="repository, OWNER/NAME")
    options.add_argument("--revision", required=True, help="commit on the Hub, 40 digits")
    options.add_argument("--mirror", help="local folder instead (default: FIRST_MODEL_MIRROR)")
    options.add_argument("--weights", choices=("pickle",), help="allow pickles: converted once")
    chosen = options.parse_args(words)

    from first_distill.hub.models import locate, make_room, model_record
    from first_distill.models.checkpoints import RECORD
    from first_distill.models.checks import check_base
    from first_distill.provenance import made_by, records

    pickles = chosen.weights == "pickle"
    (chosen.output_dir / RECORD).unlink(missing_ok=True)
    make_room(chosen.output_dir)
    record = model_record(chosen.repo, chosen.revision, chosen.mirror, pickles)
    check_base(locate(chosen.output_dir, record, chosen.mirror))
    record["provenance"] = made_by.provenance("base_model")
    records.write(chosen.output_dir / RECORD, record)


def folder(options, words: list[str]) -> None:
    """Record a model in a folder of yours; its files stay where they are, behind links."""
    options.add_argument("--source", type=Path, required=True, help="Hugging Face layout")
    options.add_argument("--weights", choices=("pickle",), help="allow pickles: converted once")
    chosen = options.parse_args(words)

    from first_distill.hub.models import link_folder
    from first_distill.models.checkpoints import RECORD
    from first_distill.models.checks import check_base
    from first_distill.provenance import made_by, records

    (chosen.output_dir / RECORD).unlink(missing_ok=True)
    root, record = link_folder(chosen.source, chosen.output_dir, chosen.weights == "pickle")
    check_base(root)
    record["provenance"] = made_by.provenance("base_model")
    records.write(chosen.output_dir / RECORD, record)


def gguf(options, words: list[str]) -> None:
    """Turn a GGUF file into a model of a mirror, MIRROR/OWNER/NAME."""
    options.add_argument("--file", type=Path, required=True, help="GGUF file")
    dtypes = ("float32", "bfloat16", "float16")
    options.add_argument("--dtype", choices=dtypes, default="float32", help="of the weights")
    chosen = options.parse_args(words)

    from first_distill.models.sources.gguf import convert

    found = convert(chosen.file, chosen.output_dir, chosen.dtype)
    repo = "/".join(chosen.output_dir.resolve().parts[-2:])
    place = f"{{repo: {repo}, revision: {found['revision']}}}"
    print(f"{chosen.output_dir}: in the configuration, under models: NAME: {{hub: {place}}}")


def pair(options, words: list[str]) -> None:
    """Check that the two models of a family can be trained on a corpus and tested."""
    options.add_argument("--teacher", type=Path, required=True, help="base checkpoint folder")
    options.add_argument("--student", type=Path, required=True, help="base checkpoint folder")
    options.add_argument("--corpus", type=Path, nargs="+", required=True, help="splits, parquet")
    options.add_argument("--tests", type=Path, nargs="*", default=[], help="test splits, parquet")
    options.add_argument("--k", type=positive, required=True, help="tokens stored at each position")
    options.add_argument("--output", type=Path, required=True, help="JSON file to write")
    cli.add_encoding_options(options)
    chosen = options.parse_args(words)

    from first_distill.models.checks import check_pair

    check_pair(
        *(chosen.teacher, chosen.student, chosen.corpus, chosen.tests, chosen.output),
        block_length=chosen.block_length,
        append_eos=chosen.append_eos,
        k=chosen.k,
        bos=chosen.bos,
    )


def main(argv: list[str] | None = None) -> int:
    """Make one base checkpoint or tokenizer, or compare two."""
    runs = (tokenizer, pretrain, prune, copy, hub, folder, gguf, pair)
    commands = {run.__name__: run for run in runs}
    options = cli.parser("scripts.models", __doc__)
    options.add_argument("command", choices=commands, help="COMMAND --help shows its options")
    rest = {"nargs": argparse.REMAINDER, "metavar": "..."}
    options.add_argument("words", **rest, help="the command's options")
    chosen = options.parse_args(argv)
    run = commands[chosen.command]
    options = cli.parser(f"scripts.models {chosen.command}", run.__doc__)
    if run is not pair:
        options.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    run(options, chosen.words)
    return 0


if __name__ == "__main__":
    launch("scripts.models", main)
