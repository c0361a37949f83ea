"""Prompts are byte-exact, and unusable rows are one line for the user."""

import pytest

from scripts.first.data.prompts import alpaca_row, boolq_row, csqa_row, obqa_row, uniform_row
from scripts.first.errors import UserError

CSQA = {
    "id": "075e483d21c29a511267ef62bedc0461",
    "question": "The sanctions against the school were a punishing blow, and they seemed to what "
    "the efforts the school had made to change?",
    "choices": {
        "label": ["A", "B", "C", "D", "E"],
        "text": ["ignore", "enforce", "authoritarian", "yell at", "avoid"],
    },
    "answerKey": "A",
}
OBQA = {
    "id": "7-980",
    "question_stem": "The sun is responsible for",
    "choices": {
        "text": [
            "puppies learning new tricks",
            "children growing up and getting old",
            "flowers wilting in a vase",
            "plants sprouting, blooming and wilting",
        ],
        "label": ["A", "B", "C", "D"],
    },
    "answerKey": "D",
}
BOOLQ = {"question": "is the sky blue", "passage": "The sky is {blue}.\n\nOften.", "answer": True}


def test_csqa_example_of_the_appendix():
    row = csqa_row(CSQA)
    assert row.prompt == (
        "Q: The sanctions against the school were a punishing blow, and they seemed to what the "
        "efforts the school had made to change?\n"
        "Answer Choices:\n"
        "(a) ignore\n"
        "(b) enforce\n"
        "(c) authoritarian\n"
        "(d) yell at\n"
        "(e) avoid\n"
        "A: The answer is ("
    )
    assert (row.response, row.answer, row.candidates) == ("a).", "a", ("a", "b", "c", "d", "e"))
    assert (row.shorten_start, row.shorten_end) == (-1, -1)


def test_obqa_appends_nothing_to_the_stem():
    row = obqa_row(OBQA)
    assert row.prompt == (
        "Q: The sun is responsible for\n"
        "Answer Choices:\n"
        "(A) puppies learning new tricks\n"
        "(B) children growing up and getting old\n"
        "(C) flowers wilting in a vase\n"
        "(D) plants sprouting, blooming and wilting\n"
        "A: The answer is ("
    )
    assert (row.response, row.answer, row.candidates) == ("D).", "D", ("A", "B", "C", "D"))
    assert row == uniform_row("obqa", OBQA, "here")


@pytest.mark.parametrize(("answer", "label"), [(True, "Yes"), (False, "No")])
def test_boolq_has_the_preamble_without_input_and_a_passage_to_shorten(answer, label):
    row = boolq_row({**BOOLQ, "answer": answer})
    assert row.prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nRead the input passage and answer the "
        "question: is the sky blue? Your answer should be Yes or No.\n\n### Input:\n"
        "The sky is {blue}.\n\nOften.\n\n### Response:\n"
    )
    assert row.prompt[row.shorten_start : row.shorten_end] == BOOLQ["passage"]
    assert (row.response, row.answer, row.candidates) == (label, label, ("Yes", "No"))


def test_alpaca_with_and_without_input():
    raw = {"instruction": "Add.", "input": "1 and 2", "output": " 3\n"}
    assert alpaca_row(raw).prompt == (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:\n"
    )
    row = alpaca_row({**raw, "input": ""})
    assert row.prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nAdd.\n\n### Response:\n"
    )
    assert (row.response, row.answer, row.candidates) == (" 3\n", None, ())


def choices(labels, texts):
    return {"choices": {"label": list(labels), "text": texts}}


@pytest.mark.parametrize(
    ("dataset", "raw", "message"),
    [
        ("csqa", {k: v for k, v in CSQA.items() if k != "question"}, "no column question"),
        ("csqa", {**CSQA, "question": " "}, "empty question"),
        ("csqa", {**CSQA, "question": None}, "question is NoneType, not text"),
        ("csqa", {**CSQA, "answerKey": ""}, "no answer"),
        ("csqa", {**CSQA, "answerKey": "F"}, "answer 'F' is not one of A, B, C, D, E"),
        ("csqa", {**CSQA, "question": "\u200b\u2060"}, "empty question"),
        ("csqa", {**CSQA, **choices("BACDE", list("vwxyz"))}, "labelled B, A, C, D, E, not 5"),
        ("csqa", {**CSQA, **choices("ABCD", list("wxyz"))}, "4 choices labelled A, B, C, D, not 5"),
        ("csqa", {**CSQA, **choices("ABCDE", list("vwxy"))}, "4 choices labelled"),
        ("csqa", {**CSQA, **choices("ABCDE", ["v", "w", "x", "y", ""])}, "choice E of csqa"),
        ("csqa", {**CSQA, "choices": ["a"]}, "choices lack label or text"),
        ("obqa", {**OBQA, **choices("ABCDE", list("vwxyz"))}, "not 4 labelled A, B, C, D"),
        ("obqa", {**OBQA, "answerKey": "E"}, "answer 'E' is not one of A, B, C, D"),
        ("boolq", {**BOOLQ, "answer": None}, "answer None is neither true nor false"),
        ("boolq", {**BOOLQ, "answer": 1}, "answer 1 is neither true nor false"),
        ("boolq", {**BOOLQ, "passage": ""}, "empty passage"),
        ("alpaca", {"instruction": "", "input": "", "output": "x"}, "empty instruction"),
        ("alpaca", {"instruction": "x", "input": "", "output": None}, "output is NoneType"),
        ("alpaca", {"instruction": "x", "output": "y"}, "no column input"),
    ],
)
def test_unusable_rows_are_one_line_with_their_place(dataset, raw, message):
    with pytest.raises(UserError) as caught:
        uniform_row(dataset, raw, f"{dataset}, split train, row 17")
    text = str(caught.value)
    assert message in text
    assert f"{dataset}, split train, row 17: " in text
    assert "\n" not in text
