"""The configuration's prompts, by name and in an entry: every mistake is one line with its key."""

import pytest

from tests.engineering.test_config import refused

CSQA, BOOLQ, OBQA, ALPACA = (f"datasets.{name}" for name in ("csqa", "boolq", "obqa", "alpaca"))
WORDS, TEXT = "prompts.passage_yes_no", "prompts.instruction"


def prompt(**changes) -> dict:
    """Templates that stand in an entry."""
    return {"candidates": "upper", "text": "{{ question }}", "response": "{{ answer }}", **changes}


MISTAKES = [
    (
        f"{CSQA}.prompt",
        "lower_leters",
        "csqa.prompt: 'lower_leters' is not in prompts: did you mean",
    ),
    (
        f"{CSQA}.prompt",
        5,
        "datasets.csqa.prompt: 5: Input should be a valid string: Name of one of",
    ),
    (f"{CSQA}.prompt", {"text": "x"}, "datasets.csqa.prompt: missing key response"),
    (f"{CSQA}.prompt", prompt(texts="x"), "csqa.prompt: unknown key 'texts': did you mean 'text'?"),
    (
        f"{CSQA}.prompt",
        prompt(text="{{ a"),
        "csqa.prompt.text: '{{ a': template, line 1: unexpected",
    ),
    (
        f"{CSQA}.prompt",
        prompt(text="{{ q }}"),
        "csqa.prompt: its text has the unknown field 'q': o",
    ),
    (f"{CSQA}.prompt", prompt(candidates=["Yes"]), "prompt.candidates: ['Yes']: Value should have"),
    (f"{CSQA}.prompt", prompt(candidates=[True, False]), "prompt.candidates.0: True: Input should"),
    (f"{WORDS}.candidates", [True, False], "a valid string: quote it: YAML takes Yes and No for"),
    (f"{WORDS}.candidates", ["Yes", "Yes"], "candidates: ['Yes', 'Yes']: should not list an entry"),
    (f"{WORDS}.candidates", ["Yes", ""], "candidates.1: '': String should have at least 1 char"),
    (f"{WORDS}.candidates", "middle", "candidates: 'middle': Input should be 'lower' or 'upper'"),
    (f"{WORDS}.shorten", "pasage", "datasets.boolq.prompt.shorten: 'pasage' is not in fields: did"),
    (
        f"{CSQA}.prompt",
        prompt(shorten="choices"),
        "csqa.prompt.shorten: 'choices' is not in fields: one of question: see",
    ),
    (f"{WORDS}.text", None, "prompts.passage_yes_no: missing key text"),
    (
        f"{WORDS}.text",
        "a\n{% if b %}",
        "text: 'a\\n{% if b %}': template, line 2: Unexpected end of",
    ),
    (
        f"{WORDS}.text",
        "{% for a in passage %}" * 30 + "{% endfor %}" * 30,
        "template: too many statically nested blocks: Template of the prompt",
    ),
    (
        f"{WORDS}.text",
        "{% if passage %}" * 200 + "{% endif %}" * 200,
        "template: too many levels of indentation: Template of the prompt",
    ),
    (
        f"{WORDS}.response",
        "{{ " + "(" * 3000 + "answer" + ")" * 3000 + " }}",
        "passage_yes_no.response: '{{ (((((((((...)))))))))) }}': template: nested too deeply, or",
    ),
    (f"{WORDS}.text", "{{ passage | cut }}", "template, line 1: No filter named 'cut'"),
    (
        f"{WORDS}.text",
        "{{ pasage }}",
        "text has the unknown field 'pasage': one of passage, question",
    ),
    (
        f"{WORDS}.text",
        "{{ choices }}",
        "text has the unknown field 'choices': one of passage, quest",
    ),
    (
        f"{WORDS}.text",
        "{{ answer }}",
        "text has the unknown field 'answer': one of passage, question",
    ),
    (
        f"{WORDS}.response",
        "{{ a }}",
        "response has the unknown field 'a': one of answer, passage, qu",
    ),
    (
        f"{TEXT}.response",
        "{{ answer }}",
        "alpaca.prompt: its response has the unknown field 'answe",
    ),
    (
        f"{TEXT}.text",
        "x" * 30_000,
        "instruction.text: 'xxxxxxxxxxxx...xxxxxxxxxxxxx': String should",
    ),
]


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES, ids=[repr(m[2]) for m in MISTAKES])
def test_mistakes_name_their_key(path, value, said):
    refused(path, value, said)
