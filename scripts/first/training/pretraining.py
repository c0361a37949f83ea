"""Base models from nothing: a tokenizer and a brief language-model pretraining.

Used by the scales that embed their models (tiny: text of the generated world) or train them on the
real training splits (smoke). Never reads a validation or test split.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from scripts.first.data.rows import read_rows
from scripts.first.errors import UserError
from scripts.first.files import atomic_path, sha256_file
from scripts.first.models.encoding import EncodedRow, EncodingReport, encode_rows, row_hash
from scripts.first.models.tokenizer import TextTokenizer, load_tokenizer
from scripts.first.provenance import records
from scripts.first.provenance.made_by import provenance

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def make_tokenizer(
    kind: str, folder: Path, world_settings: dict | None, text: list[Path], vocabulary_size: int
) -> None:
    """Write tokenizer.json, tokenizer_config.json and their record: word-level or BPE."""
    from scripts.first.models.checkpoints import RECORD

    if kind == "world":
        from scripts.first.world import build_tokenizer, build_world

        if world_settings is None:
            raise UserError("a world's tokenizer needs its settings: give --world-settings")
        tokenizer = build_tokenizer(build_world(world_settings))
    else:
        tokenizer = _train_bpe(text, vocabulary_size)
    with atomic_path(folder / "tokenizer_config.json") as temporary:
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            **SPECIAL_TOKENS,
        }
        temporary.write_text(json.dumps(config, indent=2) + "\n")
    with atomic_path(folder / "tokenizer.json") as temporary:
        tokenizer.save(str(temporary))
    content = {"kind": kind, "provenance": provenance("models")}
    records.write(folder / RECORD, content, ["tokenizer.json", "tokenizer_config.json"], text)


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

    def lines():
        for path in text:
            for row in read_rows(path):
                yield row["prompt"] + row["response"]

    tokenizer.train_from_iterator(lines(), trainer)
    return tokenizer


def pretrain(arguments: argparse.Namespace) -> None:
    """Train a Llama from random weights, or a checkpoint further, and write a checkpoint."""
    from scripts.first.distributed.fsdp import whole_model
    from scripts.first.models.checkpoints import (
        RECORD,
        load_model,
        save_checkpoint,
        verify_checkpoint,
        weights_digest,
    )
    from scripts.first.models.determinism import seed_everything
    from scripts.first.runtime.state import remove_state
    from scripts.first.training.cross_entropy import CrossEntropy
    from scripts.first.training.loop import train
    from scripts.first.training.resume import open_training_state
    from scripts.first.training.settings import settings_from

    settings = settings_from(arguments)
    tokenizer = load_tokenizer(verify_checkpoint(arguments.tokenizer)[0])
    rows = [row for path in arguments.text for row in read_rows(path)]
    if arguments.max_rows and arguments.max_rows < len(rows):
        chosen = np.random.default_rng(settings.seed).permutation(len(rows))[: arguments.max_rows]
        rows = [rows[i] for i in np.sort(chosen)]
    encoded, report = _encode(rows, tokenizer, arguments)
    seed_everything(settings.seed)
    base, folders = None, [arguments.tokenizer]
    if arguments.start_from:
        model = load_model(arguments.start_from, "float32")
        base = weights_digest(verify_checkpoint(arguments.start_from)[1])
        folders.append(arguments.start_from)
    else:
        model = random_model(json.loads(arguments.architecture or "{}"), tokenizer)
    record = {
        "kind": "pretrained",
        "base": base,
        "text": [sha256_file(path) for path in arguments.text],
        "tokenizer": tokenizer.sha256,
        "settings": {**asdict(settings), "supervise": arguments.supervise},
        "encoding": asdict(report),
        "provenance": provenance("models"),
    }
    state = open_training_state(arguments, record)
    eos = tokenizer.eos_id
    record["curve"] = train(model, encoded, CrossEntropy(), settings, eos, "pretraining", state)
    model = whole_model(model, None, settings.dtype)
    sources = [*arguments.text, *(folder / RECORD for folder in folders)]
    save_checkpoint(model, arguments.output_dir, arguments.tokenizer, record, sources)
    if arguments.state_dir:
        remove_state(arguments.state_dir)


def random_model(architecture: dict, tokenizer: TextTokenizer):
    """A Llama with random weights; `architecture` are settings of transformers' LlamaConfig."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=tokenizer.vocabulary_size,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=None,
        **architecture,
    )
    config.use_cache = False
    return LlamaForCausalLM(config)


def _encode(rows, tokenizer, arguments) -> tuple[list[EncodedRow], EncodingReport]:
    """Rows with the loss on their response, or on every token after BOS, cut at the block."""
    if arguments.supervise == "response":
        return encode_rows(rows, tokenizer, arguments.block_length, arguments.append_eos)
    report, encoded = EncodingReport(rows=len(rows)), []
    texts = tokenizer.encode_many([row["prompt"] + row["response"] for row in rows])
    for row, ids in zip(rows, texts, strict=True):
        labels = np.asarray([*ids[1:], tokenizer.eos_id][: arguments.block_length], np.int32)
        kept = np.asarray(ids[: arguments.block_length], np.int32)
        encoded.append(EncodedRow(row["id"], kept, 1, labels, row_hash(kept, 1)))
        report.cut_responses += len(ids) > len(kept)
        report.longest = max(report.longest, len(kept))
        report.supervised_positions += len(labels)
    return encoded, report
