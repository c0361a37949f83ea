"""The configuration: every scale is valid, and every mistake is one line that names the key."""

from __future__ import annotations

import copy
import json
import math
from functools import cache

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.first.config.check import check, reference, schema
from scripts.first.errors import UserError
from tests import tiny_models as tiny

FOLDER = tiny.REPOSITORY / "config"
SCALES = sorted(path.stem for path in (FOLDER / "scales").glob("*.yaml"))


@cache
def _merged() -> str:
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    for name in SCALES:
        loaded = yaml.safe_load((FOLDER / "scales" / f"{name}.yaml").read_text())
        config.setdefault("scales", {}).update(loaded["scales"])
    return json.dumps(config)


def merged() -> dict:
    """config.yaml and all scales, as Snakemake merges them; a new copy each time."""
    return json.loads(_merged())


def at(config: dict, path: str):
    """(container, last key) of a dotted path; `0` indexes a list."""
    *parents, last = path.split(".")
    for key in parents:
        config = config[int(key) if isinstance(config, list) else key]
    return config, int(last) if isinstance(config, list) else last


def refused(path: str, value, *named: str) -> str:
    config = merged()
    container, key = at(config, path)
    container[key] = value
    with pytest.raises(UserError) as caught:
        check(config)
    message = str(caught.value)
    assert message.startswith("config: ") and "\n" not in message and len(message) < 600
    for word in named:
        assert word in message, message
    return message


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_is_valid_and_holds_itself_only(name):
    assert list(yaml.safe_load((FOLDER / "scales" / f"{name}.yaml").read_text())["scales"]) == [
        name
    ]
    check({**merged(), "scale": name})


def test_check_changes_nothing():
    config = merged()
    before = copy.deepcopy(config)
    check(config)
    assert config == before


@pytest.mark.parametrize(
    "path, value, named",
    [
        ("scale", "huge", ["scale", "'huge'"]),
        ("scale", "tinny", ["scale", "did you mean 'tiny'"]),
        ("scale", 3, ["scale"]),
        ("data.mirror", 3, ["data.mirror"]),
        ("models.mirror", 3, ["models.mirror"]),
        ("fetch.partition", "", ["fetch.partition"]),
        ("fetch.partitions", "net", ["fetch", "did you mean 'partition'"]),
        ("methods.first_ts.c", 0, ["methods.first_ts.c"]),
        ("methods.first_ts.c", 1.01, ["methods.first_ts.c", "(0, 1]"]),
        ("methods.first_c10.c", math.nan, ["methods.first_c10.c", "nan"]),
        ("scales.tiny.teacher.training.learning_rate", math.inf, ["learning_rate", "inf"]),
        ("scales.tiny.student.seeds", [math.nan], ["seeds.0"]),
        ("methods.first_ts.c", -0.3, ["methods.first_ts.c"]),
        ("methods.first_ts.c", "chosen", ["methods.first_ts.c"]),
        ("methods.first_ts.c", True, ["methods.first_ts.c"]),
        ("methods.first_ts.recalibration", "platt", ["methods.first_ts.recalibration"]),
        ("methods.first_ts.objective", "rl", ["methods.first_ts.objective"]),
        ("methods.distill.c", 0.3, ["methods.distill.c"]),
        ("methods.distill.delta", 0.1, ["methods.distill.delta"]),
        ("methods.distill_ls.delta", 0, ["methods.distill_ls.delta"]),
        ("methods.distill_ls.delta", 1, ["methods.distill_ls.delta"]),
        ("methods.distill_ls.ls_space", "logit", ["methods.distill_ls.ls_space"]),
        ("methods.finetune.c", 0.3, ["methods.finetune.c"]),
        ("methods.finetune_ts.of", "finetuned", ["methods.finetune_ts.of", "'finetune'"]),
        ("methods.finetune_ts.of", "teacher", ["methods.finetune_ts.of"]),
        ("methods.distill.temperature", 1, ["methods.distill", "'temperature'"]),
        ("methods.distill.student_side", "full", ["methods.distill.student_side"]),
        ("table1.methods.0", "finetun", ["table1.methods", "'finetune'"]),
        ("table1.methods", [], ["table1.methods"]),
        ("settings.in_domain.csqa", "c4", ["settings.in_domain.csqa"]),
        ("settings.in_domain.mmlu", "csqa", ["settings.in_domain", "'mmlu'"]),
        ("scales.tiny.corpora", ["csqa"], ["settings"]),  # a column of Table 1 has no corpus
        ("scales.tiny.corpora", ["csqa", "c4"], ["scales.tiny.corpora"]),
        ("scales.tiny.figures.family", "oak", ["scales.tiny.figures.family", "'oak'"]),
        ("scales.tiny.families.alder.teacher", "x", ["scales.tiny.families.alder.teacher"]),
        ("scales.tiny.knowledge.k", 0, ["scales.tiny.knowledge.k"]),
        ("scales.tiny.knowledge.k", 2.5, ["scales.tiny.knowledge.k"]),
        ("scales.tiny.knowledge.k", 200, ["scales.tiny.knowledge"]),
        ("scales.tiny.knowledge.stored_k", 256, ["scales.tiny.knowledge.stored_k"]),
        ("scales.tiny.student.seeds", [], ["scales.tiny.student.seeds"]),
        ("scales.tiny.student.seeds", [1, 1], ["scales.tiny.student.seeds"]),
        ("scales.tiny.student.seeds", ["1"], ["scales.tiny.student.seeds"]),
        ("scales.tiny.student.training.learning_rate", "2e-5", ["training.learning_rate"]),
        ("scales.tiny.student.training.batch_size", 0, ["training.batch_size"]),
        ("scales.tiny.student.training.lerning_rate", 1, ["'learning_rate'"]),
        ("scales.tiny.encoding.append_eos", "yes", ["scales.tiny.encoding.append_eos"]),
        ("scales.tiny.encoding.block_length", 0, ["scales.tiny.encoding.block_length"]),
        ("scales.tiny.evaluation.bins", 0, ["scales.tiny.evaluation.bins"]),
        ("scales.tiny.dtype", "fp8", ["scales.tiny.dtype"]),
        ("scales.paper.data.datasets.csqa.revision", "main", ["datasets.csqa.revision"]),
        ("scales.paper.data.validation_share", 1, ["scales.paper.data.validation_share"]),
        ("scales.paper.models.llama1-7b.hub.revision", "v1", ["llama1-7b.hub.revision"]),
        # transformers' LlamaConfig would swallow it and keep its default of 32 heads
        (
            "scales.smoke.models.scratch-teacher.pretrain.architecture.num_atention_heads",
            4,
            ["architecture", "'num_attention_heads'"],
        ),
        ("scaless", {}, ["top level", "'scaless'", "'scales'"]),
        ("methods.first-tail", {}, ["methods", "'first-tail'", "names match ^[a-z]"]),
    ],
)
def test_mistakes_name_their_key(path, value, named):
    refused(path, value, *named)


@pytest.mark.parametrize(
    "path",
    [
        "scale",
        "methods.distill.recalibration",
        "methods.first_ts.c",
        "scales.tiny.student.seeds",
        "scales.tiny.encoding",
        "scales.smoke.data.split_seed",
        "scales.paper.resources.teacher.runtime",
    ],
)
def test_missing_keys_are_named(path):
    config = merged()
    container, key = at(config, path)
    del container[key]
    with pytest.raises(UserError, match=rf"config: .*\b{key}\b"):
        check(config)


def test_a_misspelt_key_is_named_as_it_stands():
    """Not only as the one that is missing."""
    config = merged()
    student = config["scales"]["tiny"]["student"]
    student["seedz"] = student.pop("seeds")
    with pytest.raises(UserError, match="tiny.student: unknown key 'seedz': did you mean 'seeds'"):
        check(config)


def closed_objects() -> list[str]:
    """Paths of all mappings in the merged configuration that the schema closes."""
    found, free = [], ("data.world",)

    def walk(node, path):
        if isinstance(node, dict) and not any(f"{path}.".endswith(f".{f}.") for f in free):
            found.append(path)
            for key, child in node.items():
                if not any(f"{path}.{key}".endswith(f".{f}") for f in free):
                    walk(child, f"{path}.{key}" if path else key)

    walk(merged(), "")
    return found


@settings(max_examples=20)
@given(st.sampled_from(closed_objects()), st.from_regex(r"\A[A-Z][A-Z0-9]{3,8}\Z"))
def test_unknown_keys_are_refused_everywhere(path, name):
    refused(f"{path}.{name}" if path else name, 1, f"'{name}'", path or "top level")


@settings(max_examples=20)
@given(st.floats(allow_nan=False).filter(lambda c: not 0 < c <= 1))
def test_no_temperature_outside_0_1(c):
    refused("methods.first_c10.c", c, "methods.first_c10.c")


@settings(max_examples=20)
@given(st.floats(min_value=0, max_value=1, exclude_min=True))
def test_every_temperature_inside_0_1(c):
    config = merged()
    config["methods"]["first_c10"]["c"] = c
    check(config)


def test_readme_is_generated_from_the_schema():
    assert (FOLDER / "README.md").read_text() == reference()
    for key in ("`methods.<name>.c`", "`scales.<name>.student.seeds`"):
        assert key in reference()


def walk_schema(node, path=""):
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from walk_schema(child, f"{path}.{name}")
    for child in node.get("patternProperties", {}).values():
        yield f"{path}.<name>", child
        yield from walk_schema(child, f"{path}.<name>")
    if isinstance(node.get("items"), dict):
        yield from walk_schema(node["items"], f"{path}[]")


def test_schema_describes_every_key_and_closes_every_object():
    keys = dict(walk_schema(schema()))
    assert len(keys) > 80
    assert [path for path, node in keys.items() if not node.get("description", "").strip()] == []
    is_open = {
        path
        for path, node in keys.items()
        if node.get("type") == "object" and node.get("additionalProperties") is not False
    }
    assert is_open == set()
    assert schema()["additionalProperties"] is False


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("scales.tiny", "", r'scales\.tiny: "": it must be a mapping of keys to values'),
        ("scale", None, "scale: null: it must be text"),
        ("scales.tiny.families", ["a"], r'families: \["a"\]: it must be a mapping'),
        ("scales.tiny.student.seeds", {"a": 1}, r'seeds: \{"a": 1\}: it must be a list'),
    ],
)
def test_a_wrong_type_is_told_in_plain_words(path, value, told):
    config = merged()
    container, last = at(config, path)
    container[last] = value
    with pytest.raises(UserError, match=told):
        check(config)
