"""The world: its entities, the plausibility of values, and how an annotator draws an answer.

Plausibility of value v for entity e in relation r (standardised, so that its variance is 1):

    score[e, r, v] = sqrt(popularity) * p[r, v] + sqrt(1 - popularity) * <u[e], w[r, v]>

An annotator's answer among some choices is a draw from softmax(sharpness * score), hence the best
possible accuracy is well below 1 and known exactly.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from first_distill.errors import UserError
from first_distill.world.words import EVENTS, RELATIONS, VALUES, VERBS, made_up_words


@dataclass(frozen=True)
class World:
    """What is drawn for the settings; relations, values, verbs and events are always the same.

    scores: (entities, relations, values), standardised plausibility.
    train_pairs, test_pairs, exam_pairs: (n, 2) disjoint (entity, relation) index pairs. Questions
        of an official training split use the first, test questions the second and exams in
        pretraining text the third; within one dataset each pair is used at most once, so any
        later split by rows is disjoint in pairs too.
    """

    settings: dict[str, Any]
    entities: list[str]
    names: list[str]
    scores: np.ndarray
    train_pairs: np.ndarray
    test_pairs: np.ndarray
    exam_pairs: np.ndarray


@contextlib.contextmanager
def settings_of(what: str) -> Iterator[None]:
    """Turn missing or invalid settings of a world, within the block, into UserError."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"world settings: {what}: no {error}: add it") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
        raise UserError(f"world settings: {what}: {error}: correct the settings") from None


def build_world(settings: dict[str, Any]) -> World:
    """Build the world of `settings` (key `data.world` of a scale).

    Required keys: seed, entities, names, rank, popularity, sharpness, claim_weight, verb_weight,
    claim_bias, train_pairs, test_pairs, and sizes {csqa: {train, validation}, ...}. Pure: the same
    settings give the same world in every process. Raises ValueError if there are too few pairs.
    """
    rng = np.random.default_rng([settings["seed"], 0])
    taken = {word for row in VALUES for word in row} | {*RELATIONS, *VERBS, *EVENTS}
    entities = made_up_words(settings["entities"], taken, rng)
    names = [word.capitalize() for word in made_up_words(settings["names"], taken, rng)]

    shape = (len(entities), len(RELATIONS), len(VALUES[0]))
    popularity = rng.standard_normal(shape[1:])
    popularity -= popularity.mean(axis=1, keepdims=True)
    popularity /= popularity.std()
    traits = rng.standard_normal((shape[0], settings["rank"]))
    loadings = rng.standard_normal((*shape[1:], settings["rank"])) / np.sqrt(settings["rank"])
    taste = np.einsum("ek,rvk->erv", traits, loadings)
    taste -= taste.mean(axis=0, keepdims=True)
    taste /= taste.std()
    weight = settings["popularity"]
    scores = np.sqrt(weight) * popularity + np.sqrt(1.0 - weight) * taste

    pairs = np.stack(np.divmod(rng.permutation(shape[0] * shape[1]), shape[1]), axis=1)
    train, test = settings["train_pairs"], settings["test_pairs"]
    if not (train > 0 and test > 0 and train + test < len(pairs)):
        limit = f"must be above 0, and below {len(pairs)} together"
        raise ValueError(f"train_pairs, test_pairs: {train}, {test}: {limit}")
    pools = np.split(pairs, [train, train + test])
    return World(dict(settings), entities, names, scores, *pools)


def draw_choices(
    world: World,
    entity: np.ndarray,
    relation: np.ndarray,
    k: int,
    rng: np.random.Generator,
    care: float = 1.0,
    first: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw k distinct values in random order for each (entity, relation), and the gold position.

    Returns (values (n, k) value indices, gold (n,) in 0..k-1). The gold answer is an annotator's
    draw from softmax(care * sharpness * score) over the k choices (Gumbel-max). A careless
    annotator also favours the first choices: `first` is the log odds of the first against the last.
    """
    values = rng.random((len(entity), len(VALUES[0]))).argsort(axis=1)[:, :k]
    score = world.scores[entity[:, None], relation[:, None], values]
    logits = care * world.settings["sharpness"] * score + first * np.linspace(1.0, 0.0, k)
    return values, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def draw_verdicts(
    world: World,
    claim: tuple[np.ndarray, ...],
    verbs: np.ndarray,
    rng: np.random.Generator,
    care: float = 1.0,
    yes: float = 0.0,
) -> np.ndarray:
    """Draw whether each claim is true, (n,) bool, given the verbs (n, w) of its witnesses.

    claim: entities, relations and values, (n,) each. A careless annotator weighs all evidence by
    `care` and says yes with log odds that are higher by `yes`.
    """
    settings, own = world.settings, world.scores[claim]
    said = np.linspace(-1.0, 1.0, len(VERBS))[verbs].sum(axis=1)
    logit = settings["claim_bias"] + settings["claim_weight"] * own + settings["verb_weight"] * said
    logit = care * logit + yes
    return rng.random(len(logit)) < 1.0 / (1.0 + np.exp(-logit))
