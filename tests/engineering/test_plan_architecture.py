"""A model's shape and parameters: against a closed form, published counts and wrong sources."""

import json

import pytest

from scripts.first.errors import UserError
from scripts.first.files import write_json
from scripts.first.plan.architecture import SHIPPED, architecture_of, from_config
from scripts.first.plan.scale import Scale
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


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("huggyllama--llama-30b", 32_528_943_616),  # "32.5B" in the Llama paper's Table 2
        ("meta-llama--Llama-2-13b-hf", 13_015_864_320),
    ],
)
def test_published_parameters(name, parameters):
    config = json.loads((SHIPPED / f"{name}.json").read_text())
    assert from_config(config, name).parameters == parameters


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
    from safetensors import safe_open

    settings = {"models": {"m": {"bundled": "resources/tiny/alder-student"}}}
    model = architecture_of(Scale("tiny", settings, {}), "m")
    path = tiny.REPOSITORY / "resources/tiny/alder-student/model.safetensors"
    with safe_open(path, "np") as file:
        sizes = [file.get_tensor(name).size for name in file.keys()]
    assert model.parameters == sum(sizes)
