"""What is no causal language model is refused in one line, by what it is, before it is read."""

import json

import pytest
import torch
import transformers

from first_distill.errors import UserError
from first_distill.models.loading import check_model, load_weights
from scripts import models
from tests import families
from tests.variants import variant

SMALL = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 32}
BART = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
BART |= {"decoder_attention_heads": 2, "vocab_size": 100}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 100}
NEXT = "use a model that predicts the next token"
OTHERS = {
    "BertForMaskedLM": (SMALL, f"bert is an encoder: {NEXT}"),
    "RobertaForMaskedLM": (SMALL, f"roberta is an encoder: {NEXT}"),
    "T5ForConditionalGeneration": (T5, f"t5 is an encoder-decoder: {NEXT}"),
    "BartForConditionalGeneration": (BART, f"bart is an encoder-decoder: {NEXT}"),
    "ViTModel": (SMALL, f"vit is no language model: {NEXT}"),
    "LlamaForSequenceClassification": (SMALL, "is a model with another head"),
    "LlamaModel": (SMALL, "missing tensor: .*: lm_head.weight: LlamaForCausalLM needs it"),
}
CHANGED = {
    "vocab_size": ("llama", {"vocab_size": 599}, "says 599, but the weights have 600 rows: lm_he"),
    "tied": ("qwen2", {"vocab_size": 999}, "it says 999, but the weights have 400 rows: model.em"),
    "nested": ("gemma3", {"text_config.vocab_size": 700}, "wrong vocab_size: .*config.json: it"),
    "width": (
        "llama",
        {"intermediate_size": 48},
        r"other shape: .*model.safetensors: model.layers.0.mlp.down_proj.weight: \(32, 64\), but",
    ),
    "merged": ("mixtral", {"intermediate_size": 48}, "other shape: .*mlp.experts.down_proj"),
    "shallow": ("llama", {"num_hidden_layers": 2}, "without a place: .*layers.2.input_layernorm"),
    "deep": ("llama", {"num_hidden_layers": 4}, "missing tensor: .*layers.3.* and 6 more"),
    "unknown": (
        "llama",
        {"model_type": "new"},
        "unknown architecture: .*config.json: model_type n",
    ),
    "no type": ("llama", {"model_type": None}, "no model_type: .*config.json: add"),
    "code": ("llama", {"model_type": "new", "auto_map": {"AutoConfig": "c.C"}}, "code of its own"),
    "quantised": (
        "llama",
        {"quantization_config": {"quant_method": "gptq"}},
        "checkpoint: .*: gptq",
    ),
    "quantised inside": (
        "gemma3",
        {"text_config.quantization_config": {"quant_method": "awq"}},
        "checkpoint: .*: awq",
    ),
    "other file": (
        "llama",
        {"transformers_weights": "other.safetensors"},
        "weights of another name: .*config.json: .*other.safetensors",
    ),
    "biases": (
        "qwen2",
        {"model_type": "llama"},
        "without a place: .*: model.layers.0.self_attn.k_proj.bias",
    ),
    "norms": (
        "qwen3",
        {"model_type": "llama"},
        "without a place: .*: model.layers.0.self_attn.k_norm.weight",
    ),
    "package": ("llama", {"_attn_implementation": "flash_attention_2"}, "not installed: .*Flash"),
    "type": ("llama", {"hidden_size": "x"}, "unusable model: .*config.json: .*'hidden_size'"),
    "heads": ("llama", {"num_attention_heads": 3}, "unusable model: .*not a multiple"),
    "scaling": ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "unusable model: .*factor"),
    "other head": ("qwen2", {"architectures": ["Qwen2ForTokenClassification"]}, "another head"),
    "embedding": ("gemma3-text", {"use_bidirectional_attention": True}, "is an encoder"),
}
FILES = {
    "no config": ("config.json", None, "no config.json"),
    "empty config": ("config.json", b"", "unusable model: .*config.json: Expecting value"),
    "list": ("config.json", b"[1]", "config.json: expected a JSON object"),
    "no weights": ("model.safetensors", None, "no weights: .*model.safetensors: .*in safetensors"),
    "cut": ("model.safetensors", b"\x08" + bytes(7) + b"{}", "unusable model: .*model.safetensors"),
}


def refused(folder, match):
    """Refused by its structure and on loading, in the same single line."""
    for use in (check_model, load_weights):
        with pytest.raises(UserError, match=match) as caught:
            use(folder)
        assert "\n" not in str(caught.value) and "remake" not in str(caught.value)


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_of_models(name, tmp_path):
    settings, line = OTHERS[name]
    kind = getattr(transformers, name)
    kind(kind.config_class(**settings)).save_pretrained(tmp_path)
    refused(tmp_path, line)


@pytest.mark.parametrize("case", CHANGED)
def test_configurations(case, tmp_path):
    name, changes, line = CHANGED[case]
    refused(variant(tmp_path / "m", name, changes), line)


@pytest.mark.parametrize("case", FILES)
def test_files(case, tmp_path):
    folder, (name, content, line) = variant(tmp_path / "m", "llama"), FILES[case]
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    refused(folder, line)


def eighth(tensors):
    """As quantisers write it who leave the configuration alone."""
    name = "model.layers.1.mlp.up_proj.weight"
    whole = {name: tensors[name].to(torch.float8_e4m3fn)}
    return {**tensors, **whole, f"{name}_scale": torch.ones(1)}


def without_prefix(tensors):
    """GPT-2's names on the hub."""
    return {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}


def adapted(tensors):
    name = "model.layers.0.self_attn.q_proj.lora_A.weight"
    return {**tensors, name: torch.ones(2, 32)}


@pytest.mark.parametrize(
    ("name", "changes", "tensors", "line"),
    [
        ("llama", {}, eighth, r"quantised checkpoint: .*layers.1.mlp.up_proj.weight is F8_E4M3"),
        ("gpt2", {"n_layer": 2}, without_prefix, "without a place: .*: h.2.attn.c_attn.weight"),
        ("llama", {}, adapted, "without a place: .*: model.layers.0.self_attn.q_proj.lora_A"),
    ],
)
def test_tensors(name, changes, tensors, line, tmp_path):
    refused(variant(tmp_path / "m", name, changes, tensors), line)


def test_masks_and_versions_in_the_files_are_no_weights(tmp_path):
    def older(tensors):
        mask = torch.ones(1, 1, 8, 8, dtype=torch.bool)
        return {**tensors, "model.layers.0.mask": mask, "model.layers.0.version": torch.zeros(1)}

    check_model(variant(tmp_path / "m", "llama", {}, older))


def test_names_of_tensors_are_printable(tmp_path, capsys):
    def strange(tensors):
        return {**tensors, "evil\n\x1b[31merror": torch.zeros(2), "x" * 10_000: torch.zeros(2)}

    check_model(variant(tmp_path / "m", "llama", {}, strange))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable() and r"evil\n\x1b[31merror" in line and len(line) < 500


def test_a_shard_that_the_index_names(tmp_path):
    folder = variant(tmp_path / "m", "llama")
    (folder / "model.safetensors").rename(folder / "part-a.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "part-a.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    check_model(folder)  # whatever the files are called
    (folder / "part-a.safetensors").rename(folder / "part-b.safetensors")
    refused(folder, "no weights: .*part-a.safetensors")


def test_refused_when_it_is_recorded(tmp_path):
    """Before anything is trained on it: from a mirror, and from a folder with a record."""
    variant(tmp_path / "mirror/me/bert", "llama", {"model_type": "bert"})
    words = ["hub", "--repo", "me/bert", "--revision", "mine", "--mirror", f"{tmp_path}/mirror"]
    with pytest.raises(UserError, match="config.json: bert is an encoder"):
        models.main([*words, "--output-dir", f"{tmp_path}/out"])
    assert not (tmp_path / "out").exists()
    variant(tmp_path / "mirror/me/llama", "llama")
    words[2] = "me/llama"
    assert models.main([*words, "--output-dir", f"{tmp_path}/out"]) == 0
    assert (tmp_path / "out/record.json").is_file()
    from first_distill.provenance import records

    bad = variant(tmp_path / "bad", "llama", {"vocab_size": 599})
    names = [path.name for path in families.model("llama").iterdir()]
    records.write(bad / "record.json", {"kind": "test"}, names)
    with pytest.raises(UserError, match="wrong vocab_size"):
        models.main(["copy", "--source", str(bad), "--output-dir", f"{tmp_path}/copy"])
    assert not (tmp_path / "copy").exists()
