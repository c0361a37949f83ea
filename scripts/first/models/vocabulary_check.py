"""Check that the teacher and the student of a family have the same vocabulary.

Knowledge is matched by token id: a mistake is reported before the teacher, the longest job, starts.
"""

from __future__ import annotations

from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.models.checkpoints import RECORD, TOKENIZER_COPIES, verify_checkpoint
from scripts.first.models.tokenizer import TextTokenizer, load_tokenizer
from scripts.first.provenance import records
from scripts.first.provenance.made_by import provenance


def check_pair(teacher: Path, student: Path, output: Path) -> None:
    """Compare the vocabularies of two base checkpoints; write their hash and size as JSON.

    Raises UserError naming both folders and the first token that differs.
    """
    theirs, ours = (
        load_tokenizer(verify_checkpoint(folder, only=TOKENIZER_COPIES)[0])
        for folder in (teacher, student)
    )
    if theirs.vocabulary_sha256() != ours.vocabulary_sha256():
        raise UserError(
            f"teacher and student have different vocabularies: {teacher} and {student}: "
            f"{_difference(theirs, ours)}: pair models of one family in the configuration"
        )
    content = {"vocabulary": ours.vocabulary_sha256(), "tokens": ours.vocabulary_size}
    content["provenance"] = provenance("pair")
    records.write(output, content, made_from=[teacher / RECORD, student / RECORD])


def _difference(theirs: TextTokenizer, ours: TextTokenizer) -> str:
    for name in ("vocabulary_size", "bos_id", "eos_id"):
        if getattr(theirs, name) != getattr(ours, name):
            return f"{name} {getattr(theirs, name)} and {getattr(ours, name)}"
    pairs = zip(theirs.tokens(), ours.tokens(), strict=True)
    their, our = next(pair for pair in pairs if pair[0] != pair[1])
    return f"id {their[1]} is {their[0]!r}, id {our[1]} is {our[0]!r}"
