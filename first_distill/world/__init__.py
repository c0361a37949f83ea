"""A generated world with irreducible uncertainty that replaces the four datasets.

The plausibility of a value for an entity in a relation is known exactly (`World.scores`), and every
gold answer is a *draw* from it, so that no model can always be right. `render` writes the official
schemas, `pretraining_rows` text on the same facts, and one word-level tokenizer covers both.
"""

from first_distill.world.facts import World, build_world, settings_of
from first_distill.world.pretraining import pretraining_rows
from first_distill.world.rendering import render
from first_distill.world.vocabulary import build_tokenizer

__all__ = ["World", "build_world", "build_tokenizer", "pretraining_rows", "render", "settings_of"]
