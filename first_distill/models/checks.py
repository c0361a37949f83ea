"""Check early that a tokenizer fits its model, and that a family's two models fit each other.

Knowledge is matched by token id. What would fail later, in a student or in an evaluation after the
teacher's training, the longest job, is found here, before it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from first_distill.data.rows import read_rows
from first_distill.errors import UserError
from first_distill.models.checkpoints import RECORD, TOKENIZER_COPIES, verify_checkpoint
from first_distill.models.encoding import candidate_ids, encode_prompts, encode_rows
from first_distill.models.inference import require_positions
from first_distill.models.loading import check_model, skeleton
from first_distill.models.structure import output_size
from first_distill.models.tokenizer import TextTokenizer, load_tokenizer
from first_distill.provenance import records
from first_distill.provenance.made_by import provenance


def padding_ids(tokenizer: TextTokenizer, outputs: int, shared: int | None = None) -> np.ndarray:
    """Ascending ids of a head's outputs that are no tokens, or not below `shared` outputs."""
    tokens = np.fromiter(tokenizer.pieces.values(), np.int64)
    return np.setdiff1d(np.arange(outputs), tokens[tokens < (shared or outputs)])


def check_base(location: Path) -> None:
    """Raise UserError unless a folder holds a causal language model and its tokenizer."""
    check_model(location)
    check_outputs(load_tokenizer(location), output_size(skeleton(location)), location)


def check_outputs(tokenizer: TextTokenizer, outputs: int, model: str | Path) -> None:
    """Raise UserError unless the model's head has an output for every token that a text can need.

    Special tokens beyond the head, such as Gemma 3's for images, never come from a text.
    """
    used = {*tokenizer.prefix, tokenizer.eos_id}
    beyond = [
        (i, token)
        for token, i in tokenizer.tokens()
        if i >= outputs and (i in used or i not in tokenizer.special_ids)
    ]
    for i, token in beyond[:1]:
        raise UserError(
            f"tokenizer and model disagree: {model}: the model has {outputs} outputs, but token "
            f"{token!r} has id {i}: use the model's own tokenizer"
        )


def check_pair(
    teacher: Path,
    student: Path,
    corpus: Sequence[Path],
    tests: Sequence[Path],
    output: Path,
    *,
    block_length: int,
    append_eos: bool,
    k: int,
    bos: str,
) -> None:
    """Compare a family's base checkpoints, encode all rows they will read, and write a record.

    corpus: training and validation split; tests: the benchmarks' test splits. The record holds the
    vocabulary's hash and number of tokens, both heads' outputs and the longest row. Raises
    UserError naming both folders and the first token that differs, or the row that cannot be used
    or that they read differently.
    """
    folders, sizes = {"teacher": teacher, "student": student}, {}
    tokenizers, models = [], []
    for name, folder in folders.items():
        # Not the weights: hashing them takes minutes, and training does it.
        location, _ = verify_checkpoint(folder, only=["config.json", *TOKENIZER_COPIES])
        tokenizers.append(load_tokenizer(location, bos))
        models.append(skeleton(location))
        sizes[name] = output_size(models[-1])
    theirs, ours = tokenizers
    if theirs.vocabulary_sha256() != ours.vocabulary_sha256() or theirs.prefix != ours.prefix:
        raise UserError(
            f"teacher and student have different vocabularies: {teacher} and {student}: "
            f"{_difference(theirs, ours)}: pair models of one family in the configuration"
        )
    for name, folder in folders.items():
        check_outputs(ours, sizes[name], folder)
    shared = sizes["teacher"] - len(padding_ids(ours, sizes["teacher"], sizes["student"]))
    if k > shared:
        raise UserError(f"k = {k}: teacher and student share {shared} tokens: lower stored_k")
    encoded = []
    for path in [*corpus, *tests]:
        rows, read = read_rows(path), []
        for tokenizer in tokenizers:
            try:
                if path in corpus:
                    found = encode_rows(rows, tokenizer, block_length, append_eos)[0]
                    read.append([(row.row_id, row.row_hash) for row in found])
                else:
                    answers = candidate_ids(rows, tokenizer).tolist()
                    found = encode_prompts(rows, tokenizer)
                    both = zip(found, answers, strict=True)
                    read.append([(row.row_id, row.row_hash, *answer) for row, answer in both])
            except UserError as error:
                raise UserError(f"{path}: {error}") from None
        for their, our in zip_longest(*read):
            if their != our:
                raise UserError(
                    f"teacher and student read text differently: {teacher} and {student}: row "
                    f"{(their or our)[0]} becomes other ids: use one's tokenizer files for both"
                )
        encoded += found
    for model in models:
        require_positions(model, encoded)
    content = {
        "vocabulary": ours.vocabulary_sha256(),
        "tokens": ours.vocabulary_size,
        "outputs": sizes,
        "longest": max((len(row.input_ids) for row in encoded), default=0),
        "provenance": provenance("pair"),
    }
    made_from = [*(folder / RECORD for folder in folders.values()), *corpus, *tests]
    records.write(output, content, made_from=made_from)


def _difference(theirs: TextTokenizer, ours: TextTokenizer) -> str:
    for name in ("vocabulary_size", "prefix", "eos_id"):
        if getattr(theirs, name) != getattr(ours, name):
            return f"{name} {getattr(theirs, name)} and {getattr(ours, name)}"
    pairs = zip(theirs.tokens(), ours.tokens(), strict=True)
    their, our = next(pair for pair in pairs if pair[0] != pair[1])
    return f"id {their[1]} is {their[0]!r}, id {our[1]} is {our[0]!r}"
