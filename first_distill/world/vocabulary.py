"""The word-level tokenizer of the world.

A token is a word, a punctuation mark, a newline, an option label at the start of a line, or one of
the fixed phrases of the prompts (one token each, which keeps sequences short). Spaces are dropped.
"""

import re

from first_distill.world.facts import World
from first_distill.world.words import EVENTS, LETTERS, RELATIONS, VALUES, VERBS

SPECIAL = ("<unk>", "<s>", "</s>")
PHRASES = (
    "Below is an instruction that describes a task, paired with an input that provides further"
    " context. Write a response that appropriately completes the request.",
    "Below is an instruction that describes a task. Write a response that appropriately completes"
    " the request.",
    "Read the input passage and answer the question:",
    "Your answer should be Yes or No.",
    "### Instruction:",
    "### Input:",
    "### Response:",
    "Answer Choices:",
    "The answer is (",
    "Q:",
    "A:",
    "does a",
    "of a",
    "of the",
    "is the",
    "for the",
    "a usual",
    "likes best",
    "in a few words",
)
WORDS = (
    "What When If then Which Choose Select Name Describe what want use wants the a is that it of "
    "when Yes No true false memo sheet report verdict pick most Quiz Question Options Answer Text "
    "It"
)
MARKS = ("\n", "?", ".", ",", "(", ")", ").", ":", "=", "-")


def build_tokenizer(world: World):
    """Return the `tokenizers.Tokenizer` of the world, which puts neither BOS nor EOS.

    encode(prompt) is an exact prefix of encode(prompt + response), because no token spans the end
    of a prompt: prompts end in a newline or in "The answer is (". `<unk>`, `<s>` and `</s>` have
    ids but are not added tokens, hence such a text in a row is split like any other.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    letters = list(LETTERS + LETTERS.upper())
    labels = [f"({letter})" for letter in letters]
    words = [*WORDS.split(), *RELATIONS, *(v for row in VALUES for v in row)]
    words += [*VERBS, *EVENTS, *world.entities, *world.names]
    tokens = dict.fromkeys((*SPECIAL, *MARKS, *letters, *labels, *PHRASES, *words))
    vocab = {token: number for number, token in enumerate(tokens)}
    phrases = sorted(PHRASES, key=len, reverse=True)
    # An option label is one token only at the start of a line: after "The answer is (" the letter
    # stands alone, so the answer is one token there.
    parts = [
        *(re.escape(p) + (r"\b" if p[-1].isalpha() else "") for p in phrases),
        r"(?<=\n)\([a-eA-E]\)",
        r"\n",
        r"\)\.",
        r"[A-Za-z]+",
        r"[^\sA-Za-z]",
    ]
    pattern = "|".join(part.replace(r"\ ", " ").replace(r"\#", "#") for part in parts)
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=SPECIAL[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return tokenizer
