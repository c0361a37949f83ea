"""Text of the world for pretraining: rows of a prompt and a response that holds the information.

memo    a lettered list, an entity's pick from it (a draw), the letter of what it likes best and
        that of the value most popular over all entities (teaches to bind letter and choice)
sheet   an entity and one drawn value of several relations (teaches the facts)
report  a claim, two witnesses and a verdict, `true` or `false` (teaches to weigh a passage)
quiz, reading, task    see exams.py (teach the forms of questions)

Facts are draws of their own for every (entity, relation) pair, those of test questions too, and
independent of the draws that are the questions' answers.
"""

import numpy as np

from first_distill.world.exams import quizzes, readings, tasks
from first_distill.world.facts import World, draw_choices, draw_verdicts
from first_distill.world.words import LETTERS, RELATIONS, VALUES, VERBS


def pretraining_rows(world: World, n: int, seed: int) -> list[tuple[str, str]]:
    """Return n rows (prompt, response), in an order that is random but fixed by `seed`.

    The shares come from `world.settings["pretraining"]`.
    """
    rng = np.random.default_rng([world.settings["seed"], 99, seed])
    shares = world.settings["pretraining"]
    kinds = {
        "memo": _memos,
        "sheet": _sheets,
        "report": _reports,
        "quiz": quizzes,
        "reading": readings,
        "task": tasks,
    }
    weights = np.array([shares[kind] for kind in kinds], dtype=float)
    counts = rng.multinomial(n, weights / weights.sum()).tolist()
    rows = []
    for make, count in zip(kinds.values(), counts, strict=True):
        rows += make(world, count, rng)
    return [rows[i] for i in rng.permutation(len(rows))]


def _memos(world: World, n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    popularity = world.scores.mean(axis=0)
    relation = rng.integers(len(RELATIONS), size=n)
    entity = rng.integers(len(world.entities), size=n)
    names = rng.integers(len(world.names), size=(n, 2)).tolist()
    form = rng.integers(4, size=n).tolist()
    size = rng.integers(4, 6, size=n)
    upper = rng.random(n) < 0.5
    rows = []
    for k in (4, 5):
        index = np.flatnonzero(size == k)
        values, gold = draw_choices(world, entity[index], relation[index], k, rng)
        known = popularity[relation[index][:, None], values]
        own = world.scores[entity[index][:, None], relation[index][:, None], values]
        picks = np.stack([gold, own.argmax(axis=1), known.argmax(axis=1)], axis=1)
        for i, offered, got in zip(index.tolist(), values.tolist(), picks.tolist(), strict=True):
            letters = LETTERS.upper() if upper[i] else LETTERS
            who, kind = world.entities[entity[i]], RELATIONS[relation[i]]
            first, second = (world.names[m] for m in names[i])
            lines = [
                f"{letter} - {VALUES[relation[i]][v]}"
                for letter, v in zip(letters, offered, strict=False)
            ]
            head = f"{first} {second} {kind} of a {who}"
            if form[i] % 2:
                head = f"{kind} does a {who} {first} {second}"
            # Half of the memos repeat the entity before the pick: easier to learn from.
            last = f"{who} pick" if form[i] < 2 else "pick"
            prompt = "\n".join([f"memo {head}", *lines, last])
            pick, best, most = (letters[j] for j in got)
            rows.append((prompt, f" {pick} likes best {best} most {most}"))
    return rows


def _sheets(world: World, n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    facts = world.settings["pretraining"]["facts"]
    entity = rng.integers(len(world.entities), size=n)
    relations = rng.random((n, len(RELATIONS))).argsort(axis=1)[:, :facts]
    width = len(VALUES[0])
    values = []
    for j in range(facts):
        offered, got = draw_choices(world, entity, relations[:, j], width, rng)
        values.append(offered[np.arange(n), got])
    rows = []
    for who, kinds, drawn in zip(
        entity.tolist(), relations.tolist(), np.stack(values, axis=1).tolist(), strict=True
    ):
        stated = zip(kinds, drawn, strict=True)
        facts_said = [f"{RELATIONS[r]} {VALUES[r][v]}" for r, v in stated]
        rows.append((f"sheet {world.entities[who]} :", " " + " ".join(facts_said)))
    return rows


def _reports(world: World, n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    entity = rng.integers(len(world.entities), size=n)
    relation = rng.integers(len(RELATIONS), size=n)
    value = rng.integers(len(VALUES[0]), size=n)
    verbs = rng.integers(len(VERBS), size=(n, 2))
    names = rng.integers(len(world.names), size=(n, 2)).tolist()
    holds = draw_verdicts(world, (entity, relation, value), verbs, rng)
    rows = []
    for i in range(n):
        kind = relation[i]
        witnesses = zip(names[i], verbs[i], strict=True)
        said = " ".join(f"{world.names[m]} {VERBS[v]}" for m, v in witnesses)
        prompt = (
            f"report {world.entities[entity[i]]} {RELATIONS[kind]} "
            f"{VALUES[kind][value[i]]} - {said} verdict"
        )
        rows.append((prompt, " true" if holds[i] else " false"))
    return rows
