"""A generated world with irreducible uncertainty that replaces the four datasets.

The world is a table of entities, relations and values. The plausibility of a value for an entity is
known exactly (`World.scores`), and every gold answer is a *draw* from it, so that no model can
always be right. `render` writes the world in the schemas of CommonsenseQA, BoolQ, OpenBookQA and
Alpaca, `pretraining_rows` writes text that never uses those four formats, and `build_tokenizer`
makes the word-level tokenizer that covers both.
"""

from scripts.first.world.facts import World, build_world
from scripts.first.world.pretraining import pretraining_rows
from scripts.first.world.rendering import render
from scripts.first.world.vocabulary import build_tokenizer

__all__ = ["World", "build_world", "build_tokenizer", "pretraining_rows", "render"]
