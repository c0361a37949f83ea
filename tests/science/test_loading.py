"""One loader for every architecture: the tensors of the files, a head that counts, no dropout."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from first_distill.errors import UserError
from first_distill.models import batching
from first_distill.models.batching import collate
from first_distill.models.checkpoints import save_checkpoint
from first_distill.models.encoding import EncodedRow, row_hash
from first_distill.models.inference import linear_head, logit_chunks, require_positions
from first_distill.models.loading import check_model, load_config, load_weights, skeleton
from first_distill.models.structure import decoder_layers, most_positions, output_size
from tests import families
from tests.variants import tensors_of, variant, with_own_head

every_family = pytest.mark.parametrize("name", families.FAMILIES)


def random_row(length: int, vocabulary: int, seed: int = 0) -> EncodedRow:
    """A row of random tokens, supervised from its middle on."""
    ids = np.random.default_rng(seed).integers(3, vocabulary, length).astype(np.int32)
    middle = length // 2
    labels = np.append(ids[middle:], ids[0])
    return EncodedRow(f"r{seed}", ids, middle, labels, row_hash(ids, middle))


@every_family
def test_read_and_written_again_it_is_the_same_file(name, tmp_path):
    """Names, shapes and bits of all tensors, though some are merged, renamed or tied inside."""
    source = families.model(name)
    save_checkpoint(load_weights(source, device="cpu"), tmp_path / "a", source, {"kind": "test"})
    before, after = tensors_of(source), tensors_of(tmp_path / "a")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@every_family
def test_skeleton_is_the_model_without_data(name):
    bare, model = skeleton(families.model(name)), load_weights(families.model(name), device="cpu")
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (bare, model)]
    assert shapes[0] == shapes[1]
    assert {p.device.type for p in (*bare.parameters(), *bare.buffers())} == {"meta"}
    config = json.loads((families.model(name) / "config.json").read_text())
    wanted = config.get("text_config", config)
    assert output_size(bare) == wanted["vocab_size"]
    assert len(decoder_layers(bare)) == wanted.get("num_hidden_layers", wanted.get("n_layer")) == 3


@every_family
def test_the_head_in_chunks_gives_the_models_own_logits(name, monkeypatch):
    """Where it is said to be a product; transformers' model, row by row, is the reference."""
    folder = families.model(name)
    model = load_weights(folder, device="cpu")
    rows = [random_row(length, output_size(model), length) for length in (9, 30, 17)]
    own = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    assert (linear_head(model) is None) is (name == "gemma2")  # its logits are capped
    monkeypatch.setitem(batching.LOGITS, "cpu", 4 * output_size(model))
    with torch.inference_mode():
        got = [part.clone() for _, part in logit_chunks(model, collate(rows, range(3), 0), {})]
        ids = [torch.tensor(row.input_ids[None].astype(int)) for row in rows]
        want = [own(i).logits[0, row.prompt_length - 1 :] for i, row in zip(ids, rows, strict=True)]
    assert (len(got) > 1) is (name != "gemma2")
    torch.testing.assert_close(torch.cat(got), torch.cat(want), atol=2e-5, rtol=0)


NOISE = {"gpt2": "attn_pdrop", "opt": "dropout", "gemma3": "text_config.attention_dropout"}
NOISE |= {"mixtral": "router_jitter_noise"}


@pytest.mark.parametrize("name", NOISE)
def test_training_mode_has_no_noise(name, tmp_path):
    key = NOISE[name]
    folder = variant(tmp_path / "m", name, {key: 0.4})
    assert [AutoConfig.from_pretrained(folder).get_text_config().to_dict()[key.split(".")[-1]]] == [
        0.4
    ]
    model, ids = load_weights(folder, device="cpu").train(), torch.arange(3, 60)[None]
    assert torch.equal(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize("equal", [False, True])
def test_a_head_of_its_own_counts(tmp_path, equal):
    """In a configuration that says tied; what is saved is what was read, and says so."""
    folder = variant(tmp_path / "m", "qwen2", tensors=partial(with_own_head, equal=equal))
    tensors, model = tensors_of(folder), load_weights(folder, device="cpu")
    assert torch.equal(model.lm_head.weight, tensors["lm_head.weight"])
    assert torch.equal(model.model.embed_tokens.weight, tensors["model.embed_tokens.weight"])
    save_checkpoint(model, tmp_path / "saved", folder, {"kind": "test"})
    again, said = load_weights(tmp_path / "saved", device="cpu"), tmp_path / "saved/config.json"
    assert json.loads(said.read_text())["tie_word_embeddings"] is equal
    assert ("lm_head.weight" in tensors_of(tmp_path / "saved")) is not equal
    ids = torch.arange(3, 60)[None]
    assert torch.equal(model(ids).logits, again(ids).logits)


def test_generation_settings_that_contradict_themselves_do_not_matter(tmp_path):
    """transformers would refuse to save the model, after all of its training."""
    folder = variant(tmp_path / "m", "llama")
    settings = {"num_beams": 2, "num_return_sequences": 3}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    save_checkpoint(load_weights(folder), tmp_path / "saved", folder, {"kind": "test"})


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
LLAMA3 = {"rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 128}
LLAMA3 |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
SCALED = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
LAYERS = {"full_attention": SCALED, "sliding_attention": {"rope_type": "default"}}
LIMITS = {
    "default": ("llama", {}, 512),
    "linear as Vicuna 16k": ("llama", {"rope_scaling": {"type": "linear", "factor": 4.0}}, 2048),
    "dynamic": ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.5}}, 1280),
    "yarn as Qwen2.5's readme": ("qwen2", {"rope_scaling": YARN}, 2048),
    "yarn, scaled": ("llama", {"rope_scaling": YARN, "max_position_embeddings": 2048}, 2048),
    "yarn, names no original": ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, 1024),
    "llama3 as Llama 3.2": ("llama", {"rope_scaling": LLAMA3}, 512),
    "longrope as Phi-3 128k": (
        "phi3",
        {"rope_scaling": LONG, "original_max_position_embeddings": 64},
        512,
    ),
    "by layer as Gemma 3 4B": ("gemma3", {"text_config.rope_parameters": LAYERS}, 512),
    "nested": ("gemma3", {}, 512),
    "learned": ("gpt2", {}, 512),
    "learned, with an offset": ("opt", {}, 512),
}


def test_a_factor_that_is_text(tmp_path):
    scaling = {"rope_type": "dynamic", "factor": "4", "rope_theta": 1e4}
    folder = variant(tmp_path / "m", "llama", {"rope_parameters": scaling})
    assert most_positions(load_config(folder)) == 2048


@pytest.mark.parametrize("case", LIMITS)
def test_positions(case, tmp_path):
    """The scaled length, where the configuration states the short one; read in config.json's form.

    And the model really reads so many tokens.
    """
    name, changes, limit = LIMITS[case]
    if "rope_scaling" in changes:
        changes = {**changes, "rope_parameters": None}
    folder = variant(tmp_path / "m", name, changes)
    assert most_positions(load_config(folder)) == limit
    model = load_weights(folder, device="cpu")
    require_positions(model, [random_row(limit, 300)])
    with pytest.raises(UserError, match=f"r0: {limit + 1} tokens: the model reads {limit} "):
        require_positions(model, [random_row(limit + 1, 300)])
    with torch.no_grad():
        assert model(torch.arange(limit)[None] % 300).logits.isfinite().all()


def test_unused_tensors_are_told(tmp_path, capsys):
    folder = variant(tmp_path / "m", "llama", tensors=lambda t: {**t, "extra": torch.zeros(3)})
    check_model(folder)
    assert capsys.readouterr().err == f"unused tensors: {folder}: extra\n"


def test_layers_where_the_decoder_is_the_name_of_a_head(tmp_path):
    """As in ModernBERT's decoder model."""
    sizes = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "pad_token_id": 0}
    config = AutoConfig.for_model("modernbert-decoder", **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    assert len(decoder_layers(load_weights(tmp_path, device="cpu"))) == 3
