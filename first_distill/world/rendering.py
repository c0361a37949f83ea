"""Write the world in the official schemas of the four datasets, under their official split names.

Each question has two rare names that are independent of the answer, like the incidental details of
real questions: a model can memorise them but not learn from them.
"""

from typing import Any

import numpy as np

from first_distill.world.facts import World, draw_choices, draw_verdicts
from first_distill.world.words import EVENTS, RELATIONS, VALUES, VERBS

# A random stream per (dataset, split): the size of one does not change another.
_STREAMS = {
    "csqa": {"train": 11, "validation": 12},
    "boolq": {"train": 21, "validation": 22},
    "obqa": {"train": 31, "validation": 32, "test": 33},
    "alpaca": {"train": 41},
}
# The splits that end up as test sets: only these use the world's test pairs.
_TESTS = {"csqa": "validation", "boolq": "validation", "obqa": "test"}

_QUESTIONS = {
    "csqa": (
        "What {r} does a {e} want when {n} {x} {m}?",
        "When {n} {x} {m}, what {r} does a {e} want?",
        "{n} {x} {m}. What {r} does a {e} want?",
    ),
    "obqa": (
        "When {n} {x} {m}, the {r} of a {e} is the",
        "{n} {x} {m}. What {r} does a {e} use?",
        "If {n} {x} {m} then the {r} of a {e} is the",
    ),
}
_CHOOSE = (
    "Choose the {r} of a {e} when {n} {x} {m}.",
    "{n} {x} {m}. Which {r} does a {e} want?",
    "Select the {r} that a {e} wants.",
)
_LIST = (
    "Name what a {e} likes best when {n} {x} {m}.",
    "{n} {x} {m}. Describe a {e} in a few words.",
)


def render(world: World, dataset: str) -> dict[str, list[dict[str, Any]]]:
    """Return {official split name: rows} of `dataset` (csqa, boolq, obqa, alpaca).

    Sizes are in `world.settings["sizes"]`. Raises ValueError if a split has more rows than there
    are (entity, relation) pairs of its kind.
    """
    out: dict[str, list[dict[str, Any]]] = {}
    used = 0  # the training pairs that earlier splits of this dataset have taken
    for split, count in world.settings["sizes"][dataset].items():
        rng = np.random.default_rng([world.settings["seed"], _STREAMS[dataset][split]])
        is_test = split == _TESTS.get(dataset)
        pool = world.test_pairs if is_test else world.train_pairs[used:]
        if count > len(pool):
            raise ValueError(f"{dataset}/{split}: {count} rows: only {len(pool)} pairs are left")
        used += 0 if is_test else count
        pairs = pool[:count][rng.permutation(count)]
        if dataset in _QUESTIONS:
            out[split] = _choice_rows(world, dataset, split, pairs, rng)
        else:
            out[split] = {"boolq": _boolq, "alpaca": _alpaca}[dataset](world, pairs, rng)
    return out


def details(world: World, pairs: np.ndarray, rng: np.random.Generator) -> list[dict[str, str]]:
    """For each (entity, relation) pair the words of a template: entity, relation, names, event."""
    drawn = rng.integers(len(world.names), size=(len(pairs), 2)).tolist()
    events = rng.integers(len(EVENTS), size=len(pairs)).tolist()
    names = world.names
    return [
        {"e": world.entities[e], "r": RELATIONS[r], "n": names[n], "m": names[m], "x": EVENTS[x]}
        for (e, r), (n, m), x in zip(pairs.tolist(), drawn, events, strict=True)
    ]


def fill(templates: tuple[str, ...], words: dict[str, str], rng: np.random.Generator) -> str:
    """One of the templates, drawn at random, filled with the words."""
    return templates[int(rng.integers(len(templates)))].format(**words)


def _choices(
    world: World, pairs: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[list[list[str]], list[int]]:
    values, gold = draw_choices(world, pairs[:, 0], pairs[:, 1], k, rng)
    texts = [
        [VALUES[relation][value] for value in row]
        for relation, row in zip(pairs[:, 1].tolist(), values.tolist(), strict=True)
    ]
    return texts, gold.tolist()


def _choice_rows(
    world: World, dataset: str, split: str, pairs: np.ndarray, rng: np.random.Generator
) -> list[dict]:
    column, letters = {"csqa": ("question", "ABCDE"), "obqa": ("question_stem", "ABCD")}[dataset]
    words = details(world, pairs, rng)
    texts, gold = _choices(world, pairs, len(letters), rng)
    return [
        {
            "id": f"{dataset}-{split}-{i:05d}",
            column: fill(_QUESTIONS[dataset], words[i], rng),
            "choices": {"label": list(letters), "text": texts[i]},
            "answerKey": letters[gold[i]],
        }
        for i in range(len(pairs))
    ]


def _boolq(world: World, pairs: np.ndarray, rng: np.random.Generator) -> list[dict]:
    words = details(world, pairs, rng)
    count = len(pairs)
    value = rng.integers(len(VALUES[0]), size=count)
    verbs = rng.integers(len(VERBS), size=(count, 2))
    answer = draw_verdicts(world, (*pairs.T, value), verbs, rng)
    rows = []
    for i, w in enumerate(words):
        claim = VALUES[pairs[i, 1]][value[i]]
        first, second = (VERBS[v] for v in verbs[i])
        question = f"is {claim} a usual {w['r']} of the {w['e']}"
        passage = (
            f"{w['n']} {first} that {claim} is {w['r']} for the {w['e']}. {w['m']} {second} it."
        )
        rows.append({"question": question, "passage": passage, "answer": bool(answer[i])})
    return rows


def _alpaca(world: World, pairs: np.ndarray, rng: np.random.Generator) -> list[dict]:
    words = details(world, pairs, rng)
    kind = rng.random(len(pairs))
    share = world.settings["letter_share"]
    five, four = _choices(world, pairs, 5, rng), _choices(world, pairs, 4, rng)
    # Free answers: one draw among all values of each of three random relations.
    free = rng.random((len(pairs), len(RELATIONS))).argsort(axis=1)[:, :3]
    drawn = [draw_choices(world, pairs[:, 0], free[:, j], len(VALUES[0]), rng) for j in range(3)]
    rows = []
    for i, w in enumerate(words):
        given = ""
        if kind[i] < share:
            letters, (texts, gold) = ("abcde", five) if kind[i] < share / 2 else ("ABCD", four)
            instruction = fill(_CHOOSE, w, rng)
            given = "\n".join(f"({x}) {t}" for x, t in zip(letters, texts[i], strict=True))
            output = f"The answer is ({letters[gold[i]]})."
        else:
            instruction = fill(_LIST, w, rng)
            output = " ".join(VALUES[free[i, j]][drawn[j][0][i, drawn[j][1][i]]] for j in range(3))
        rows.append({"instruction": instruction, "input": given, "output": output})
    return rows
