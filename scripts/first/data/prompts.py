"""Prompts of the datasets: official rows become uniform rows.

Questions, choices, passages and instructions are used byte for byte. A prompt ends right before
the first character that the model has to produce. Out-of-domain benchmarks have the same prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.first.errors import UserError

PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
)
PREAMBLE_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
)
YES_NO = ("Yes", "No")
REPAIR = "correct the row in the source"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a uniform table.

    candidates: what may follow the prompt, in the order of the choices; empty for Alpaca.
    answer: the right candidate, None if there is none.
    shorten_start, shorten_end: prompt[start:end] may be shortened in training; -1, -1 if nothing
    may.
    """

    prompt: str
    response: str
    candidates: tuple[str, ...] = ()
    answer: str | None = None
    shorten_start: int = -1
    shorten_end: int = -1


def uniform_row(dataset: str, raw: Mapping[str, Any], what: str) -> Row:
    """The uniform row of an official row of `dataset`.

    what: the row's name in messages. Raises UserError if the row is not usable.
    """
    makers = {"csqa": csqa_row, "obqa": obqa_row, "boolq": boolq_row, "alpaca": alpaca_row}
    return makers.get(dataset, pretraining_row)(raw, what)


def csqa_row(raw: Mapping[str, Any], what: str = "csqa") -> Row:
    """CommonsenseQA: five choices, lower-case letters; the response is `a).`."""
    return _choice_row(raw, "question", "abcde", what)


def obqa_row(raw: Mapping[str, Any], what: str = "obqa") -> Row:
    """OpenBookQA: four choices, upper-case letters as in appendix A.2."""
    return _choice_row(raw, "question_stem", "ABCD", what)


def boolq_row(raw: Mapping[str, Any], what: str = "boolq") -> Row:
    """BoolQ: a passage, which training may shorten, and a question to answer with Yes or No.

    The preamble is the one without an input although an input follows: as printed in the paper.
    """
    question = text(raw, "question", what)
    passage = text(raw, "passage", what)
    answer = _column(raw, "answer", what)
    if not isinstance(answer, bool):
        raise UserError(f"answer {answer!r} is neither true nor false: {what}: {REPAIR}")
    before = (
        f"{PREAMBLE}### Instruction:\nRead the input passage and answer the question: {question}? "
        "Your answer should be Yes or No.\n\n### Input:\n"
    )
    label = YES_NO[0] if answer else YES_NO[1]
    prompt = f"{before}{passage}\n\n### Response:\n"
    return Row(prompt, label, YES_NO, label, len(before), len(before) + len(passage))


def alpaca_row(raw: Mapping[str, Any], what: str = "alpaca") -> Row:
    """Alpaca: an instruction, with or without input, and a free response.

    An empty response is kept (28 official rows have one): its end is still supervised.
    """
    instruction = text(raw, "instruction", what)
    given = text(raw, "input", what, may_be_empty=True)
    output = text(raw, "output", what, may_be_empty=True)
    preamble, block = (PREAMBLE_WITH_INPUT, f"### Input:\n{given}\n\n") if given else (PREAMBLE, "")
    return Row(f"{preamble}### Instruction:\n{instruction}\n\n{block}### Response:\n", output)


def pretraining_row(raw: Mapping[str, Any], what: str = "pretraining") -> Row:
    """Plain text of the generated world, already a prompt and a response."""
    return Row(text(raw, "prompt", what), text(raw, "response", what, may_be_empty=True))


def _choice_row(raw: Mapping[str, Any], column: str, letters: str, what: str) -> Row:
    question, choices = text(raw, column, what), _column(raw, "choices", what)
    if not isinstance(choices, Mapping) or not {"label", "text"} <= choices.keys():
        raise UserError(f"choices lack label or text: {what}: {REPAIR}")
    labels, texts = list(choices["label"] or ()), list(choices["text"] or ())
    expected = list(letters.upper())
    if labels != expected or len(texts) != len(expected):
        raise UserError(
            f"{len(texts)} choices labelled {', '.join(map(str, labels))}, "
            f"not {len(expected)} labelled {', '.join(expected)}: {what}: {REPAIR}"
        )
    for label, choice in zip(labels, texts, strict=True):
        text({"text": choice}, "text", what=f"choice {label} of {what}")
    key = _column(raw, "answerKey", what)
    if not key:
        raise UserError(f"no answer (unlabelled row): {what}: use a labelled split")
    if key not in labels:
        raise UserError(f"answer {key!r} is not one of {', '.join(labels)}: {what}: {REPAIR}")
    answer = letters[labels.index(key)]
    lines = "".join(f"({x}) {choice}\n" for x, choice in zip(letters, texts, strict=True))
    prompt = f"Q: {question}\nAnswer Choices:\n{lines}A: The answer is ("
    return Row(prompt, f"{answer}).", tuple(letters), answer)


def _column(raw: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in raw:
        raise UserError(f"no column {name}: {what}: check the repository and its revision")
    return raw[name]


def text(raw: Mapping[str, Any], name: str, what: str, may_be_empty: bool = False) -> str:
    """A column of a row as text; UserError if it is missing, of another type or invisible."""
    value = _column(raw, name, what)
    if not isinstance(value, str):
        raise UserError(f"{name} is {type(value).__name__}, not text: {what}: {REPAIR}")
    # Zero-width characters are not a question.
    if not may_be_empty and not any(c.isprintable() and not c.isspace() for c in value):
        raise UserError(f"empty {name}: {what}: {REPAIR}")
    return value
