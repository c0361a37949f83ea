"""The world: its entities, the plausibility of values, and how an annotator draws an answer.

Plausibility of value v for entity e in relation r (standardised, so that its variance is 1):

    score[e, r, v] = sqrt(popularity) * p[r, v] + sqrt(1 - popularity) * <u[e], w[r, v]>

An annotator's answer among some choices is a draw from softmax(sharpness * score), hence the best
possible accuracy is well below 1 and known exactly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.first.world.words import EVENTS, RELATIONS, VERBS, made_up_words


@dataclass(frozen=True)
class World:
    """The data that the renderers need.

    scores: (entities, relations, values), standardised plausibility.
    train_pairs, test_pairs: (n, 2) disjoint (entity, relation) index pairs. Questions of an
        official training split use the first, test questions the second; within one dataset each
        pair is used at most once, so any later split by rows is disjoint in pairs too.
    verb_strength: (verbs,), how much a witness's verb supports a claim.
    """

    settings: dict[str, Any]
    entities: list[str]
    names: list[str]
    relations: list[str]
    values: list[list[str]]
    verbs: list[str]
    events: list[str]
    scores: np.ndarray
    verb_strength: np.ndarray
    train_pairs: np.ndarray
    test_pairs: np.ndarray


def build_world(settings: dict[str, Any]) -> World:
    """Build the world of `settings` (key `data.world` of a scale).

    Required keys: seed, entities, names, rank, popularity, sharpness, claim_weight, verb_weight,
    claim_bias, train_pairs, and sizes {csqa: {train, validation}, ...}. Pure: the same settings
    give the same world in every process. Raises ValueError if there are too few pairs.
    """
    rng = np.random.default_rng([int(settings["seed"]), 0])
    relations = list(RELATIONS)
    values = [RELATIONS[relation].split() for relation in relations]
    verbs, events = VERBS.split(), EVENTS.split()
    taken = {word for row in values for word in row} | set(relations) | set(verbs) | set(events)
    entities = made_up_words(int(settings["entities"]), taken, rng)
    names = [word.capitalize() for word in made_up_words(int(settings["names"]), taken, rng)]

    shape = (len(entities), len(relations), len(values[0]))
    rank = int(settings["rank"])
    popularity = rng.standard_normal(shape[1:])
    popularity -= popularity.mean(axis=1, keepdims=True)
    popularity /= popularity.std()
    traits = rng.standard_normal((shape[0], rank))
    loadings = rng.standard_normal((*shape[1:], rank)) / np.sqrt(rank)
    taste = np.einsum("ek,rvk->erv", traits, loadings)
    taste -= taste.mean(axis=0, keepdims=True)
    taste /= taste.std()
    weight = float(settings["popularity"])
    scores = np.sqrt(weight) * popularity + np.sqrt(1.0 - weight) * taste

    pairs = np.stack(np.divmod(rng.permutation(shape[0] * shape[1]), shape[1]), axis=1)
    count = int(settings["train_pairs"])
    if not 0 < count < len(pairs):
        raise ValueError(f"train_pairs: {count}: must lie between 1 and {len(pairs) - 1}")
    strength = np.linspace(-1.0, 1.0, len(verbs))
    return World(
        settings=dict(settings),
        entities=entities,
        names=names,
        relations=relations,
        values=values,
        verbs=verbs,
        events=events,
        scores=scores,
        verb_strength=strength,
        train_pairs=pairs[:count],
        test_pairs=pairs[count:],
    )


def draw_choices(
    world: World, entity: np.ndarray, relation: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw k distinct values in random order for each (entity, relation), and the gold position.

    Returns (values (n, k) value indices, gold (n,) in 0..k-1). The gold answer is an annotator's
    draw from softmax(sharpness * score) over the k choices (Gumbel-max).
    """
    width = world.scores.shape[2]
    values = rng.random((len(entity), width)).argsort(axis=1)[:, :k]
    return values, annotate(world, entity, relation, values, rng)


def annotate(
    world: World,
    entity: np.ndarray,
    relation: np.ndarray,
    values: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the position (n,) an annotator picks among the offered `values` (n, k)."""
    score = world.scores[entity[:, None], relation[:, None], values]
    logits = float(world.settings["sharpness"]) * score
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def claim_logit(
    world: World, entity: np.ndarray, relation: np.ndarray, value: np.ndarray, verbs: np.ndarray
) -> np.ndarray:
    """Return the log-odds (n,) that a claim is true, given the verbs (n, w) of its witnesses."""
    settings = world.settings
    own = world.scores[entity, relation, value]
    said = world.verb_strength[verbs].sum(axis=1)
    return (
        float(settings["claim_bias"])
        + float(settings["claim_weight"]) * own
        + float(settings["verb_weight"]) * said
    )
