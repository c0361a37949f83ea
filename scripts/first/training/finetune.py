"""Fine-tuning one model on one corpus: what teacher and student have in common.

Reads a base checkpoint and the corpus's train and validation splits; writes a checkpoint folder
(config.json, model.safetensors, tokenizer, record.json last) and validation.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.first.data.rows import read_rows, scored_kind
from scripts.first.distributed import comm
from scripts.first.distributed.fsdp import sharded_model, whole_model
from scripts.first.errors import UserError
from scripts.first.files import sha256_file, write_json
from scripts.first.models.checkpoints import (
    RECORD,
    load_config,
    load_weights,
    save_checkpoint,
    verify_checkpoint,
    weights_digest,
)
from scripts.first.models.determinism import seed_everything
from scripts.first.models.encoding import EncodedRow, EncodingReport, encode_rows
from scripts.first.models.tokenizer import TextTokenizer, load_tokenizer
from scripts.first.provenance.made_by import provenance
from scripts.first.runtime.state import remove_state
from scripts.first.training.loop import train
from scripts.first.training.model import TrainingModel
from scripts.first.training.resume import open_training_state
from scripts.first.training.settings import settings_from
from scripts.first.training.validation import validate


@dataclass(frozen=True)
class Corpus:
    """An encoded training split, its validation split, and what encoding did to the former."""

    train: list[EncodedRow]
    validation: list[EncodedRow]
    report: EncodingReport
    scored: str
    tokenizer: TextTokenizer


def finetune(
    stage: str,
    arguments: argparse.Namespace,
    loss,
    label: str,
    made_from: Sequence[Path] = (),
    **facts: object,
) -> None:
    """Train a base model by a loss, validate it, and write the checkpoint, its record last.

    loss: CrossEntropy or KnowledgeLoss. `made_from` are files beside base and corpus that the
    result rests on; `facts` go into the record. What is validated and written is the checkpoint in
    its own dtype. With several processes, or where the optimizer is offloaded, the model is
    sharded; the first process validates and writes.
    """
    settings = settings_from(arguments)
    base, base_record = comm.from_main(lambda: verify_checkpoint(arguments.model))
    corpus = load_corpus(arguments, base)
    # Before the weights are loaded: a mistake should cost no time.
    outputs = load_config(base).get_text_config().vocab_size
    if outputs < corpus.tokenizer.vocabulary_size:
        raise UserError(
            f"tokenizer and model disagree: {arguments.model}: the model has {outputs} outputs for "
            f"{corpus.tokenizer.vocabulary_size} tokens: use the model's own tokenizer"
        )
    loss.check(corpus.train, corpus.tokenizer, outputs)
    record = {
        **facts,
        "base": weights_digest(base_record),
        "corpus": {
            "train": sha256_file(arguments.train),
            "validation": sha256_file(arguments.validation),
        },
        "tokenizer": corpus.tokenizer.sha256,
        "settings": asdict(settings),
        "processes": comm.world(),
        "block_length": arguments.block_length,
        "append_eos": arguments.append_eos,
        "encoding": asdict(corpus.report),
        "provenance": provenance(stage),
    }
    state = open_training_state(arguments, record)
    seed_everything(settings.seed)
    if comm.world() > 1 or settings.offload_optimizer:
        model = sharded_model(base, TrainingModel, settings.dtype, settings.offload_optimizer)
    else:
        model = load_weights(base, "float32")
    eos = corpus.tokenizer.eos_id
    record["curve"] = train(model, corpus.train, loss, settings, eos, label, state)
    model = whole_model(model, base, settings.dtype)
    comm.leave()
    if model is None:  # the first process does the rest
        return
    result = validate(
        model, corpus.validation, corpus.scored, eos, arguments.max_tokens, arguments.bins
    )
    write_json(arguments.output_dir / "validation.json", result)
    sources = [arguments.model / RECORD, arguments.train, arguments.validation, *made_from]
    save_checkpoint(model, arguments.output_dir, base, record, sources, others=["validation.json"])
    if arguments.state_dir:
        remove_state(arguments.state_dir)


def load_corpus(arguments: argparse.Namespace, base: Path) -> Corpus:
    """Encode the train and validation splits with the base checkpoint's tokenizer."""
    tokenizer = load_tokenizer(base)
    rows, validation_rows = read_rows(arguments.train), read_rows(arguments.validation)
    how = (tokenizer, arguments.block_length, arguments.append_eos)
    encoded, report = encode_rows(rows, *how)
    validation, _ = encode_rows(validation_rows, *how)
    if not encoded or not validation:
        raise UserError(f"no row fits {arguments.block_length} tokens: {arguments.train}")
    return Corpus(encoded, validation, report, scored_kind(rows), tokenizer)
