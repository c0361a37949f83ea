"""Valid configurations at random, and one mistake in each: what people and machines do to YAML."""

import json
from functools import cache, reduce

from hypothesis import strategies as st

from first_distill.config.load import merge, own_files, read
from first_distill.config.reference import alternatives, children, schema

SHELL = ["$(touch x)", "; touch x", "& touch x", "| tee x", "`touch x`", "'", '"', "a\nb", "x\n"]
PATHS = ["..", "../../x", "/etc/passwd", "a/b", "a\\b", ".", "-rf", "~root", "{scale}", "{{x}}"]
UNICODE = ["café", "Ω", "\u202etiny", "a\u0301", "e\u200bf", "\x00", "１２", "tiny ", "🙂"]
HUGE = [10**30, -(10**30), 2**63, 1e308, -1e308, 1e-320]
OUT_OF_RANGE = [-1, 0, -0.5, 1.5, 2**32, float("nan"), float("inf"), -float("inf")]
WRONG_TYPE = [True, False, 3, 2.5, 5.0, "tiny", "1e3", "yes", [], {}, [[]], {"a": 1}, b"x", "", 1j]
VALUES = {
    "null": [None],
    "wrong type": WRONG_TYPE,
    "out of range": OUT_OF_RANGE,
    "huge": [*HUGE, "x" * 5000, [1] * 5000],
    "unicode": UNICODE,
    "path separators": PATHS,
    "shell metacharacters": SHELL,
}
NAMES = ["unicode", "path separators", "shell metacharacters"]
KINDS = ["removed", "renamed", "key of another type", "entry twice", *VALUES]
# Numbers that others must fit: drawn apart they would not.
STEERS = ("hidden_size", "num_attention_heads", "k", "stored_k")
STEERS += ("block_length", "max_position_embeddings")


@cache
def _merged() -> str:
    return json.dumps(reduce(merge, map(read, own_files()), {}))


def merged() -> dict:
    """The content of the configuration's own files; a new copy each time, without aliases."""
    return json.loads(_merged())


def places(node, path=()):
    """Path of everything in a configuration, below the top."""
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*path, key)
            yield from places(child, (*path, key))


def at(config, path):
    """What lies at a path."""
    return reduce(lambda node, key: node[key], path, config)


def rule_for(path) -> dict:
    """What the schema says of a path; `anyOf` where it has several rules for it."""
    rules = [schema()]
    for key in path:
        found = [(below := children(rule)).get(key) or below.get("<name>") for rule in rules]
        rules = [each for rule in found if rule for each in alternatives(rule)]
    return rules[0] if len(rules) == 1 else {"anyOf": rules}


@st.composite
def valid(draw) -> dict:
    """The configuration with some numbers and switches set to other allowed ones, and a dataset."""
    config = merged()
    for path in draw(st.lists(st.sampled_from(_free()), max_size=4, unique=True)):
        at(config, path[:-1])[path[-1]] = draw(_values(rule_for(path)))
    if draw(st.booleans()):
        entry = config["datasets"]["mine"] = draw(entries())
        columns = {}
        if "test" in entry["splits"] and "answer" in entry:
            columns["mine"] = "mine" if "train" in entry["splits"] else "csqa"
        if "validation" in entry["splits"]:
            columns["boolq"] = "mine"
        if columns:
            config["scales"]["paper"]["settings"]["mine"] = columns
        counts = draw(st.dictionaries(st.sampled_from([*entry["splits"]]), ROWS))
        config["scales"]["paper"]["data"]["rows"] = {"mine": counts}
    return config


ROWS = st.integers(1, 10**8)
SHARE = st.floats(0, 1, exclude_min=True, exclude_max=True)
COLUMN = st.sampled_from(["text", "choices.text", "a.b.c", "my column", "où?", "$(touch x)", "{a}"])
VALUE = st.booleans() | st.integers(-5, 5) | st.sampled_from(["A", "yes", "", "a 'b' \"c\""])
LAYOUTS = {  # splits, and the shares that they need or may have
    ("train a", "validation b", "test c"): ((), ()),
    ("train a", "validation a", "test b"): ((), ("validation_share",)),
    ("train a", "validation a", "test a"): (("test_share",), ("validation_share",)),
    ("train a", "validation b", "test b"): (("test_share",), ()),
    ("train a", "validation a"): ((), ("validation_share",)),
    ("train a", "validation b"): ((), ()),
    ("train a",): ((), ()),
    ("test a",): ((), ()),
}


@st.composite
def entries(draw) -> dict:
    """A valid entry of `datasets`: each source, layout, kind of candidates and optional key."""
    hub = {"repo": "me/quiz", "revision": "0" * 40}
    more = draw(
        st.fixed_dictionaries(
            {}, optional={"name": st.just("main"), "mirror": st.just("you/other")}
        )
    )
    entry = draw(st.sampled_from([{**hub, **more}, {"path": "~/my files/q.csv"}]))
    layout = draw(st.sampled_from([*LAYOUTS]))
    entry["splits"] = dict(part.split() for part in layout)
    needed, possible = ({key: SHARE for key in keys} for keys in LAYOUTS[layout])
    optional = {"where": st.dictionaries(COLUMN, VALUE | st.lists(VALUE)), "id": COLUMN, **possible}
    optional |= {"rows": st.dictionaries(st.sampled_from([*entry["splits"]]), ROWS)}
    optional |= {"duplicates": st.sampled_from(["refuse", "drop"])}
    entry |= draw(st.fixed_dictionaries(needed, optional=optional))
    entry["fields"] = {"question": draw(COLUMN), "note": draw(COLUMN) + "?"}
    text, words = "{{ question }} {{ note }}", ["a", "b", "$(touch x)"]
    kind = draw(st.sampled_from(["letters", "words", "text"]))
    if kind == "text":
        return entry | {"prompt": {"text": text, "response": "{{ note }}"}}
    entry |= {"answer": draw(COLUMN)}
    labels = st.lists(VALUE, min_size=3, max_size=3, unique=True)
    if kind == "letters":
        labels |= COLUMN
        entry["choices"] = draw(COLUMN | st.lists(COLUMN, min_size=2, max_size=5, unique=True))
    entry |= draw(st.fixed_dictionaries({}, optional={"labels": labels}))
    if kind == "letters" and draw(st.booleans()):
        return entry | {"prompt": draw(st.sampled_from(["lower_letters", "upper_letters"]))}
    candidates = draw(st.sampled_from(["lower", "upper"])) if kind == "letters" else words
    made = {"text": text, "response": "{{ answer }}", "candidates": candidates}
    return entry | {"prompt": made | draw(st.sampled_from([{}, {"shorten": "note"}]))}


@cache
def _free() -> list[tuple]:
    config = merged()
    free = [path for path in places(config) if not {*path} & {*STEERS}]
    return [path for path in free if _values(rule_for(path)) is not None]


def _values(rule: dict):
    low, high = rule.get("minimum", rule.get("exclusiveMinimum")), rule.get("maximum")
    if rule.get("type") == "boolean":
        return st.booleans()
    if rule.get("type") == "integer":
        return st.integers(low, high if high is not None else rule["exclusiveMaximum"] - 1)
    if rule.get("type") == "number":
        open_ends = {"exclude_min": "minimum" not in rule, "exclude_max": high is None}
        return st.floats(low, rule.get("exclusiveMaximum", high), **open_ends)
    return None


@st.composite
def mutated(draw, kind: str):
    """(configuration with a mistake of a kind, path of its key, the value or name put there)."""
    config = draw(valid())
    every = [p for p in places(config) if kind in VALUES or _fits(kind, config, p)]
    ours = [path for path in every if path[0] in ("datasets", "prompts")]
    path = draw(st.sampled_from(draw(st.sampled_from([every, ours or every]))))
    container, key = at(config, path[:-1]), path[-1]
    put = None
    if kind == "removed":
        del container[key]
    elif kind == "renamed":
        put = f"{key}{draw(st.sampled_from([*SHELL, *PATHS, *UNICODE, 'x', 'X', '-', '']))}x"
        container[put] = container.pop(key)
    elif kind == "key of another type":
        put = draw(st.sampled_from([1, None, True, 2.5, b"x", ("a", 1), float("nan")]))
        container[put] = container.pop(key)
    elif kind == "entry twice":
        container.append(container[key])
    else:
        put = draw(st.sampled_from(VALUES[kind]))
        if isinstance(container, dict) and kind in NAMES and draw(st.booleans()):
            container[put] = container.pop(key)  # as a name
        else:
            container[key] = put
    return config, path, put


def _fits(kind: str, config: dict, path) -> bool:
    in_list = isinstance(path[-1], int)
    return in_list if kind == "entry twice" else kind == "removed" or not in_list
