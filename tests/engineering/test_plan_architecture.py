"""A model's shape and parameters: against a closed form, published counts and wrong sources."""

import json
import math

import pytest
from safetensors import safe_open

from first_distill.errors import UserError
from first_distill.files import write_json
from first_distill.plan.architecture import SHIPPED, architecture_of, from_config
from first_distill.plan.scale import Scale
from tests import families
from tests import tiny_models as tiny

HUB = {"repo": "huggyllama/llama-7b", "revision": "0" * 40}
SETTINGS = {"models": {"m": {"hub": HUB}}}


def closed_form(c: dict) -> int:
    """Embeddings, head unless tied, four projections, SwiGLU, norms; Qwen2 has three biases."""
    h, i, width = c["hidden_size"], c["intermediate_size"], 0
    width = h // c["num_attention_heads"]
    attention = 2 * h * h + 2 * h * width * c["num_key_value_heads"]
    biases = h + 2 * width * c["num_key_value_heads"] if c.get("model_type") == "qwen2" else 0
    layer = attention + biases + 3 * h * i + 2 * h
    ends = c["vocab_size"] * h * (1 if c["tie_word_embeddings"] else 2) + h
    return c["num_hidden_layers"] * layer + ends


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_parameters_are_the_closed_form(path):
    config = json.loads(path.read_text())
    model = from_config(config, path.name)
    assert model.parameters == closed_form(config)
    assert model.layers * model.layer_parameters + model.root_parameters == model.parameters


GEMMA = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256}
NEOX = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
# As published: the rest are the defaults of the architecture's configuration.
PUBLISHED = {
    "llama-30b": ("huggyllama--llama-30b", 32_528_943_616),  # "32.5B" in the Llama paper's Table 2
    "llama-2-13b": ("meta-llama--Llama-2-13b-hf", 13_015_864_320),
    "qwen2.5-1.5b": ("Qwen--Qwen2.5-1.5B", 1_543_714_304),
    "qwen2.5-0.5b": ("Qwen--Qwen2.5-0.5B", 494_032_768),
    "gpt2": ({"model_type": "gpt2"}, 124_439_808),
    "opt-125m": ({"model_type": "opt"}, 125_239_296),
    "opt-350m": (
        {
            **{"model_type": "opt", "hidden_size": 1024, "word_embed_proj_dim": 512},
            **{"ffn_dim": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
            "do_layer_norm_before": False,
        },
        331_196_416,
    ),
    "pythia-410m": (
        {"model_type": "gpt_neox", **NEOX, "num_attention_heads": 16, "vocab_size": 50304},
        405_334_016,
    ),
    "mistral-7b": (
        {"model_type": "mistral", "intermediate_size": 14336, "num_key_value_heads": 8},
        7_241_732_096,
    ),
    "mixtral-8x7b": ({"model_type": "mixtral"}, 46_702_792_704),
    "phi-3-mini": ({"model_type": "phi3"}, 3_821_079_552),
    "gemma-2-2b": (
        {
            **{"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216},
            **{"num_hidden_layers": 26, "vocab_size": 256000, **GEMMA},
        },
        2_614_341_888,
    ),
    "gemma-3-4b": (
        {
            "model_type": "gemma3",
            "text_config": {
                **{"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34},
                **{"vocab_size": 262208, **GEMMA},
            },
            "vision_config": {
                **{"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27},
                **{"num_attention_heads": 16, "image_size": 896, "patch_size": 14},
                "vision_use_head": False,
            },
        },
        4_300_079_472,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters(name):
    config, parameters = PUBLISHED[name]
    if isinstance(config, str):
        config = json.loads((SHIPPED / f"{config}.json").read_text())
    assert from_config(config, name).parameters == parameters


def test_two_of_eight_experts_are_passed():
    """Mixtral 8x7B: "13B active parameters" of 47B."""
    model = from_config(PUBLISHED["mixtral-8x7b"][0], "test")
    ends = 2 * 32000 * 4096
    assert model.matrices + ends == pytest.approx(12.9e9, rel=0.005)
    experts = 32 * 3 * 4096 * 14336 * 8
    assert model.matrices == model.parameters - ends - 65 * 4096 - experts * 6 // 8
    assert model.layer.intermediate == 2 * 14336


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_has_the_numbers_of_its_file(name):
    """Parameters are those in the file, outputs are rows of its head, padding among them."""
    folder = families.model(name, padding=8)
    model = from_config(json.loads((folder / "config.json").read_text()), name)
    with safe_open(folder / "model.safetensors", "np") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}
    assert model.parameters == sum(math.prod(shape) for shape in shapes.values())
    tables = [
        shape
        for key, shape in shapes.items()
        if any(part in key for part in ("embed_tokens", "wte", "embed_in"))
    ]
    assert [[model.vocabulary, model.hidden]] == tables
    assert (model.layers, model.heads, model.queries) == (3, 4, 32)
    assert model.head == model.vocabulary * 32
    assert model.layers * model.layer_parameters + model.root_parameters == model.parameters


def test_layers_that_differ():
    """The largest for memory, all of them in sums: a dense layer among experts."""
    config = {
        **{"model_type": "qwen2_moe", "vocab_size": 300, "hidden_size": 32},
        **{"intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "num_experts": 8, "num_experts_per_tok": 2},
        **{"moe_intermediate_size": 48, "shared_expert_intermediate_size": 64},
        "mlp_only_layers": [1],
    }
    model = from_config(config, "test")
    attention = 2 * 32 * 32 + 2 * 32 * 16
    dense, expert = 3 * 32 * 64, 3 * 32 * 48
    mixed = attention + dense + 32 * 8 + 32  # the shared expert, the router and its gate
    assert model.matrices == attention + dense + 2 * (mixed + 2 * expert)
    norms_and_biases = 2 * 32 + 32 + 2 * 16
    assert model.layer_parameters == mixed + 8 * expert + norms_and_biases
    assert model.layer.intermediate == 64 + 2 * 48
    ends = 2 * 300 * 32 + 32
    assert model.root_parameters == ends


@pytest.mark.parametrize(
    "config, said",
    [
        ({"model_type": "wonder"}, "test: .*wonder: plan with"),
        ({}, "test: .*None: plan with"),
        ({"model_type": "t5"}, "test: .*T5Config.*: plan with"),
        ({"model_type": "mamba"}, "test: .*num_attention_heads.*: plan with"),
        ({"model_type": "llama", "num_attention_heads": 7}, r"test: .*heads \(7\): plan with"),
    ],
)
def test_what_cannot_be_planned_is_one_line(config, said):
    with pytest.raises(UserError, match=f"cannot plan this kind of model: {said}") as found:
        from_config(config, "test")
    assert "\n" not in str(found.value) and len(str(found.value)) < 300


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{bad", "unusable model: .*mine/config.json: .*: correct config.json"),
        (b"[]", "unusable model: .*mine/config.json: expected a JSON object"),
        (b'{"model_type": "bert"}', "not a causal language model: .*mine/config.json: bert is an"),
        (None, "no config.json: .*mine: use a complete"),
    ],
)
def test_a_folder_is_refused_as_a_run_refuses_it(tmp_path, content, said):
    (tmp_path / "mine").mkdir()
    if content:
        (tmp_path / "mine/config.json").write_bytes(content)
    models = {"models": {"m": {"folder": str(tmp_path / "mine")}}}
    with pytest.raises(UserError, match=said):
        architecture_of(Scale("small", models, {}), "m")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and a folder without results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_fetched_comes_first(tmp_path, cache):
    config = json.loads((SHIPPED / "huggyllama--llama-7b.json").read_text())
    config |= {"num_hidden_layers": 30, "vocab_size": 32001}
    commit = "1" * 40  # another than the pinned revision's name
    write_json(cache / "models--huggyllama--llama-7b/snapshots" / commit / "config.json", config)
    record = {"kind": "hub", "repo": HUB["repo"], "commit": commit, "files": {"config.json": {}}}
    write_json(tmp_path / "results/paper/models/m/record.json", record)
    scale = Scale("paper", SETTINGS, {})
    model = architecture_of(scale, "m")
    assert scale.sources == {"model m": "results/paper/models/m"}
    assert (model.layers, model.vocabulary) == (30, 32001)


def test_a_mirrors_configuration_comes_before_a_shipped_one(tmp_path, monkeypatch):
    config = json.loads((SHIPPED / "huggyllama--llama-7b.json").read_text())
    for name, layers in (("given", 30), ("named", 31)):
        path = tmp_path / name / HUB["repo"] / "config.json"
        write_json(path, {**config, "num_hidden_layers": layers})
    monkeypatch.setenv("FIRST_MODEL_MIRROR", str(tmp_path / "given"))
    scale = Scale("paper", SETTINGS, {})
    assert architecture_of(scale, "m").layers == 30
    assert scale.sources["model m"] == str(tmp_path / "given/huggyllama/llama-7b/config.json")
    named = Scale("paper", SETTINGS, {}, mirror=str(tmp_path / "named"))
    assert architecture_of(named, "m").layers == 31
    monkeypatch.setenv("FIRST_MODEL_MIRROR", str(tmp_path / "empty"))
    assert architecture_of(Scale("paper", SETTINGS, {}), "m").layers == 32


def test_an_unknown_model_is_one_line():
    settings = {"models": {"m": {"hub": {"repo": "some/model", "revision": "0" * 40}}}}
    advice = "model m: .*run snakemake -c2 results/paper/models/m/record.json --configfile a.yaml"
    with pytest.raises(UserError, match=advice + ", or save .*/some--model.json"):
        architecture_of(Scale("paper", settings, {}, ("a.yaml",)), "m")


def test_a_model_made_here_has_its_recipes_shape():
    recipe = {
        "tokenizer": "bpe",
        "architecture": {
            "hidden_size": 64,
            "intermediate_size": 176,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "tie_word_embeddings": True,
        },
    }
    settings = {
        "models": {"a": {"pretrain": recipe}, "b": {"pretrain": {**recipe, "start_from": "a"}}},
        "tokenizers": {"bpe": {"vocabulary_size": 4096}},
    }
    for name in ("a", "b"):
        model = architecture_of(Scale("smoke", settings, {}), name)
        wanted = {**recipe["architecture"], "num_key_value_heads": 4, "vocab_size": 4096}
        wanted["model_type"] = "llama"
        assert model.parameters == closed_form(wanted)


def test_a_pruned_model_has_its_sources_shape_with_fewer_layers():
    prune = {"from": "m", "layers": 16}
    scale = Scale("paper", {"models": {**SETTINGS["models"], "short": {"prune": prune}}}, {})
    whole = json.loads((SHIPPED / "huggyllama--llama-7b.json").read_text())
    model = architecture_of(scale, "short")
    assert (model.layers, whole["num_hidden_layers"]) == (16, 32)
    assert model.parameters == closed_form({**whole, "num_hidden_layers": 16})
    assert scale.sources["model short"] == (
        "16 layers of config/architectures/huggyllama--llama-7b.json"
    )
    prune["layers"] = 33
    with pytest.raises(
        UserError, match=r"\Atoo few layers: .*: it has 32, 33 are to be kept: .*\Z"
    ):
        architecture_of(Scale("paper", scale.settings, {}), "short")


def test_a_shipped_checkpoint_has_as_many_numbers_in_its_file():
    settings = {"models": {"m": {"bundled": "resources/tiny/alder-student"}}}
    model = architecture_of(Scale("tiny", settings, {}), "m")
    path = tiny.REPOSITORY / "resources/tiny/alder-student/model.safetensors"
    with safe_open(path, "np") as file:
        sizes = [file.get_tensor(name).size for name in file.keys()]
    assert model.parameters == sum(sizes)
