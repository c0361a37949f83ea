"""Tokenizers of base models that are pretrained here, from training splits or the world."""

from __future__ import annotations

from pathlib import Path

from first_distill.data.rows import read_rows
from first_distill.errors import UserError
from first_distill.files import atomic_path, write_json
from first_distill.models.checkpoints import RECORD
from first_distill.provenance import records
from first_distill.provenance.made_by import provenance

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def make_tokenizer(
    kind: str, folder: Path, world_settings: dict | None, text: list[Path], vocabulary_size: int
) -> None:
    """Write tokenizer.json, tokenizer_config.json and their record: word-level or BPE."""
    if kind == "world":
        from first_distill.world import build_tokenizer, build_world, settings_of

        if world_settings is None:
            raise UserError("a world's tokenizer needs its settings: give --world-settings")
        with settings_of(what="tokenizer"):
            tokenizer = build_tokenizer(build_world(world_settings))
    else:
        tokenizer = _train_bpe(text, vocabulary_size)
    add_bos(tokenizer)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", config | SPECIAL_TOKENS)
    with atomic_path(folder / "tokenizer.json") as temporary:
        tokenizer.save(str(temporary))
    content = {"kind": kind, "provenance": provenance("tokenizer")}
    records.write(folder / RECORD, content, ["tokenizer.json", "tokenizer_config.json"], text)


def add_bos(tokenizer) -> None:
    """Make a `tokenizers.Tokenizer` put BOS before a text that is to have special tokens."""
    from tokenizers.processors import TemplateProcessing

    bos = SPECIAL_TOKENS["bos_token"]
    special = [(bos, tokenizer.token_to_id(bos))]
    tokenizer.post_processor = TemplateProcessing(f"{bos} $A", special_tokens=special)


def _train_bpe(text: list[Path], vocabulary_size: int):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if not text:
        raise UserError("a byte-level BPE needs text: give --text with training splits")
    tokenizer = Tokenizer(models.BPE())
    # Lines stay apart: a newline is a token of its own, so that a prompt which ends in one is a
    # prefix of prompt + response whatever follows.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", behavior="isolated"),
            pre_tokenizers.Split("(", behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = (row["prompt"] + row["response"] for path in text for row in read_rows(path))
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer
