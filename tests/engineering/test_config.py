"""The configuration: every scale is valid, and every mistake is one line that names the key."""

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from first_distill.calibration.recalibration import RECALIBRATIONS
from first_distill.calibration.temperature_search import FITS
from first_distill.config.claims import CLAIMS
from first_distill.config.datasets import used
from first_distill.config.load import FOLDER, load, merge, own_files, read, validated
from first_distill.config.reference import generated, schema
from first_distill.errors import UserError
from first_distill.reporting.claims.methods import CLAIMS as method_claims
from first_distill.reporting.claims.teacher import CLAIMS as teacher_claims
from first_distill.training.losses import STUDENT_SIDES
from tests.system.faults.mutations import at, merged, places, rule_for

SCALES = sorted(path.stem for path in (FOLDER / "scales").glob("*.yaml"))
TINY, SMOKE, PAPER = "scales.tiny", "scales.smoke", "scales.paper"
SHAPE = f"{TINY}.models.alder-student.pretrain.architecture"


def pruned(source: str, layers: int = 2) -> dict:
    """A model made from another one."""
    return {"prune": {"from": source, "layers": layers}}


PRUNE = pruned("alder-student")


def changed(path: str, value) -> dict:
    """The configuration with another value at a dotted path (`0` indexes a list); None removes."""
    config = merged()
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    if value is None:
        del at(config, parents)[last]
    else:
        at(config, parents)[last] = value
    return config


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_is_valid_and_is_alone_in_its_file(name):
    content = yaml.safe_load((FOLDER / "scales" / f"{name}.yaml").read_text())
    assert [*content["scales"]] == [name]
    assert validated({**merged(), "scale": name})["scale"] == name


@pytest.mark.parametrize("path", own_files(), ids=lambda path: path.name)
def test_every_reader_of_yaml_reads_the_same(path):
    """Snakemake's, ours, and PyYAML's own, which is stricter within braces."""
    content = read(path)
    assert yaml.load(path.read_text(), yaml.SafeLoader) == load_configfile(str(path)) == content


def test_validation_adds_nothing_and_changes_nothing():
    """Rules rely on absent keys; a whole number is never handed to a script as 5.0."""
    config = load(own_files())
    assert config == merged()
    for path in places(config):
        if rule_for(path).get("type") == "integer":
            assert type(at(config, path)) is int, path


def test_text_becomes_numbers_and_booleans():
    """Snakemake's --config leaves nested values as text."""
    training = {"learning_rate": "2e-5", "batch_size": "8", "gradient_checkpointing": "true"}
    tiny = {"student": {"seeds": ["1", "2"], "training": training}}
    tiny |= {"encoding": {"append_eos": "False"}, "knowledge": {"k": 4.0}}
    overrides = {"methods": {"first_ts": {"c": "0.5"}}, "scales": {"tiny": tiny}}
    overrides["fetch"] = {"partition": "null"}
    config = load(own_files(), overrides)
    assert config["methods"]["first_ts"] == {**merged()["methods"]["first_ts"], "c": 0.5}
    student = config["scales"]["tiny"]["student"]
    assert student["seeds"] == [1, 2]
    assert student["training"]["learning_rate"] == 2e-5
    assert student["training"]["batch_size"] == 8
    assert student["training"]["gradient_checkpointing"] is True
    assert config["scales"]["tiny"]["encoding"] == {"block_length": 160, "append_eos": False}
    assert repr(config["scales"]["tiny"]["knowledge"]["k"]) == "4"
    assert config["fetch"]["partition"] is None


def test_a_scale_may_have_one_dataset_and_one_column():
    config = merged()
    tiny = config["scales"]["mine"] = copy.deepcopy(config["scales"]["tiny"])
    tiny["settings"] = {"in_domain": {"boolq": "boolq"}}
    assert validated(config)["scales"]["mine"]["settings"] == {"in_domain": {"boolq": "boolq"}}
    assert used(config["scales"]["mine"]) == {
        "boolq": {"train", "validation", "test"},
        "pretraining": {"train"},
    }
    tiny["settings"]["out_of_domain"] = {"cmqa": "boolq"}
    with pytest.raises(UserError, match=r"mine.settings.out_of_domain.cmqa: not in datasets: did"):
        validated(config)


def test_a_model_may_be_made_from_another_and_keeps_its_key():
    """A chain too; from a model on the hub as many layers as its files turn out to have."""
    config = merged()
    config["scales"]["tiny"]["models"] |= {"short": PRUNE, "again": pruned("short")}
    hub = next(
        name for name, model in config["scales"]["paper"]["models"].items() if "hub" in model
    )
    config["scales"]["paper"]["models"]["short"] = pruned(hub, 99)
    assert validated(config) == config
    config["scales"]["tiny"]["models"]["again"] = pruned("short", 3)
    with pytest.raises(UserError, match=r"models.again.prune.layers: 3: short has 2: see"):
        validated(config)
    config["scales"]["tiny"]["models"] |= {"short": pruned("again"), "again": pruned("short")}
    with pytest.raises(UserError, match=r"prune.from: \w+ is made from itself"):
        validated(config)


LAYERS = st.recursive(
    st.integers() | st.none(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner)
)


@settings(max_examples=50)
@given(*[st.dictionaries(st.sampled_from("abc"), LAYERS, min_size=1)] * 2)
def test_files_are_merged_as_snakemake_merges_them(below, above):
    expected = copy.deepcopy(below)
    update_config(expected, copy.deepcopy(above))
    before = copy.deepcopy([below, above])
    # Over a value that is no mapping Snakemake ignores an empty mapping; here it is an error later.
    if all(at(above, path) != {} for path in places(above)):
        assert merge(below, above) == expected
    assert [below, above] == before


MISTAKES = [
    ("scale", "tinny", "scale: 'tinny' is not in scales: did you mean 'tiny'?"),
    ("__use_yte__", True, "top level: unknown key '__use_yte__'"),
    ("fetch.partition", "net;touch${IFS}x", "fetch.partition: 'net"),
    ("methods.first-tail", {}, "methods: name 'first-tail': names have the form "),
    ("methods.first_ts.c", 0, "methods.first_ts.c: 0: Input should be greater than 0"),
    ("methods.first_ts.c", True, "methods.first_ts.c: True: should be a number"),
    ("methods.first_ts.objective", "rl", "first_ts.objective: 'rl': Input should be 'none', 't"),
    ("methods.distill.recalibration", "nope", "distill.recalibration: 'nope': Input should be 'n"),
    ("methods.first_ts", {"objective": "knowledge", "recalibration": "none"}, "first_ts.c: miss"),
    ("methods.teacher.objective", "hard_labels", "methods.teacher: tables and figures need it"),
    ("methods.distill.c", 0.3, "methods.distill.c: has no effect with recalibration none"),
    ("methods.first_c10.c", None, "methods.first_c10: missing key c: recalibration prob_softmax"),
    ("methods.finetune.c", 0.3, "methods.finetune.c: has no effect with"),
    ("methods.finetune_ts.of", None, "methods.finetune_ts: missing key of"),
    ("methods.finetune_ts.of", "finetuned", "methods.finetune_ts.of: 'finetuned' is not in"),
    ("methods.finetune_ts.of", "base", "methods.finetune_ts.of: base trains no model"),
    ("methods.finetune_ts.of", "finetune_ts_ece", "finetune_ts.of: finetune_ts_ece trains no mo"),
    ("methods.finetune_ts.fit", None, "methods.finetune_ts: missing key fit: objective posthoc"),
    ("methods.finetune_ts.fit", "brier", "finetune_ts.fit: 'brier': Input should be 'nll' or 'e"),
    ("methods.self_first.teacher", "teacher", "teacher: teacher trains no student with hard la"),
    ("methods.self_first.teacher", "distill", "teacher: distill trains no student with hard la"),
    ("methods.self_first.teacher", "finetuned", "first.teacher: 'finetuned' is not in methods: "),
    ("methods.finetune.teacher", "finetune", "methods.finetune.teacher: has no effect with obj"),
    ("methods.distill_lt.c", 0.3, "methods.distill_lt.c: has no effect with recalibration logit"),
    ("methods.distill.fit", "nll", "methods.distill.fit: has no effect with objective knowledge"),
    ("table1.methods.0", "finetun", "table1.methods.0: 'finetun' is not in methods: did you mean"),
    (TINY, "", "scales.tiny: '': Input should be a valid dictionary"),
    (f"{TINY}.settings", {}, "tiny.settings: {}: Dictionary should have at least 1 item"),
    (f"{TINY}.settings.in_domain.csqa", "alpaca", "csqa: trained on alpaca is not in_domain"),
    (f"{TINY}.settings.in_domain.mmlu", "csqa", "in_domain.mmlu: not in datasets: one of csqa"),
    (f"{TINY}.settings.in_domain.csqa", "mmlu", "in_domain.csqa: 'mmlu' is not in datasets: one"),
    (f"{TINY}.corpora", ["csqa"], "scales.tiny: unknown key 'corpora': one of description, data"),
    (f"{TINY}.figures.benchmark", "movie", "figures.benchmark: 'movie' is not in settings: one of"),
    (f"{TINY}.families.alder.student", "oak", "alder.student: 'oak' is not in models"),
    (f"{TINY}.families.alder.bos", "no", "families.alder.bos: 'no': Input should be 'auto', 'al"),
    (f"{TINY}.figures.family", "oak", "tiny.figures.family: 'oak' is not in families"),
    (f"{TINY}.figures.figure6_methods", ["first_c10"] * 2, "figure6_methods: ['first_c10', 'fi"),
    (f"{TINY}.figures.figure6_methods", ["first_ts"], "figure6_methods.0: first_ts has no fixed c"),
    (f"{TINY}.knowledge.k", 200, "knowledge.stored_k: 100: should be at least k, 200"),
    (f"{TINY}.claims.by_design", ["headline_ecce"], "'headline_ecce' is no claim: did you mean 'h"),
    (
        f"{TINY}.claims.by_design",
        ["top5_mass"] * 2,
        "by_design: ['top5_mass', 'top5_mass']: should",
    ),
    (f"{TINY}.claims.by_design", [5], "claims.by_design.0: 5: Input should be a valid string"),
    (f"{TINY}.claims", {}, "scales.tiny.claims: missing key by_design: see"),
    (f"{TINY}.student.seeds", [1, "1"], "student.seeds: [1, '1']: should not list an entry twice"),
    (f"{TINY}.student.seeds", [True], "student.seeds.0: True: should be a number"),
    (f"{TINY}.resources.teacher", None, "tiny.resources: missing key teacher"),
    (f"{TINY}.resources.data.nodes", 2, "resources.data.nodes: has no effect with stage data"),
    (f"{TINY}.data.world", None, "tiny.data: pretraining: datasets.pretraining has no repo and no"),
    (f"{TINY}.data.world.sizes.obqa.test", None, "sizes.obqa: needs ('train', 'validation', 't"),
    (f"{TINY}.data.rows.pretraining", None, "data.rows.pretraining: missing key train"),
    (f"{SMOKE}.tokenizers.bpe.text", None, "tokenizers.bpe: missing key text"),
    (f"{PAPER}.tokenizers", {"w": {"kind": "world"}}, "tokenizers.w.kind: kind world needs"),
    (f"{PAPER}.models.llama1-7b.weights", "bin", "llama1-7b.weights: 'bin': Input should be 'pick"),
    (f"{PAPER}.models.llama1-7b", {"weights": "pickle"}, "models.llama1-7b: needs one of hub"),
    (f"{TINY}.models.alder-student.weights", "pickle", "student.weights: has no effect without h"),
    (f"{TINY}.models.pairs", {"bundled": "resources/x"}, "models.pairs: reserved name"),
    (f"{TINY}.models.alder-student.pretrain", None, "alder-student has no key pretrain"),
    (f"{TINY}.models.alder-teacher.pretrain.start_from", "alder-teacher", "continues from itself"),
    (f"{TINY}.models.pruned", {"bundled": "resources/x"}, "models.pruned: reserved name"),
    (
        f"{TINY}.models.short",
        PRUNE | {"bundled": "resources/x"},
        "models.short: needs one of hub",
    ),
    (f"{TINY}.models.short", {}, "models.short: needs one of hub, folder and prune, or"),
    (f"{TINY}.models.short", {"prune": {"from": "oak"}}, "short.prune: missing key layers: see"),
    (f"{TINY}.models.short", {"prune": {"layers": 2}}, "short.prune: missing key from: see"),
    (f"{TINY}.models.short", pruned("oak"), "models.short.prune.from: 'oak' is not in models: one"),
    (f"{TINY}.models.short", pruned("short"), "models.short.prune.from: short is made from itself"),
    (
        f"{TINY}.models.short",
        pruned("alder-student", 1),
        "short.prune.layers: 1: Input should be gr",
    ),
    (f"{TINY}.models.short", pruned("alder-student", 3), "prune.layers: 3: alder-student has 2"),
    (f"{TINY}.models.short", pruned("alder-teacher", 3), "prune.layers: 3: alder-teacher has 2"),
    (f"{SHAPE}.num_atention_heads", 4, "unknown key 'num_atention_heads': did you mean"),
    (f"{SHAPE}.num_attention_heads", 3, "num_attention_heads: 6 should divide hidden_size 64"),
    (f"{SHAPE}.num_key_value_heads", 3, "num_key_value_heads: 3 should divide num_attention_heads"),
    (f"{SHAPE}.max_position_embeddings", 100, "embeddings: should be at least 160"),
]


def refused(path: str, value, said: str) -> None:
    """One line, that names the key."""
    with pytest.raises(UserError) as caught:
        validated(changed(path, value))
    message = str(caught.value)
    assert message.startswith("config: ") and message.isprintable() and len(message) < 600
    assert said in message


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES, ids=[repr(m[2]) for m in MISTAKES])
def test_mistakes_name_their_key(path, value, said):
    refused(path, value, said)


def test_a_misspelt_key_is_named_as_it_stands():
    """Not only as the one that is missing."""
    config = merged()
    student = config["scales"]["tiny"]["student"]
    student["seedz"] = student.pop("seeds")
    with pytest.raises(UserError, match="tiny.student: unknown key 'seedz': did you mean 'seeds'"):
        validated(config)


def test_the_reference_is_up_to_date():
    assert (FOLDER / "README.md").read_text() == generated(), "run first_distill.config.reference"
    for key in ("`methods.<name>.c`", "`scales.<name>.student.seeds`"):
        assert key in generated()


def test_choices_are_those_of_the_code():
    method = schema()["$defs"]["Method"]["properties"]
    assert method["fit"]["enum"] == [*FITS]
    assert method["recalibration"]["enum"] == [*RECALIBRATIONS]
    assert method["student_side"]["enum"] == [*STUDENT_SIDES]
    assert {*CLAIMS} == {claim.id for claim in method_claims} | teacher_claims.keys()


def test_every_key_is_described_and_every_mapping_is_closed():
    objects = [schema(), *schema()["$defs"].values()]
    keys = [pair for node in objects for pair in node["properties"].items()]
    assert len(keys) > 80
    assert [key for key, node in keys if not node.get("description", "").strip()] == []
    assert [node["title"] for node in objects if node["additionalProperties"] is not False] == []
