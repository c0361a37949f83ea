"""A wrong configuration: refused in one line that names the key, or a run that is safe.

The check of the real configuration files, of valid variations of them, and of one mistake in each;
and the reader of their text. test_config_commands.py has the same before Snakemake's eyes.
"""

from __future__ import annotations

import collections
import re

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from snakemake.common.configfile import load_configfile
from snakemake_interface_common.exceptions import WorkflowError

from scripts.first.config.check import FOLDER, check, schema
from scripts.first.config.files import read_file
from scripts.first.errors import UserError
from tests.system.faults import WHOLE, tried
from tests.system.faults.mutations import KINDS, NAMES, merged, mutated, places, valid

SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,/-]*")  # a word of any shell, below any folder
# Read by Python and quoted in shells: a person's own folders and files, and words for people.
FREE = ("description", "mirror", "table2_questions")


def one_line(message: str) -> None:
    assert message.startswith("config: ") and len(message) < 900, message
    assert message.isprintable(), ascii(message)


def safe(config: dict) -> None:
    """No name or text of a checked configuration means something to a shell or leaves a folder."""
    for path in places(config):
        value = config
        for key in path:
            value = value[key]
        words = [word for word in (path[-1], value) if isinstance(word, str)]
        if not {*path} & {*FREE}:
            for word in words:
                assert SAFE.fullmatch(word) and ".." not in word.split("/"), (path, value)


@settings(max_examples=300 if WHOLE else 30)
@given(valid())
def test_valid_variations(config):
    """Another number within its bounds is valid."""
    check(config)
    safe(config)


RENAMED = ("renamed", "key of another type", *NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_one_mistake_is_named_or_harmless(kind):
    seen = collections.Counter()

    @settings(max_examples=250 if WHOLE else 14)
    @given(mutated(kind))
    def one_mistake(drawn):
        config, path, put = drawn
        try:
            check(config)
        except UserError as error:
            message = str(error)
            one_line(message)
            *above, key = [key for key in path if isinstance(key, str)]
            if kind == "removed" and "should be non-empty" in message:
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


def test_every_number_has_two_bounds_and_every_name_a_pattern():
    """What has no bound is found by whom it hurts: a job that asks for 10**30 bins."""

    def walk(node, path):
        kinds = node.get("type", ())
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if {"integer", "number"} & {*kinds}:
            assert {"minimum", "exclusiveMinimum"} & {*node}, path
            assert {"maximum", "exclusiveMaximum"} & {*node}, path
        if "string" in kinds and not {*path} & {*FREE}:
            assert "pattern" in node, path
        for key, child in node.get("properties", {}).items():
            walk(child, (*path, key))
        for child in node.get("patternProperties", {}).values():
            walk(child, (*path, "<name>"))
        if "items" in node:
            walk(node["items"], (*path[:-1], f"{path[-1]}[]"))
        for child in node.get("anyOf", []):
            walk({k: v for k, v in child.items() if k != "required"}, path)

    walk(schema(), ())


MISFITS = [
    ("methods.distill", None, "methods.distill: must be there"),
    ("methods.teacher.objective", "hard_labels", "methods.teacher: must be there"),
    ("methods.first_ts", {"objective": "knowledge", "recalibration": "none"}, "methods.first_ts.c"),
    ("methods.finetune_ts.of", None, "methods.finetune_ts: missing key of"),
    ("settings.in_domain", {"boolq": "boolq"}, "settings.in_domain: missing key csqa"),
    ("scales.tiny.data.datasets.alpaca", None, "scales.tiny.corpora: unknown name 'alpaca'"),
    ("scales.tiny.data.datasets.pretraining", None, "pretrain.text: unknown name 'pretraining'"),
    ("scales.tiny.data.datasets.pretraining", {}, "pretraining: missing key max_train_rows"),
    ("scales.tiny.data.datasets.csqa", {"name": "main"}, "csqa.name: has no effect"),
    ("scales.tiny.data.world", None, "source world needs the key world"),
    ("scales.tiny.data.source", "hub", "datasets.csqa: missing key repo"),
    ("scales.paper.data.datasets.csqa.revision", None, "csqa: missing key revision"),
    ("scales.paper.tokenizers", {"w": {"kind": "world"}}, "tokenizers.w: kind world needs"),
    ("scales.smoke.tokenizers.bpe.text", [], "tokenizers.bpe: missing key text"),
    ("scales.tiny.tokenizers", {"none": {"kind": "world"}}, "tokenizers.none: the workflow uses"),
    ("scales.tiny.models.alder-student.pretrain", None, "alder-student has no key pretrain"),
    ("scales.tiny.models.pairs", {"bundled": "resources/x"}, "models.pairs: the workflow uses"),
    (
        "scales.tiny.models.alder-teacher.pretrain.start_from",
        "alder-teacher",
        "continues from itself",
    ),
    (
        "scales.tiny.models.alder-student.pretrain.architecture.num_attention_heads",
        3,
        "num_attention_heads: 3 heads must divide hidden_size 64",
    ),
    (
        "scales.tiny.models.alder-student.pretrain.architecture.num_key_value_heads",
        3,
        "num_key_value_heads: 3 must divide",
    ),
    (
        "scales.tiny.models.alder-student.pretrain.architecture.max_position_embeddings",
        100,
        "max_position_embeddings: must be at least 160",
    ),
    (
        "scales.smoke.corpora",
        ["csqa"],
        "scales.smoke.corpora: boolq is missing: settings.in_domain",
    ),
    ("scales.tiny.student.seeds", [1.0], "scales.tiny.student.seeds.0: 1.0"),
    ("scales.tiny.student.seeds", [10**30], "scales.tiny.student.seeds.0"),
    ("scales.tiny.student.seeds", [-1], "scales.tiny.student.seeds.0"),
    ("scales.tiny.knowledge.k", 5.0, "scales.tiny.knowledge.k: 5.0"),
    ("scales.paper.models.llama1-7b.hub.repo", "../..", "llama1-7b.hub.repo"),
    ("scales.paper.data.datasets.csqa.repo", "a/$(touch x)", "datasets.csqa.repo"),
    ("scales.paper.data.datasets.csqa.repo", "--mirror/x", "datasets.csqa.repo"),
    ("scales.tiny.figures.figure6_methods", ["first_c10"] * 2, "figures.figure6_methods"),
    ("scales.tiny.figures.table2_questions", "config/{scale}.json", "figures.table2_questions"),
    ("fetch.partition", "net;touch${IFS}x", "fetch.partition"),
    ("data.mirror", "a\0b", "data.mirror: 'a\\x00b' has unprintable"),
    ("methods.first_ts\n", {"objective": "teacher"}, "methods: key 'first_ts\\n' is no word"),
]


@pytest.mark.parametrize(("path", "value", "said"), MISFITS, ids=[m[0] for m in MISFITS])
def test_parts_that_do_not_fit(path, value, said):
    """Each of these passed the check before; a job or Snakemake failed later, or none did."""
    config = merged()
    *parents, last = path.split(".")
    container = config
    for key in parents:
        container = container[key]
    if value is None:
        del container[last]
    else:
        container[last] = value
    with pytest.raises(UserError) as caught:
        check(config)
    one_line(str(caught.value))
    assert said in str(caught.value), caught.value


def test_anchors_without_end():
    config = merged()
    config["methods"]["again"] = config["methods"]
    with pytest.raises(UserError, match="anchors without end"):
        check(config)
    bomb: list = ["x"]
    for _ in range(25):
        bomb = [bomb] * 2
    with pytest.raises(UserError, match="anchors without end"):
        check({**merged(), "bomb": bomb})


TEXTS = {
    "tab": (b"data:\n\tmirror: null\n", "line 2"),
    "unclosed bracket": (b"scale: [tiny\n", "line"),
    "list at the top": (b"- a\n- b\n", "no keys at its top level"),
    "text at the top": (b"hello\n", "no keys at its top level"),
    "empty": (b"", "no keys at its top level"),
    "comments alone": (b"# nothing\n", "no keys at its top level"),
    "binary": (bytes(range(256)), "no UTF-8 at byte 128"),
    "Latin-1": ("# é\nscale: tiny\n".encode("latin-1"), "no UTF-8 at byte 2"),
    "UTF-16": ("scale: tiny\n".encode("utf-16"), "no UTF-8 at byte 0"),
    "NUL": (b'scale: "a\0b"\n', "control characters are not allowed"),
    "key twice": (b"scale: tiny\ndata: {}\nscale: smoke\n", "line 3: key 'scale' stands twice"),
    "key twice, deeper": (b"data:\n  mirror: a\n  mirror: b\n", "line 3: key 'mirror'"),
    "key twice, merged": (b"data: &a {mirror: a}\nmodels: {<<: *a, mirror: b}\n", None),
    "number as key": (b"methods:\n  1: {objective: none}\n", "line 2: key 1 is no word"),
    "yes as key": (b"methods:\n  yes: {objective: none}\n", "line 2: key yes is no word"),
    "list as key": (b"methods:\n  ? [a, b]\n  : 1\n", "line 2: key a list"),
    "anchor in itself": (b"data: &a {mirror: *a}\n", "an anchor holds itself"),
    "unknown anchor": (b"data: *nowhere\n", "undefined alias"),
    "octal": (b"scale: tiny\ndata: {mirror: 010}\n", "line 2: 010: write whole numbers"),
    "sexagesimal": (b"data: {mirror: 1:30}\n", "line 1: 1:30: write whole numbers"),
    "5,000 digits": (b"data: {mirror: %s}\n" % (b"9" * 5000), "write whole numbers"),
    "no such date": (b"data: {mirror: 2026-99-99}\n", "month must be in 1..12"),
    "Python tag": (b"data: !!python/object/apply:os.system ['touch x']\n", "could not determine"),
    "deep": (b"data: " + b"[" * 3000 + b"]" * 3000, ""),
    "Python in YAML": (b"__use_yte__: true\ndata: {}\n", "unknown key '__use_yte__'"),
    "pathvars": (b"pathvars: 3\n", "unknown key 'pathvars'"),
    "no mapping": (b"scales: [tiny]\n", "scales: holds no keys"),
    "two documents": (b"scale: a\n---\nscale: b\n", "line"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_no_configuration(name, tmp_path):
    content, said = TEXTS[name]
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    if said is None:
        read_file(path)
        return
    with pytest.raises(UserError) as caught:
        read_file(path)
    one_line(str(caught.value))
    assert str(path) in str(caught.value) and said in str(caught.value), caught.value
    tried(f"config file: {name}", 1, 1, 0, f"error: {caught.value}".replace(str(path), "<file>"))


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
        content = read_file(path)
    except UserError as error:
        one_line(str(error))
        assert str(path) in str(error)
        return
    try:
        assert repr(load_configfile(str(path))) == repr(content)
    except WorkflowError as error:  # Snakemake may refuse more, in its own words
        event(str(error))
