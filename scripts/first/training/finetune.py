"""Tuning one model on one corpus: what teacher and student have in common.

Reads a base checkpoint and the corpus's train and validation splits; writes a checkpoint folder
(config.json, model.safetensors, tokenizer, record.json last) and validation.json.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.first.cli import described, training_settings
from scripts.first.data.rows import read_rows, scored_kind
from scripts.first.distributed import comm as distributed
from scripts.first.errors import UserError
from scripts.first.files import sha256_file, write_json
from scripts.first.models.encoding import EncodedRow, EncodingReport, check_candidates, encode_rows
from scripts.first.models.tokenizer import TextTokenizer, load_tokenizer
from scripts.first.provenance.made_by import provenance
from scripts.first.runtime.state import open_state


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
    known = check_candidates([*rows, *validation_rows], tokenizer)
    how = (tokenizer, arguments.block_length, arguments.append_eos, known)
    train, report = encode_rows(rows, *how)
    validation, _ = encode_rows(validation_rows, *how)
    if not train or not validation:
        raise UserError(f"no row fits {arguments.block_length} tokens: {arguments.train}")
    return Corpus(train, validation, report, scored_kind(rows), tokenizer)


def tune(
    stage: str,
    arguments: argparse.Namespace,
    fit: Callable[[object, Corpus, Path | None], list[dict]],
    check: Callable[[Corpus], None] | None = None,
    made_from: Sequence[Path] = (),
    **record: object,
) -> None:
    """Train with `fit(model, corpus, state)`, validate, write the checkpoint, the record last.

    `check` runs before the model is loaded: a mistake should cost no time. `made_from` are files
    beside base and corpus that the result rests on. What is validated and written is the checkpoint
    in its own dtype. With several processes, or where the optimizer is offloaded, the model is
    sharded; the first process validates and writes.
    """
    from scripts.first.distributed.fsdp import whole_model
    from scripts.first.models.checkpoints import (
        RECORD,
        save_checkpoint,
        verify_checkpoint,
        weights_digest,
    )
    from scripts.first.models.determinism import seed_everything
    from scripts.first.runtime.state import remove_state
    from scripts.first.training.validation import validate

    settings = training_settings(arguments)
    if distributed.world() > 1:
        distributed.join()
    base, base_record = distributed.from_main(lambda: verify_checkpoint(arguments.model))
    corpus = distributed.main_first(lambda: _checked_corpus(arguments, base, check))
    record |= {
        "base": weights_digest(base_record),
        "corpus": {
            "train": sha256_file(arguments.train),
            "validation": sha256_file(arguments.validation),
        },
        "tokenizer": corpus.tokenizer.sha256,
        "settings": described(settings),
        "processes": distributed.world(),
        "block_length": arguments.block_length,
        "append_eos": arguments.append_eos,
        "encoding": asdict(corpus.report),
        "provenance": provenance(stage),
    }
    state = open_training_state(arguments, record)
    seed_everything(settings.seed)
    model = _trainable(base, settings)
    check_vocabulary(model, corpus.tokenizer, arguments.model)
    curve = fit(model, corpus, state)
    model = whole_model(model, settings.dtype)
    distributed.leave()
    if model is None:  # the first process does the rest
        return
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
        {**record, "curve": curve},
        [arguments.model / RECORD, arguments.train, arguments.validation, *made_from],
        others=["validation.json"],
    )
    if arguments.state_dir:
        remove_state(arguments.state_dir)


def open_training_state(arguments: argparse.Namespace, record: dict) -> Path | None:
    """The folder of this run's state, or None without --state-dir.

    Its facts are all that the checkpoint's record names, the threads and the kind of device.
    """
    import torch

    if arguments.state_dir is None:
        return None
    facts = {**record, "threads": os.environ.get("OMP_NUM_THREADS", "1")}
    facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return distributed.from_main(lambda: open_state(arguments.state_dir, facts))


def _checked_corpus(arguments: argparse.Namespace, base: Path, check) -> Corpus:
    corpus = load_corpus(arguments, base)
    if check:
        check(corpus)
    return corpus


def _trainable(base: Path, settings):
    """The base model with float32 weights, sharded where there is reason to."""
    from scripts.first.distributed.fsdp import sharded_model
    from scripts.first.models.checkpoints import load_weights

    if distributed.world() > 1 or settings.offload_optimizer:
        return sharded_model(base, settings.dtype, settings.offload_optimizer)
    return load_weights(base, "float32")


def check_vocabulary(model, tokenizer: TextTokenizer, folder: Path) -> None:
    """The output head must cover every id of the tokenizer."""
    if model.config.vocab_size < tokenizer.vocabulary_size:
        raise UserError(
            f"tokenizer and model disagree: {folder}: {tokenizer.vocabulary_size} tokens, "
            f"but the model has {model.config.vocab_size} outputs: use the model's own tokenizer"
        )
