"""A wrong configuration: refused in one line that names the key, or a run that is safe.

Random valid variations of the real configuration, one mistake in each, and damaged files.
test_config_commands.py has the same through the command line.
"""

import collections
import json
import re

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from snakemake.common.configfile import load_configfile
from snakemake_interface_common.exceptions import WorkflowError

from first_distill.config.load import FOLDER, read, validated
from first_distill.config.reference import schema
from first_distill.errors import UserError
from tests.system.faults import WHOLE, tried
from tests.system.faults.mutations import KINDS, NAMES, at, merged, mutated, places, valid

SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,/-]*")  # a word of any shell, below any folder
# Read by Python and quoted in shells: a person's own folders and files, and text for people.
FREE = ("description", "mirror", "table2_questions")
# Of these all but their names and the hub's: columns, values, templates, labels, as JSON.
HUB = ("repo", "revision", "name")
QUOTED = ("datasets", "prompts", "ablations")


def one_line(message: str) -> None:
    assert message.startswith("config: ") and len(message) < 900, message
    assert message.isprintable(), ascii(message)


def safe(config: dict) -> None:
    """No name or text of a valid configuration means something to a shell or leaves a folder."""
    for path in places(config):
        value = at(config, path)
        words = [word for word in (path[-1], value) if isinstance(word, str)]
        quoted = path[0] in QUOTED and path[2:] and path[2] not in HUB
        if not {*path} & {*FREE} and not quoted:
            for word in words:
                assert SAFE.fullmatch(word) and ".." not in word.split("/"), (path, value)


@settings(max_examples=300 if WHOLE else 30)
@given(valid())
def test_valid_variations(config):
    """Another number within its bounds is valid, and stays what it is."""
    found = validated(config)
    assert found == config
    # 1 is no true, nor "1" a 1.
    texts = [json.dumps(c["datasets"], sort_keys=True) for c in (found, config)]
    assert texts[0] == texts[1]
    safe(config)


EMPTY = ("at least 1 item", "changes no setting")
RENAMED = ("renamed", "key of another type", *NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_one_mistake_is_named_or_harmless(kind):
    seen = collections.Counter()

    @settings(max_examples=250 if WHOLE else 14)
    @given(mutated(kind))
    def one_mistake(drawn):
        config, path, put = drawn
        try:
            config = validated(config)
        except UserError as error:
            message = str(error)
            one_line(message)
            *above, key = [key for key in path if isinstance(key, str)]
            if kind == "removed" and any(text in message for text in EMPTY):
                key = above[-1]  # it was the only entry there
            shown = str(put) in message or ascii(put)[:20].strip("'") in message
            assert key in message or (kind in RENAMED and shown), (message, path, put)
            seen["refused"] += 1
        else:
            safe(config)
            seen["harmless"] += 1

    one_mistake()
    assert seen["refused"] > 3, seen
    saw = f"error: config: <key>: what is wrong ({seen['refused']}); valid ({seen['harmless']})"
    tried(f"config: {kind}", seen.total(), seen.total(), 0, saw)


def test_every_number_has_two_bounds_and_every_text_a_pattern():
    """A number without bounds would fail in a job: 10**30 bins of the ECE."""
    objects = [schema(), *schema()["$defs"].values()]
    values = [pair for node in objects for pair in node.get("properties", {}).items()]
    while values:
        name, node = values.pop()
        if node.get("type") in ("integer", "number"):
            assert {"minimum", "exclusiveMinimum"} & {*node}, name
            assert {"maximum", "exclusiveMaximum"} & {*node}, name
        if node.get("type") == "string" and name not in ("description", "text", "response"):
            assert {"pattern", "enum", "const"} & {*node}, name
        below = [node.get("items"), node.get("additionalProperties"), *node.get("anyOf", ())]
        values += [(name, child) for child in below if isinstance(child, dict)]


TEXTS = {
    "tab": (b"data:\n\tmirror: null\n", "line 2"),
    "text at the top": (b"hello\n", "no keys at its top level"),
    "empty": (b"", "no keys at its top level"),
    "Latin-1": ("# é\nscale: tiny\n".encode("latin-1"), "can't decode byte 0xe9 in position 2"),
    "UTF-16": ("scale: tiny\n".encode("utf-16"), "can't decode byte 0xff in position 0"),
    "NUL": (b'scale: "a\0b"\n', "control characters are not allowed"),
    "key twice": (b"scale: tiny\ndata: {}\nscale: smoke\n", "line 3: key 'scale' occurs twice"),
    "key twice, deeper": (b"data:\n  mirror: a\n  mirror: b\n", "line 3: key 'mirror'"),
    "key twice, merged": (b"data: &a {mirror: a}\nmodels: {<<: *a, mirror: b}\n", None),
    "list as key": (b"methods:\n  ? [a, b]\n  : 1\n", "line 2: found unhashable key"),
    "anchor in itself": (b"data: &a {mirror: *a}\n", "line 1: anchor contains itself"),
    "5,000 digits": (b"data: {mirror: %s}\n" % (b"9" * 5000), "Exceeds the limit"),
    "no such date": (b"data: {mirror: 2026-99-99}\n", "month must be in 1..12"),
    "Python tag": (b"data: !!python/object/apply:os.system ['touch x']\n", "could not determine"),
    "deep": (b"data: " + b"[" * 3000 + b"]" * 3000, "maximum recursion depth"),
    "two documents": (b"scale: a\n---\nscale: b\n", "line"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_no_configuration(name, tmp_path):
    content, said = TEXTS[name]
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    if said is None:
        read(path)
        return
    with pytest.raises(UserError) as caught:
        read(path)
    one_line(str(caught.value))
    assert str(path) in str(caught.value) and said in str(caught.value), caught.value
    tried(f"config file: {name}", 1, 1, 0, f"error: {caught.value}".replace(str(path), "<file>"))


def test_aliases_that_expand_without_end(tmp_path):
    """Nine lines that would be 10**9 values, and an alias of what contains it."""
    path = tmp_path / "config.yaml"
    lines = [
        "a0: &a0 [x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)),
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match="top level: unknown key 'a0'"):
        validated(merged() | read(path))
    for place in (("data", "mirror"), ("scale",), ("table1", "methods"), ("methods", "distill")):
        config = merged()
        at(config, place[:-1])[place[-1]] = read(path)["a8"]
        with pytest.raises(UserError, match=f"config: {'.'.join(place)}"):
            validated(config)


@settings(max_examples=1500 if WHOLE else 120)
@given(
    st.sampled_from(["config.yaml", "scales/tiny.yaml", "scales/smoke.yaml"]),
    st.floats(0, 1),
    st.integers(0, 40),
    st.binary(max_size=3)
    | st.sampled_from([b"\t", b"'", b"[", b"&a ", b"*a", b"!!", b": ", b"\0"]),
)
def test_damaged_text_is_refused_or_read_as_snakemake_reads_it(
    tmp_path_factory, name, place, cut, put
):
    """Some bytes of a real file cut out and others put there: never a traceback."""
    text = (FOLDER / name).read_bytes()
    start = int(place * len(text))
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(text[:start] + put + text[start + cut :])
    try:
        content = read(path)
    except UserError as error:
        one_line(str(error))
        assert str(path) in str(error)
        return
    try:
        assert repr(load_configfile(str(path))) == repr(content)
    except WorkflowError as error:  # Snakemake may refuse more, in its own words
        event(str(error))
