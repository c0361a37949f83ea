"""Prompts are byte-exact, and unusable rows are one line for the user."""

import pytest

from first_distill.data.prompts import Prompt, Row
from first_distill.errors import UserError
from tests.questions import entry

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
ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": " 3\n"}
BOOLQ = {"question": "is the sky blue", "passage": "The sky is {blue}.\n\nOften.", "answer": True}


def uniform_row(dataset: str, raw: dict, what: str = "here", **changes) -> Row:
    """The row that a shipped entry, with other keys, makes of an official one."""
    return Prompt(entry(dataset, **changes), dataset).row(raw, what)


def test_csqa_example_of_the_appendix():
    row = uniform_row("csqa", CSQA)
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
    row = uniform_row("obqa", OBQA)
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


@pytest.mark.parametrize(("answer", "label"), [(True, "Yes"), (False, "No")])
def test_boolq_has_the_preamble_without_input_and_a_passage_to_shorten(answer, label):
    row = uniform_row("boolq", {**BOOLQ, "answer": answer})
    assert row.prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nRead the input passage and answer the "
        "question: is the sky blue? Your answer should be Yes or No.\n\n### Input:\n"
        "The sky is {blue}.\n\nOften.\n\n### Response:\n"
    )
    assert row.prompt[row.shorten_start : row.shorten_end] == BOOLQ["passage"]
    assert (row.response, row.answer, row.candidates) == (label, label, ("Yes", "No"))


def test_alpaca_with_and_without_input():
    assert uniform_row("alpaca", ALPACA).prompt == (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:\n"
    )
    row = uniform_row("alpaca", {**ALPACA, "input": ""})
    assert row == uniform_row("alpaca", {**ALPACA, "input": None})
    assert row.prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nAdd.\n\n### Response:\n"
    )
    assert (row.response, row.answer, row.candidates) == (" 3\n", None, ())


@pytest.mark.parametrize("output", ["", None])
def test_a_null_output_of_alpaca_is_an_empty_one(output):
    row = uniform_row("alpaca", {**ALPACA, "output": output})
    assert row.response == "" and row.prompt == uniform_row("alpaca", ALPACA).prompt


def test_movie_reviews_have_words_for_labels():
    """Label 0 is a label; words stand in the prompt's order, not in that of any column."""
    for label, word in enumerate((" negative", " positive")):
        row = uniform_row("movie", {"text": "so so", "label": label})
        assert row.prompt == "Review: so so\nSentiment:"
        assert (row.response, row.answer, row.candidates) == (
            word,
            word,
            (" negative", " positive"),
        )


def choices(labels, texts):
    return {"choices": {"label": list(labels), "text": texts}}


@pytest.mark.parametrize(
    ("labels", "key", "letter"),
    [("BACDE", "A", "b"), ("ABCD", "D", "d"), ("ABC", "A", "a"), ("123", "3", "c")],
)
def test_answers_are_looked_up_among_the_labels(labels, key, letter):
    """In their own order, and as many as a row has: ARC has 3 to 5, some labelled 1, 2, 3."""
    raw = {**CSQA, "answerKey": key, **choices(labels, [f"text {x}" for x in labels])}
    row = uniform_row("csqa", raw)
    assert row.candidates == tuple("abcde"[: len(labels)])
    assert (row.answer, row.response) == (letter, f"{letter}).")
    assert f"({letter}) text {key}\n" in row.prompt and row.prompt.count("\n(") == len(labels)


TEXTS = {
    "template": "{{ choices }} {% for x in y %} {# no #} {{",
    "newlines": "one\r\ntwo\rthree\n\n",
    "markup": '<b>&amp;</b> "it\'s"',
    "spaces": "  both ends\t ",
    "braces": "{question} %s \\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_used_byte_for_byte(name):
    text = TEXTS[name]
    row = uniform_row("csqa", {**CSQA, "question": text, **choices("AB", [text, text])})
    assert row.prompt == f"Q: {text}\nAnswer Choices:\n(a) {text}\n(b) {text}\nA: The answer is ("
    row = uniform_row("boolq", {**BOOLQ, "passage": text})
    assert row.prompt[row.shorten_start : row.shorten_end] == text
    assert uniform_row("alpaca", {**ALPACA, "output": text}).response == text


def passage_prompt(text: str) -> dict:
    return {"candidates": ["Yes", "No"], "shorten": "passage", "response": "{{ answer }}"} | {
        "text": text
    }


def test_an_optional_passage_may_be_absent():
    """Then there is nothing to shorten, and the template sees that."""
    prompt = passage_prompt("{% if passage %}P: {{ passage }}\n{% endif %}Q: {{ question }}\n")
    changes = {"prompt": prompt, "fields": {"question": "question", "passage": "passage?"}}
    row = uniform_row("boolq", {**BOOLQ, "passage": None}, **changes)
    assert (row.prompt, row.shorten_start, row.shorten_end) == ("Q: is the sky blue\n", -1, -1)
    row = uniform_row("boolq", {**BOOLQ, "passage": "Blue."}, **changes)
    assert row.prompt == "P: Blue.\nQ: is the sky blue\n"
    assert (row.shorten_start, row.shorten_end) == (3, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ passage }} {{ passage }} {{ question }}", "passage, which may be shortened, must st"),
        ("{{ question }}", "passage, which may be shortened, must stand in it once and unchanged"),
        ("{{ passage | upper }} {{ question }}", "must stand in it once and unchanged"),
        ("{{ passage }} {{ question.first }}", "'str object' has no attribute 'first'"),
        ("{{ passage }} {{ question + 1 }}", "prompt of boolq: "),
        ("{{ passage }} {{ 1 / 0 }}", "prompt of boolq: text: division by zero"),
        ("{{ passage }} {{ question.__class__.__mro__ }}", "is unsafe"),
        ("{{ passage }} {{ question|dictsort }}", "'str' object has no attribute 'items'"),
        ("{{ passage }} {% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deeply, or"),
        ("{{ passage }} {{ 'x' * 10**18 }}", "prompt of boolq: text: "),
        ("{{ passage }} {{ '{name}'.format(question) }}", "KeyError('name')"),
        ("{{ passage }} {{ '{1}'.format(question) }}", "tuple index out of range"),
        ("{{ passage }} {{ question.encode('foo') }}", "unknown encoding: foo"),
        ("{{ passage }} {{ question.strip }}", "not text or a number: add its ()"),
        ("{{ passage }} {{ question.split() }}", "text: it prints a list, not text or a number"),
        ("{{ passage }} {{ question | map('upper') }}", "it prints generator, not text or a n"),
        ("{{ passage }} {{ [question] }}", "it prints a list, not text or a number"),
        ("{{ passage }} {{ none }}", "it prints null, not text or a number"),
        ("{{ passage }} {{ self }}", "it prints TemplateReference, not text or a number"),
        ("{{ passage }} {% macro f() %}{% endmacro %}{{ f }}", "it prints Macro, not text or a"),
    ],
)
def test_a_template_that_cannot_be_filled_is_one_line_with_the_row(text, message):
    with pytest.raises(UserError) as caught:
        uniform_row("boolq", BOOLQ, "boolq, split train, row 17", prompt=passage_prompt(text))
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert "boolq, split train, row 17: correct the template" in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "raw", "message"),
    [
        ("csqa", {k: v for k, v in CSQA.items() if k != "question"}, "no column question"),
        ("csqa", {**CSQA, "question": " "}, "empty question"),
        ("csqa", {**CSQA, "question": None}, "question is null, not text"),
        ("csqa", {**CSQA, "answerKey": ""}, "no answer"),
        ("csqa", {**CSQA, "answerKey": "F"}, "answer 'F' is not one of A, B, C, D, E"),
        ("csqa", {**CSQA, "question": "\u200b\u2060"}, "empty question"),
        ("csqa", {**CSQA, "answerKey": None}, "no answer (unlabelled row)"),
        ("csqa", {**CSQA, **choices("AACDE", list("vwxyz"))}, "labels A, A, C, D, E"),
        ("csqa", {**CSQA, **choices("ABCD", list("vwxyz"))}, "5 choices, but choices.label is"),
        ("csqa", {**CSQA, **choices("ABCDE", list("vwxy"))}, "4 choices, but choices.label is"),
        ("csqa", {**CSQA, "choices": {"label": None, "text": list("vwxyz")}}, "label is null"),
        ("csqa", {**CSQA, **choices(["A", None], list("vw"))}, "choices.label is A, null"),
        ("csqa", {**CSQA, **choices("ABCDE", ["v", "w", "x", "y", ""])}, "empty choice 5"),
        ("csqa", {**CSQA, **choices("AB", ["v", None])}, "choice 2 is null, not text"),
        ("csqa", {**CSQA, **choices("A", ["v"])}, "1 choices"),
        ("csqa", {**CSQA, "choices": None}, "choices.text is null, not a list"),
        ("csqa", {**CSQA, "choices": ["a"]}, "no text at choices.text"),
        ("csqa", {**CSQA, "choices": {"label": ["A"]}}, "choices.text is null, not a list"),
        ("csqa", {**CSQA, **choices(map(str, range(27)), ["v"] * 27)}, "27 choices"),
        ("obqa", {**OBQA, "answerKey": "E"}, "answer 'E' is not one of A, B, C, D"),
        ("boolq", {**BOOLQ, "answer": None}, "no answer (unlabelled row)"),
        ("boolq", {**BOOLQ, "answer": 1}, "answer 1 is not one of true, false"),
        ("boolq", {**BOOLQ, "passage": ""}, "empty passage"),
        ("alpaca", {**ALPACA, "instruction": ""}, "empty instruction"),
        ("alpaca", {**ALPACA, "output": 3.5}, "output is float, not text"),
        ("alpaca", {"instruction": "x", "output": "y"}, "no column input"),
        ("movie", {"text": "so so", "label": -1}, "no answer (unlabelled row)"),
        ("movie", {"text": "so so", "label": 2}, "answer 2 is not one of 0, 1"),
        ("movie", {"text": "so so", "label": "positive"}, "answer 'positive' is not one of 0, 1"),
    ],
)
def test_unusable_rows_are_one_line_with_their_place(dataset, raw, message):
    with pytest.raises(UserError) as caught:
        uniform_row(dataset, raw, f"{dataset}, split train, row 17")
    text = str(caught.value)
    assert message in text
    assert f"{dataset}, split train, row 17: " in text
    assert "\n" not in text


def test_what_templates_may_print():
    """Text, numbers, what methods give, the loop's and macros' texts; the response likewise."""
    text = (
        "{{ passage }}{% macro f(a) %}<{{ a }}>{% endmacro %}{% for x in 'ab' %}{{ loop.index }}"
        "{{ loop.cycle('y', 'z') }}{% endfor %}{{ f(question.strip().title()) }}{{ 1.5 }}"
        "{{ 2 > 1 }}"
        "{{ '{}'.format(question | length) }}{{ question.split() | join('-') }}{{ question | e }}"
    )
    row = uniform_row("boolq", BOOLQ, prompt=passage_prompt(text))
    end = "1y2z<Is The Sky Blue>1.5True15is-the-sky-blueis the sky blue"
    assert row.prompt == BOOLQ["passage"] + end
    prompt = passage_prompt(text) | {"response": "{{ answer.lower }}"}
    with pytest.raises(UserError, match="of boolq: response: it prints .*: add its"):
        uniform_row("boolq", BOOLQ, prompt=prompt)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{% for a in q %}" * 30 + "{% endfor %}" * 30, "too many statically nested blocks"),
        ("{% if q %}" * 200 + "{% endif %}" * 200, "too many levels of indentation"),
        ("{{ " + "(" * 3000 + "q" + ")" * 3000 + " }}", "nested too deeply, or without an end"),
        ("{% if %}", "Expected an expression"),
    ],
)
@pytest.mark.parametrize("part", ["text", "response"])
def test_a_template_that_does_not_compile_is_one_line(part, text, said):
    prompt = {"text": "{{ q }}", "response": "{{ q }}", part: text}
    with pytest.raises(UserError) as caught:
        Prompt({"fields": {"q": "q"}, "prompt": prompt}, "mine")
    assert str(caught.value).startswith(f"prompt of mine: {part}: {said}")
    assert str(caught.value).endswith(": correct the template") and "\n" not in str(caught.value)
