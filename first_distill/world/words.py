"""The words of the world: relations with their values, verbs, and made-up entities and names."""

import numpy as np

# Each relation has the same number of values; all words are distinct over the whole table.
_TABLE = {
    "food": "bread soup rice cheese beans honey apples fish nuts cake eggs corn",
    "drink": "tea milk juice coffee cider water cocoa wine broth lemonade beer mead",
    "tool": "hammer saw knife rope shovel needle axe brush ladder chisel drill rake",
    "place": "cave lake forest market temple harbour meadow tower bridge garden desert island",
    "music": "drum flute harp bell fiddle horn lute organ pipe banjo gong rattle",
    "animal": "goat hen horse dog cat cow duck mule sheep owl fox bee",
    "fabric": "wool linen silk cotton leather felt hemp velvet denim lace fur canvas",
    "game": "chess dice cards darts tag marbles skittles archery wrestling rowing riddles kites",
}
RELATIONS = list(_TABLE)
VALUES = [row.split() for row in _TABLE.values()]
# Verbs of the witnesses of a claim, from the strongest denial to the strongest support.
VERBS = (
    "refutes denies disputes doubts questions mentions suggests believes supports affirms proves"
).split()
EVENTS = "meets visits calls follows greets thanks joins helps".split()
LETTERS = "abcde"

_ONSETS = "b d f g k l m n p r s t v z br dr gr kr st tr".split()
_VOWELS = "a e i o u".split()
_CODAS = "l m n r s t x k".split()


def made_up_words(count: int, taken: set[str], rng: np.random.Generator) -> list[str]:
    """Return `count` distinct pronounceable lower-case words, none of them in `taken`.

    The words are added to `taken`, so that later calls stay distinct from earlier ones.
    """
    words: list[str] = []
    while len(words) < count:
        syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(2)]
        word = "".join(syllables) + str(rng.choice(_CODAS))
        if word not in taken:
            taken.add(word)
            words.append(word)
    return words
