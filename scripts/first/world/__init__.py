"""A generated world with irreducible uncertainty that stands in for the four datasets.

The world is a table of entities, relations and values. How plausible a value is for an entity is
known exactly (`World.scores`), and every gold answer is a *draw* from that plausibility, so no
model can be always right. `render` writes the world in the schemas of CommonsenseQA, BoolQ,
OpenBookQA and Alpaca, `pretraining_rows` writes text that never shows those four formats, and
`build_tokenizer` makes the word-level tokenizer that covers both.
"""

from scripts.first.world.facts import World, build_world
from scripts.first.world.pretraining import pretraining_rows
from scripts.first.world.rendering import render
from scripts.first.world.vocabulary import build_tokenizer

__all__ = ["World", "build_world", "build_tokenizer", "pretraining_rows", "render"]
