"""Training one checkpoint: base models from nothing, teachers and students from a base.

Each writes a checkpoint folder (config.json, model.safetensors, tokenizer, record.json last). Only
the training and the validation split of a corpus are ever read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from first_distill.data.rows import read_rows, scored_kind
from first_distill.distributed import comm
from first_distill.distributed.fsdp import sharded_model, whole_model
from first_distill.errors import UserError
from first_distill.files import sha256_file, write_json
from first_distill.models.checkpoints import (
    RECORD,
    save_checkpoint,
    verify_checkpoint,
    weights_digest,
)
from first_distill.models.checks import check_outputs
from first_distill.models.determinism import seed_everything
from first_distill.models.encoding import EncodedRow, EncodingReport, encode_rows, row_hash
from first_distill.models.inference import require_positions
from first_distill.models.loading import load_weights, skeleton
from first_distill.models.structure import output_size
from first_distill.models.tokenizer import TextTokenizer, load_tokenizer
from first_distill.provenance.made_by import provenance
from first_distill.runtime.state import remove_state
from first_distill.training.loop import train
from first_distill.training.losses import CrossEntropy
from first_distill.training.model import TrainingModel
from first_distill.training.resume import open_training_state
from first_distill.training.settings import settings_from
from first_distill.training.validation import validate


def finetune(
    stage: str,
    arguments: argparse.Namespace,
    loss,
    what: str,
    made_from: Sequence[Path] = (),
    **facts: object,
) -> None:
    """Train a base model by a loss, validate it, and write validation.json and the checkpoint.

    loss: CrossEntropy or KnowledgeLoss. `made_from`: files beside base and corpus that the result
    depends on; `what` names the model in messages; `facts` go into the record. What is
    validated and written is the checkpoint in its own dtype. With several processes, or where the
    optimizer is offloaded, the model is sharded; the first process validates and writes.
    """
    settings = settings_from(arguments)
    base, base_record = comm.from_main(lambda: verify_checkpoint(arguments.model))
    tokenizer = load_tokenizer(base, arguments.bos)
    encoded, validation, report, scored = load_corpus(arguments, tokenizer)
    # Before the weights are loaded: a mistake should cost no time.
    structure = skeleton(base)
    outputs = output_size(structure)
    check_outputs(tokenizer, outputs, arguments.model)
    require_positions(structure, [*encoded, *validation])
    loss.check(encoded, tokenizer, outputs)
    corpus = {name: sha256_file(getattr(arguments, name)) for name in ("train", "validation")}
    record = {
        **facts,
        "base": weights_digest(base_record),
        "corpus": corpus,
        "tokenizer": tokenizer.sha256,
        "bos": tokenizer.bos_record,
        "settings": asdict(settings),
        "processes": comm.world(),
        "block_length": arguments.block_length,
        "append_eos": arguments.append_eos,
        "encoding": asdict(report),
        "provenance": provenance(stage),
    }
    state = open_training_state(arguments, record)
    seed_everything(settings.seed)
    if comm.world() > 1 or settings.offload_optimizer:
        model = sharded_model(base, TrainingModel, settings.dtype, settings.offload_optimizer)
    else:
        model = load_weights(base, "float32")
    eos = tokenizer.eos_id
    record["curve"] = train(model, encoded, loss, settings, eos, what=what, state=state)
    model = whole_model(model, base, settings.dtype)
    comm.leave()
    if model is None:  # the first process does the rest
        return
    result = validate(model, validation, scored, eos, arguments.max_tokens, arguments.bins)
    write_json(arguments.output_dir / "validation.json", result)
    sources = [arguments.model / RECORD, arguments.train, arguments.validation, *made_from]
    save_checkpoint(model, arguments.output_dir, base, record, sources, others=["validation.json"])
    if arguments.state_dir:
        remove_state(arguments.state_dir)


def load_corpus(
    arguments: argparse.Namespace, tokenizer: TextTokenizer
) -> tuple[list[EncodedRow], list[EncodedRow], EncodingReport, str]:
    """(training rows, validation rows, report on the former, what validation scores)."""
    rows, validation_rows = read_rows(arguments.train), read_rows(arguments.validation)
    how = (tokenizer, arguments.block_length, arguments.append_eos)
    encoded, report = encode_rows(rows, *how)
    validation, _ = encode_rows(validation_rows, *how)
    if not encoded or not validation:
        raise UserError(f"no row fits {arguments.block_length} tokens: {arguments.train}")
    return encoded, validation, report, scored_kind(rows)


def pretrain(arguments: argparse.Namespace) -> None:
    """Train a Llama from random weights, or a checkpoint further, and write a checkpoint."""
    settings = settings_from(arguments)
    tokenizer = load_tokenizer(verify_checkpoint(arguments.tokenizer)[0], arguments.bos)
    rows = [row for path in arguments.text for row in read_rows(path)]
    chosen = np.random.default_rng(settings.seed).permutation(len(rows))[: arguments.max_rows]
    rows = [rows[i] for i in np.sort(chosen)]
    encoded, report = _encode(rows, tokenizer, arguments)
    seed_everything(settings.seed)
    base, sources = None, [*arguments.text, arguments.tokenizer / RECORD]
    if arguments.start_from:
        location, base_record = verify_checkpoint(arguments.start_from)
        model, base = load_weights(location, "float32"), weights_digest(base_record)
        sources.append(arguments.start_from / RECORD)
    else:
        model = random_model(arguments.architecture or {}, tokenizer)
    record = {
        "kind": "pretrained",
        "base": base,
        "text": [sha256_file(path) for path in arguments.text],
        "tokenizer": tokenizer.sha256,
        "bos": tokenizer.bos_record,
        "settings": {**asdict(settings), "supervise": arguments.supervise},
        "encoding": asdict(report),
        "provenance": provenance("pretrain"),
    }
    state, eos = open_training_state(arguments, record), tokenizer.eos_id
    loss, what = CrossEntropy(), "pretraining"
    record["curve"] = train(model, encoded, loss, settings, eos, what=what, state=state)
    model = whole_model(model, None, settings.dtype)
    save_checkpoint(model, arguments.output_dir, arguments.tokenizer, record, sources)
    if arguments.state_dir:
        remove_state(arguments.state_dir)


def random_model(architecture: dict, tokenizer: TextTokenizer):
    """A Llama with random weights; `architecture` are settings of transformers' LlamaConfig."""
    from transformers import LlamaConfig, LlamaForCausalLM

    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    ids |= {"pad_token_id": None, "vocab_size": tokenizer.vocabulary_size}
    try:
        model = LlamaForCausalLM(LlamaConfig(use_cache=False, **ids, **architecture))
        model(**model.dummy_inputs)  # heads that do not divide fail only here
        return model
    except MemoryError:
        raise
    except Exception as error:  # its validators' errors, torch's and Python's share no base class
        raise UserError(f"no such Llama: --architecture: {error}: correct the settings") from None


def _encode(rows, tokenizer, arguments) -> tuple[list[EncodedRow], EncodingReport]:
    """Rows with the loss on their response, or on every token but the first, cut at the block."""
    if arguments.supervise == "response":
        return encode_rows(rows, tokenizer, arguments.block_length, arguments.append_eos)
    report = EncodingReport(rows=len(rows))
    encoded = []
    texts = tokenizer.encode_many([row["prompt"] + row["response"] for row in rows])
    for row, ids in zip(rows, texts, strict=True):
        labels = np.asarray([*ids[1:], tokenizer.eos_id][: arguments.block_length], np.int32)
        kept = np.asarray(ids[: arguments.block_length], np.int32)
        encoded.append(EncodedRow(row["id"], kept, 1, labels, row_hash(kept, 1)))
        report.cut_responses += len(ids) > len(kept)
        report.longest = max(report.longest, len(kept))
        report.supervised_positions += len(labels)
    return encoded, report
