"""Tuning one model on one corpus: what teacher and student have in common.

Reads a base checkpoint and the corpus's train and validation splits; writes a checkpoint folder
(config.json, model.safetensors, tokenizer, record.json last) and validation.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.first.cli import described, training_settings
from scripts.first.encoding import EncodedRow, EncodingReport, check_candidates, encode_rows
from scripts.first.errors import UserError
from scripts.first.files import sha256_file, write_json
from scripts.first.provenance import provenance
from scripts.first.rows import read_rows, scored_kind
from scripts.first.tokenizer import TextTokenizer, load_tokenizer


@dataclass(frozen=True)
class Corpus:
    """An encoded training split and what encoding did to it."""

    train: list[EncodedRow]
    validation: list[EncodedRow]
    report: EncodingReport
    scored: str
    tokenizer: TextTokenizer


def load_corpus(arguments: argparse.Namespace, base: Path) -> Corpus:
    """Encode the train and validation splits with the base checkpoint's tokenizer."""
    tokenizer = load_tokenizer(base)
    rows, validation_rows = read_rows(arguments.train), read_rows(arguments.validation)
    check_candidates([*rows, *validation_rows], tokenizer)
    train, report = encode_rows(rows, tokenizer, arguments.block_length, arguments.append_eos)
    validation, _ = encode_rows(
        validation_rows, tokenizer, arguments.block_length, arguments.append_eos
    )
    if not train or not validation:
        raise UserError(f"no row fits {arguments.block_length} tokens: {arguments.train}")
    return Corpus(train, validation, report, scored_kind(rows), tokenizer)


def tune(
    module: str,
    arguments: argparse.Namespace,
    fit: Callable[[object, Corpus], list[dict]],
    check: Callable[[Corpus], None] | None = None,
    **record: object,
) -> None:
    """Train with `fit(model, corpus)`, validate, write the checkpoint, the record last.

    `check` runs before the model is loaded: a mistake should cost no time.
    """
    from scripts.first.checkpoints import load_model, save_checkpoint, verify_checkpoint
    from scripts.first.training import seed_everything
    from scripts.first.validation import validate

    settings = training_settings(arguments)
    base, base_record = verify_checkpoint(arguments.model)
    corpus = load_corpus(arguments, base)
    if check:
        check(corpus)
    seed_everything(settings.seed)
    model = load_model(arguments.model, arguments.dtype)
    check_vocabulary(model, corpus.tokenizer, arguments.model)
    curve = fit(model, corpus)
    result = validate(
        model,
        corpus.validation,
        corpus.scored,
        corpus.tokenizer.eos_id,
        arguments.max_tokens,
        arguments.bins,
    )
    write_json(arguments.output_dir / "validation.json", result)
    save_checkpoint(
        model,
        arguments.output_dir,
        base,
        {
            **record,
            "base": base_record["files"]["model.safetensors"]["sha256"]
            if "model.safetensors" in base_record["files"]
            else base_record.get("commit"),
            "corpus": {
                "train": sha256_file(arguments.train),
                "validation": sha256_file(arguments.validation),
            },
            "tokenizer": corpus.tokenizer.sha256,
            "settings": {**described(settings), "dtype": arguments.dtype},
            "block_length": arguments.block_length,
            "append_eos": arguments.append_eos,
            "encoding": asdict(corpus.report),
            "curve": curve,
            "provenance": provenance(module),
        },
    )


def check_vocabulary(model, tokenizer: TextTokenizer, folder: Path) -> None:
    """The output head must cover every id of the tokenizer."""
    if model.config.vocab_size < tokenizer.vocabulary_size:
        raise UserError(
            f"tokenizer and model disagree: {folder}: {tokenizer.vocabulary_size} tokens, "
            f"but the model has {model.config.vocab_size} outputs: use the model's own tokenizer"
        )
