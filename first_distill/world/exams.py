"""Exams for pretraining: questions in the forms of the benchmarks and in others, on other pairs.

A base model from the web has met lettered questions, passages with yes or no, and instructions.
These are their counterparts. Their forms vary, and the benchmarks' own are among them. No benchmark
and no corpus asks about their (entity, relation) pairs. Their answers are those of careless
annotators, who weigh plausibility less and favour the first choices and Yes. So a base knows the
forms, and tuning has something left to teach.
"""

import numpy as np

from first_distill.world.facts import World, draw_choices, draw_verdicts
from first_distill.world.rendering import details, fill
from first_distill.world.words import LETTERS, RELATIONS, VALUES, VERBS

_ASK = (
    "What {r} does a {e} want when {n} {x} {m}?",
    "{n} {x} {m}. Which {r} does a {e} use?",
    "When {n} {x} {m} then the {r} of a {e} is the",
    "Which {r} does a {e} want?",
)
_CHOOSE = (
    "Choose the {r} of a {e} when {n} {x} {m}.",
    "{n} {x} {m}. What {r} does a {e} want?",
    "Select a {r} for the {e}.",
    "Name the {r} that a {e} wants when {n} {x} {m}.",
)
_LIST = (
    "Name what a {e} likes best.",
    "{n} {x} {m}. Describe a {e}.",
    "What does a {e} want when {n} {x} {m}?",
)
_SAID = (
    "{n} {s} that {v} is {r} for the {e}. {m} {t} it.",
    "{n} {s} that {v} is the {r} of the {e}. {m} {t} that.",
)
_WHETHER = (
    "is {v} a usual {r} of the {e}?",
    "does a {e} want {v}?",
    "is {v} {r} for the {e}?",
)
_OPENERS = ("Q:", "Quiz:", "Question:")
_HEADERS = ("Answer Choices:", "Options:", "Choose:")
_ENDINGS = ("A: The answer is (", "Answer: (", "A: (", "The answer is (")
_REPLIES = ("The answer is ({}).", "It is ({}).", "({})", "Answer: ({}).")
_TASK = "Below is an instruction that describes a task"
_COMPLETE = "Write a response that appropriately completes the request.\n\n"
_WITH_INPUT = f"{_TASK}, paired with an input that provides further context. {_COMPLETE}"
_WITHOUT = f"{_TASK}. {_COMPLETE}"


def quizzes(world: World, n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Lettered questions that end where the letter has to follow."""
    words, _, texts, gold = _lettered(world, n, rng)
    rows = []
    for w, choices, answer in zip(words, texts, gold, strict=True):
        letters, listed = _listed(choices, rng)
        opener, header, ending = (_pick(part, rng) for part in (_OPENERS, _HEADERS, _ENDINGS))
        prompt = f"{opener} {fill(_ASK, w, rng)}\n{header}\n{listed}\n{ending}"
        rows.append((prompt, f"{letters[answer]})."))
    return rows


def tasks(world: World, n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Instructions: half with lettered choices, half asking what an entity wants in general."""
    words, pairs, texts, gold = _lettered(world, n, rng)
    rows = []
    for i, w in enumerate(words):
        if rng.random() < 0.5:
            letters, listed = _listed(texts[i], rng)
            prompt = f"### Instruction:\n{fill(_CHOOSE, w, rng)}\n\n### Input:\n{listed}"
            head, response = _WITH_INPUT, _pick(_REPLIES, rng).format(letters[gold[i]])
        else:
            relation = rng.permutation(len(RELATIONS))[:3]
            entity = np.full(3, pairs[i, 0])
            offered, got = draw_choices(world, entity, relation, len(VALUES[0]), rng)
            drawn = zip(relation, offered, got, strict=True)
            response = " ".join(VALUES[r][v[g]] for r, v, g in drawn)
            head, prompt = _WITHOUT, f"### Instruction:\n{fill(_LIST, w, rng)}"
        rows.append((f"{_sometimes(head, rng)}{prompt}\n\n### Response:\n", response))
    return rows


def readings(world: World, n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Passages with a question that is answered by Yes or No."""
    settings = world.settings["pretraining"]
    pairs = _pairs(world, n, rng)
    words = details(world, pairs, rng)
    value = rng.integers(len(VALUES[0]), size=n)
    verbs = rng.integers(len(VERBS), size=(n, 2))
    careless = settings["care"], settings["favour_yes"]
    holds = draw_verdicts(world, (*pairs.T, value), verbs, rng, *careless)
    rows = []
    for i, w in enumerate(words):
        w |= {"v": VALUES[pairs[i, 1]][value[i]], "s": VERBS[verbs[i, 0]], "t": VERBS[verbs[i, 1]]}
        said, asked = fill(_SAID, w, rng), fill(_WHETHER, w, rng)
        if rng.random() < 0.5:
            prompt = (
                f"### Instruction:\nRead the input passage and answer the question: {asked} "
                f"Your answer should be Yes or No.\n\n### Input:\n{said}\n\n"
            )
            prompt = _sometimes(_WITHOUT, rng) + prompt
        else:
            prompt = f"Text: {said}\nQuestion: {asked}\n"
        rows.append((f"{prompt}### Response:\n", "Yes" if holds[i] else "No"))
    return rows


def _pairs(world: World, n: int, rng: np.random.Generator) -> np.ndarray:
    return world.exam_pairs[rng.integers(len(world.exam_pairs), size=n)]


def _lettered(world: World, n: int, rng: np.random.Generator):
    """(words of each template, pairs (n, 2), choices' texts, gold positions), 4 or 5 choices."""
    settings = world.settings["pretraining"]
    careless = settings["care"], settings["favour_first"]
    pairs = _pairs(world, n, rng)
    size = rng.integers(4, 6, size=n)
    texts: list[list[str]] = [[]] * n
    gold = np.zeros(n, int)
    for k in (4, 5):
        index = np.flatnonzero(size == k)
        values, gold[index] = draw_choices(world, *pairs[index].T, k, rng, *careless)
        for i, row in zip(index.tolist(), values.tolist(), strict=True):
            texts[i] = [VALUES[pairs[i, 1]][v] for v in row]
    return details(world, pairs, rng), pairs, texts, gold.tolist()


def _listed(choices: list[str], rng: np.random.Generator) -> tuple[str, str]:
    """Lower- or upper-case letters, and the choices behind them, a line each."""
    letters = LETTERS if rng.random() < 0.5 else LETTERS.upper()
    lines = [f"({letter}) {text}" for letter, text in zip(letters, choices, strict=False)]
    return letters, "\n".join(lines)


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _sometimes(text: str, rng: np.random.Generator) -> str:
    return text if rng.random() < 0.5 else ""
