"""The configuration's datasets: every mistake is one line that names the key."""

from datetime import date

import pytest

from first_distill.config.datasets import entry_for, used
from first_distill.config.load import load, own_files, validated
from first_distill.errors import UserError
from tests.engineering.test_config import PAPER, SMOKE, TINY, changed, refused
from tests.engineering.test_config_prompts import ALPACA, BOOLQ, CSQA, OBQA, TEXT, prompt
from tests.system.faults.mutations import merged

ALL = dict.fromkeys(("train", "validation", "test"), "train")
NEEDED = "needs one of train validation test, or train validation, or train, or test"
MISTAKES = [
    # Entries.
    ("datasets", {}, "datasets: {}: Dictionary should have at least 1 item"),
    ("datasets.Mine", {}, "datasets: name 'Mine': names have the form "),
    (
        "datasets.none",
        {"splits": {"test": "test"}, "fields": {}, "prompt": TEXT[8:]},
        "none: reser",
    ),
    (
        f"{CSQA}.fieldz",
        {"question": "question"},
        "datasets.csqa: unknown key 'fieldz': did you mean 'fields'?",
    ),
    (f"{CSQA}.repo", "csqa", "datasets.csqa.repo: 'csqa': String should match"),
    (f"{CSQA}.revision", "main", "csqa.revision: 'main': String should match"),
    (
        f"{CSQA}.path",
        "mine.csv",
        "csqa.path: has no effect beside repo tau/commonsense_qa; ",
    ),
    (f"{CSQA}.repo", None, "datasets.csqa.revision: has no effect without repo"),
    ("datasets.pretraining.name", "main", "datasets.pretraining.name: has no effect without repo"),
    ("datasets.pretraining.mirror", "a/b", "datasets.pretraining.mirror: has no effect without re"),
    # Splits and rows.
    (f"{CSQA}.splits", {}, f"datasets.csqa.splits: has none; {NEEDED}"),
    (f"{CSQA}.splits", {"validation": "a", "test": "b"}, f"splits: has validation test; {NEEDED}"),
    (
        f"{CSQA}.splits",
        {"train": "a", "test": "b"},
        f"datasets.csqa.splits: has train test; {NEEDED}",
    ),
    (
        f"{CSQA}.splits.dev",
        "validation",
        "csqa.splits: unknown key 'dev': one of train, validation",
    ),
    (f"{CSQA}.splits", ALL, "datasets.csqa: missing key test_share: test is a part"),
    (f"{CSQA}.test_share", 0.2, "csqa.test_share: has no effect where test has its own official"),
    (f"{OBQA}.validation_share", 0.2, "obqa.validation_share: has no effect where validation has"),
    (f"{CSQA}.validation_share", 1, "csqa.validation_share: 1: Input should be less than 1"),
    (
        f"{CSQA}.rows",
        {"train": 0},
        "csqa.rows.train: 0: Input should be greater than or equal to 1",
    ),
    (f"{ALPACA}.rows", {"test": 5}, "alpaca.rows.test: datasets.alpaca has no such split"),
    (f"{CSQA}.where", {"topic": 1.5}, "csqa.where.topic: 1.5: should be text, a whole number, tr"),
    (
        f"{CSQA}.where",
        {"topic": None},
        "None: should be text, a whole number, true or false: quote",
    ),
    (f"{CSQA}.where", {"topic": ["x", None]}, """None]: should be text, a whole number, true or"""),
    (f"{CSQA}.where", {"topic": date(2026, 1, 1)}, 'quote what is text, "" is an empty cell: see'),
    (f"{CSQA}.duplicates", "keep", "csqa.duplicates: 'keep': Input should be 'refuse' or 'drop'"),
    # The mapping.
    (f"{CSQA}.fields", None, "datasets.csqa: missing key fields"),
    (f"{CSQA}.fields.Topic", "topic", "datasets.csqa.fields: name 'Topic': names have the form"),
    (f"{CSQA}.fields.choices", "x", "datasets.csqa.fields.choices: reserved name; choose another"),
    (f"{BOOLQ}.fields.answer", "x", "datasets.boolq.fields.answer: reserved name; choose another"),
    (f"{CSQA}.choices", None, "datasets.csqa: missing key choices: its prompt has letters"),
    (f"{CSQA}.choices", ["a"], "csqa.choices: ['a']: List should have at least 2 items"),
    (f"{CSQA}.choices", ["a", "a"], "csqa.choices: ['a', 'a']: should not list an entry twice"),
    (f"{CSQA}.answer", None, "datasets.csqa: missing key answer: its prompt has candidates"),
    (
        f"{ALPACA}.answer",
        "x",
        "datasets.alpaca.answer: has no effect: its prompt has no candidates",
    ),
    (f"{ALPACA}.choices", "x", "datasets.alpaca.choices: has no effect: its prompt has no cand"),
    (f"{ALPACA}.labels", [0, 1], "datasets.alpaca.labels: has no effect: its prompt has no cand"),
    (f"{BOOLQ}.labels", [1, 2, 3], "boolq.labels: 3 labels for 2 candidates of its prompt"),
    (f"{CSQA}.labels", ["A", "B", "A"], "csqa.labels: ['A', 'B', 'A']: should not list an entry"),
    (f"{CSQA}.labels", ["A"], "csqa.labels: ['A']: Value should have at least 2 items"),
    (f"{CSQA}.labels", [0.5, 1], "csqa.labels.0: 0.5: should be text, a whole number"),
    # What scales make of them.
    (f"{ALPACA}", None, "settings.out_of_domain.csqa: 'alpaca' is not in datasets: one of csqa"),
    (
        f"{CSQA}.splits",
        {"train": "train", "validation": "train"},
        "datasets.csqa has no split test",
    ),
    (
        f"{ALPACA}.splits",
        {"train": "train"},
        "settings: alpaca: datasets.alpaca has no split valid",
    ),
    (f"{TINY}.settings.in_domain.boolq", "csqa", "boolq: trained on csqa is not in_domain"),
    (
        f"{TINY}.settings.out_of_domain.boolq",
        "boolq",
        "boolq: trained on boolq is not out_of_domain",
    ),
    (
        f"{TINY}.settings.mine",
        {"csqa": "csqa"},
        "mine.csqa: trained on csqa: the same column twice",
    ),
    (f"{TINY}.settings.mine", {}, "settings.mine: {}: Dictionary should have at least 1 item"),
    (
        f"{PAPER}.settings.mine",
        {"alpaca": "csqa"},
        "settings: alpaca: datasets.alpaca has no split te",
    ),
    (
        f"{PAPER}.settings.mine",
        {"pretraining": "csqa"},
        "pretraining: datasets.pretraining has no s",
    ),
    (
        f"{TINY}.settings.mine",
        {"movie": "movie"},
        "tiny.settings: movie: is not generated by data.w",
    ),
    (f"{TINY}.data.rows.csq", {"train": 5}, "data.rows.csq: not in datasets: did you mean 'csqa'?"),
    (f"{TINY}.data.rows.alpaca", {"test": 5}, "data.rows.alpaca.test: datasets.alpaca has no such"),
    (
        f"{TINY}.teacher.training.per_corpus",
        {"alpca": {"epochs": 1}},
        "per_corpus.alpca: not in data",
    ),
    (f"{SMOKE}.tokenizers.bpe.text", ["obq"], "bpe.text.0: 'obq' is not in datasets: did you mean"),
    (f"{SMOKE}.tokenizers.bpe.text", ["pretraining"], "smoke.data: pretraining: datasets.pretrain"),
    (f"{PAPER}.data.source", "hub", "scales.paper.data: unknown key 'source': one of split_seed"),
    (
        f"{PAPER}.data.datasets",
        {},
        "scales.paper.data: unknown key 'datasets': one of split_seed, v",
    ),
]


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES, ids=[repr(m[2]) for m in MISTAKES])
def test_mistakes_name_their_key(path, value, said):
    refused(path, value, said)


def test_free_text_is_no_benchmark():
    config = changed(f"{ALPACA}.splits.test", "test")
    config["scales"]["paper"]["settings"]["mine"] = {"alpaca": "csqa"}
    with pytest.raises(UserError, match="alpaca: datasets.alpaca is no benchmark: its prompt has"):
        validated(config)


MINE = {"splits": {"train": "train"}, "fields": {"text": "q"}, "prompt": "sentiment"}
MINE |= {"answer": "a"}
ALLOWED = [
    (f"{CSQA}.splits", {"test": "validation", "train": "train", "validation": "dev"}),
    (f"{CSQA}.validation_share", 0.2),
    ("datasets.mine", {**MINE, "path": "q", "name": "easy"}),
    (f"{CSQA}.labels", [1, 2, 3, 4, 5]),
    (f"{CSQA}.choices", ["a", "b", "c"]),
    (f"{BOOLQ}.labels", ["no", "yes"]),
    (f"{CSQA}.prompt", prompt(candidates=["a", "b"])),
    (f"{ALPACA}.where", {"input": ["", "x"], "level": 3, "checked": True}),
    (f"{TINY}.settings.mine", {"csqa": "boolq", "boolq": "alpaca"}),
    (f"{TINY}.settings", {"out_of_domain": {"obqa": "csqa"}}),
    (f"{TINY}.figures.benchmark", "obqa"),
    (f"{PAPER}.settings.mine", {"movie": "movie", "csqa": "obqa"}),
    (f"{SMOKE}.tokenizers.bpe.text", ["movie"]),
]


@pytest.mark.parametrize(("path", "value"), ALLOWED, ids=[path for path, _ in ALLOWED])
def test_allowed(path, value):
    config = changed(path, value)
    assert validated(config) == config


def test_an_entry_as_stage_data_gets_it():
    """The scale's rows lie over the entry's, the entry's share over the scale's."""
    config = merged()
    config["datasets"]["csqa"] |= {"rows": {"train": 50, "test": 9}}
    data = {"validation_share": 0.3, "rows": {"csqa": {"train": 40}, "boolq": {"test": 3}}}
    found = entry_for("csqa", config, data)
    assert found["rows"] == {"train": 40, "test": 9} and found["validation_share"] == 0.3
    assert found["prompt"] == config["prompts"]["lower_letters"]
    config["datasets"]["csqa"] |= {"validation_share": 0.2, "prompt": prompt()}
    found = entry_for("csqa", config, data)
    assert found["validation_share"] == 0.2 and found["prompt"] == prompt()
    own = {key: found[key] for key in ("repo", "revision", "splits", "choices", "labels", "answer")}
    assert own.items() <= config["datasets"]["csqa"].items()


def test_what_a_scale_uses():
    scales, three = load(own_files())["scales"], {"train", "validation", "test"}
    corpora = {"csqa": three, "boolq": three, "obqa": {"test"}, "alpaca": {"train", "validation"}}
    assert used(scales["paper"]) == used(scales["smoke"]) == corpora
    assert used(scales["tiny"]) == corpora | {"pretraining": {"train"}}


def test_whole_numbers_are_no_booleans():
    """1.0 is 1, in lists and mappings too."""
    config = merged()
    config["datasets"]["csqa"] |= {"where": {"topic": [1.0, "x"], "level": 0.0}}
    config["datasets"]["boolq"]["labels"] = [1.0, 0.0]
    found = validated(config)["datasets"]
    assert repr(found["csqa"]["where"]) == repr({"topic": [1, "x"], "level": 0})
    assert repr(found["boolq"]["labels"]) == "[1, 0]"
