"""The generated world: draws of the stated distributions, and nothing of a test in pretraining."""

import re
from functools import cache

import numpy as np
import pytest
import yaml
from scipy import special, stats

from first_distill.data.prepare import load
from first_distill.world import build_tokenizer, build_world, pretraining_rows, render
from first_distill.world.exams import quizzes, readings, tasks
from first_distill.world.facts import draw_choices, draw_verdicts
from first_distill.world.words import RELATIONS, VALUES, VERBS
from tests.questions import entry
from tests.system.workflow.copies import REDUCED

WORLD = yaml.safe_load((REDUCED / "tiny.yaml").read_text())["scales"]["tiny"]["data"]["world"]
DATASETS = ("csqa", "boolq", "obqa", "alpaca")


@cache
def world():
    return build_world(WORLD)


@cache
def rows(dataset: str) -> dict:
    return render(world(), dataset)


def pair_of(text: str) -> tuple[int, int]:
    """The one entity and the one relation that a question names, as (entity, relation)."""
    words = set(re.findall("[a-z]+", text))
    entities = [i for i, word in enumerate(world().entities) if word in words]
    relations = [i for i, word in enumerate(RELATIONS) if word in words]
    assert (len(entities), len(relations)) == (1, 1), text
    return entities[0], relations[0]


def pairs(pool: np.ndarray) -> set[tuple[int, int]]:
    return set(map(tuple, pool.tolist()))


def test_the_three_pools_share_no_pair():
    pools = [world().train_pairs, world().test_pairs, world().exam_pairs]
    assert [len(p) for p in pools[:2]] == [WORLD["train_pairs"], WORLD["test_pairs"]]
    assert len(set().union(*map(pairs, pools))) == WORLD["entities"] * len(RELATIONS)


@pytest.mark.parametrize(
    ("dataset", "split"), [("csqa", "validation"), ("boolq", "validation"), ("obqa", "test")]
)
def test_test_questions_ask_about_test_pairs_each_once(dataset, split):
    keys = ("question", "question_stem")
    asked = [pair_of(next(row[k] for k in keys if k in row)) for row in rows(dataset)[split]]
    assert len(set(asked)) == len(asked) == WORLD["sizes"][dataset][split]
    assert set(asked) <= pairs(world().test_pairs)
    trained = {
        pair_of(next(row[k] for k in keys if k in row))
        for other, part in rows(dataset).items()
        if other != split
        for row in part
    }
    assert trained <= pairs(world().train_pairs)


@pytest.mark.parametrize("exam", [quizzes, readings, tasks])
def test_exams_ask_about_pairs_that_no_benchmark_and_no_corpus_has(exam):
    found = exam(world(), 400, np.random.default_rng(5))
    # What an entity wants in general is asked without a relation, like a sheet's facts.
    named = [prompt for prompt, _ in found if re.search(rf"\b({'|'.join(RELATIONS)})\b", prompt)]
    assert len(named) >= 150
    assert {pair_of(prompt) for prompt in named} <= pairs(world().exam_pairs)


def test_no_question_of_a_dataset_stands_in_the_pretraining_text():
    """Alpaca-like items without a name may be worded alike; they ask for other draws."""
    pretraining = "\n\n".join(a + b for a, b in pretraining_rows(world(), 4000, 1))
    keys = dict(zip(DATASETS, ("question", "passage", "question_stem", "instruction"), strict=True))
    for dataset, key in keys.items():
        asked = [row[key] for part in rows(dataset).values() for row in part]
        named = [text for text in asked if {*re.findall("[A-Z][a-z]+", text)} & {*world().names}]
        assert len(named) > len(asked) / 2
        assert [question for question in named if question in pretraining] == []


def test_pretraining_text_does_not_depend_on_the_questions():
    """Whatever is asked, and in whatever numbers, the text is the same."""
    sizes = {**WORLD["sizes"], "csqa": {"train": 10, "validation": 5}}
    other = build_world({**WORLD, "sizes": sizes, "letter_share": 0.1})
    assert pretraining_rows(other, 300, 7) == pretraining_rows(world(), 300, 7)
    assert pretraining_rows(world(), 300, 8) != pretraining_rows(world(), 300, 7)


def test_the_forms_of_the_benchmarks_are_among_those_of_the_exams():
    found = [prompt for prompt, _ in quizzes(world(), 400, np.random.default_rng(5))]
    raw = re.compile(r"Q: [^\n]+\nAnswer Choices:\n(\(\w\) \w+\n){4,5}A: The answer is \($")
    assert 5 < sum(bool(raw.match(prompt)) for prompt in found) < 50
    head = entry("boolq")["prompt"]["text"].split("{{")[0]
    found = [prompt for prompt, _ in readings(world(), 400, np.random.default_rng(5))]
    assert 50 < sum(prompt.startswith(head) for prompt in found) < 150


def test_every_word_is_a_token():
    tokenizer = build_tokenizer(world())
    texts = [a + b for a, b in pretraining_rows(world(), 2000, 1)]
    for dataset in DATASETS:
        content, _ = load(dataset, entry(dataset), world_settings=WORLD)
        found = [row for table in content.values() for row in table.to_pylist()]
        texts += [row["prompt"] + row["response"] for row in found]
    assert [t for t in texts if 0 in tokenizer.encode(t, add_special_tokens=False).ids] == []


@pytest.mark.parametrize(("care", "first"), [(1.0, 0.0), (0.4, 1.5)])
def test_an_annotator_draws_from_the_softmax(care, first):
    """Chi-square test of the drawn positions, and of the values of the drawn choices."""
    n, k, entity, relation = 20_000, 5, 3, 2
    where = np.full(n, entity), np.full(n, relation)
    values, gold = draw_choices(world(), *where, k, np.random.default_rng(1), care, first)
    score = care * WORLD["sharpness"] * world().scores[entity, relation][values]
    chance = special.softmax(score + first * (1 - np.arange(k) / (k - 1)), axis=1)
    assert stats.chisquare(np.bincount(gold, minlength=k), chance.sum(axis=0)).pvalue > 1e-3
    for value in range(len(VALUES[0])):
        offered = values == value
        expected, seen = chance[offered].sum(), (values[np.arange(n), gold] == value).sum()
        assert abs(seen - expected) < 4 * np.sqrt((chance * (1 - chance))[offered].sum())


@pytest.mark.parametrize(("care", "yes"), [(1.0, 0.0), (0.4, 1.0)])
def test_a_verdict_is_a_draw_from_the_logistic(care, yes):
    n, claim = 20_000, (3, 2, 1)
    verbs = np.tile([0, len(VERBS) - 2], (n, 1))  # -1 and 0.8
    where = tuple(np.full(n, i) for i in claim)
    seen = draw_verdicts(world(), where, verbs, np.random.default_rng(1), care, yes).sum()
    logit = WORLD["claim_bias"] + WORLD["claim_weight"] * world().scores[claim]
    chance = special.expit(care * (logit + WORLD["verb_weight"] * (-1 + 0.8)) + yes)
    assert stats.binomtest(int(seen), n, chance).pvalue > 1e-3


def test_scores_are_standardised():
    assert abs(world().scores.std() - 1) < 0.05
    share = world().scores.mean(axis=0).var() / world().scores.var()
    assert abs(share - WORLD["popularity"]) < 0.1


def test_too_few_pairs():
    with pytest.raises(ValueError, match="400, 80: must be above 0, and below 480 together"):
        build_world({**WORLD, "train_pairs": 400, "test_pairs": 80})
