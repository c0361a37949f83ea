"""Tiny models of twelve architectures, each with a tokenizer of its kind, in Hugging Face layout.

They are written by transformers, tokenizers and sentencepiece alone, not by the code under test.
Weights are random, tokenizers are trained on the prompts' own text: `Yes`, `No` and letters are
one token after their prompts.
"""

import json
import os
import random
from functools import cache
from pathlib import Path

from tests import tiny_models as tiny

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
SIZES |= {"num_attention_heads": 4, "max_position_embeddings": 512}
GROUPED = {**SIZES, "num_key_value_heads": 2}
NARROW = {**GROUPED, "head_dim": 8}
# Without dropout, which is the default of the older three.
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512}
OPT = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
OPT |= {"max_position_embeddings": 512, "word_embed_proj_dim": 32}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
VISION |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Name: (model_type, settings of its configuration, kind of its tokenizer).
FAMILIES = {
    "llama": ("llama", GROUPED, "llama"),
    "qwen2": ("qwen2", {**GROUPED, "tie_word_embeddings": True}, "qwen"),
    "qwen3": ("qwen3", NARROW, "qwen"),
    "mistral": ("mistral", {**GROUPED, "sliding_window": 24}, "llama"),
    "mixtral": ("mixtral", {**GROUPED, "num_local_experts": 4}, "llama"),
    "gemma2": ("gemma2", {**NARROW, "query_pre_attn_scalar": 8, "sliding_window": 24}, "gemma"),
    "gemma3-text": ("gemma3_text", {**NARROW, "sliding_window": 24}, "gemma"),
    "gemma3": (
        "gemma3",
        {"text_config": {**NARROW, "sliding_window": 24}, "vision_config": VISION},
        "gemma",
    ),
    "gpt-neox": ("gpt_neox", SIZES, "neox"),
    "gpt2": ("gpt2", GPT2, "gpt2"),
    "opt": ("opt", OPT, "opt"),
    "phi3": ("phi3", SIZES, "phi3"),
    "smollm2": ("llama", {**GROUPED, "tie_word_embeddings": True}, "smollm2"),
}
# Kind of tokenizer: (whether it puts BOS before a text, its EOS).
TOKENS = {
    "llama": (True, "</s>"),
    "sentencepiece": (True, "</s>"),
    "llama3": (True, "<|end_of_text|>"),
    "gemma": (True, "<eos>"),
    "phi3": (True, "<|endoftext|>"),
    "opt": (True, "</s>"),
    "qwen": (False, "<|endoftext|>"),
    "neox": (False, "<|endoftext|>"),
    "gpt2": (False, "<|endoftext|>"),
    "smollm2": (False, "<|endoftext|>"),
}


@cache
def text() -> list[str]:
    """What tokenizers are trained on: prompts, answers, numbers and words of syllables."""
    makers = (tiny.choice_rows, tiny.yes_no_rows, tiny.instruction_rows)
    rows = [row for make in makers for row in make(200, 9)]
    lines = [row["prompt"] + row["response"] for row in rows]
    lines += [f"A: The answer is ({letter})." for letter in "abcdeABCDE"] * 20
    lines += [f"({word}) {number}" for word in ("Yes", "No") for number in range(1220, 1260)] * 5
    draw = random.Random(9)
    syllables = [a + b for a in "bdfgklmnprstvw" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(300)]
    return lines + [" ".join(draw.choices(words, k=12)).capitalize() + "." for _ in range(300)]


@cache
def tokenizer(kind: str) -> Path:
    """Folder with the tokenizer files of a kind, a key of TOKENS."""
    folder = tiny.root() / "tokenizers" / kind
    folder.mkdir(parents=True)
    makers = {"llama": _llama, "sentencepiece": _sentencepiece, "gemma": _gemma, "phi3": _phi3}
    if kind in makers:
        makers[kind](folder)
    else:
        _byte_level(folder, kind)
    return folder


@cache
def model(name: str, seed: int = 0, padding: int = 0, layers: int = 3) -> Path:
    """Folder of a model of a family, a key of FAMILIES; `padding` are outputs without tokens."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    kind, settings, tokens = FAMILIES[name]
    source = tokenizer(tokens)
    known = AutoTokenizer.from_pretrained(source) if tokens != "sentencepiece" else None
    vocabulary = {"vocab_size": (len(known) if known else 600) + padding}
    vocabulary["n_layer" if kind == "gpt2" else "num_hidden_layers"] = layers
    vocabulary |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
    if known:
        vocabulary |= {"bos_token_id": known.bos_token_id, "eos_token_id": known.eos_token_id}
    if "text_config" in settings:
        settings = {**settings, "text_config": {**settings["text_config"], **vocabulary}}
    else:
        settings = {**settings, **vocabulary}
    folder = tiny.root() / "families" / f"{name}-{seed}-{padding}-{layers}"
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
    for parameter in made.parameters():  # logits that spread
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    made.save_pretrained(folder)
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def _save(folder: Path, **files: object) -> None:
    for name, content in files.items():
        path = folder / (f"{name}.txt" if isinstance(content, str) else f"{name}.json")
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def _byte_level(folder: Path, kind: str) -> None:
    """GPT-2's kind: bytes and merges; as tokenizer.json, or as vocab.json and merges.txt."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    bos, eos = TOKENS[kind]
    specials = {
        "llama3": ["<|begin_of_text|>", eos],
        "opt": ["<s>", "<pad>", "</s>", "<unk>"],
        "qwen": [eos, "<|im_start|>", "<|im_end|>"],
        "smollm2": [eos, "<|im_start|>", "<|im_end|>"],
        "neox": [eos, "<|padding|>"],
    }.get(kind, [eos])
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "qwen":
        trained.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated")
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        trained.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(text(), trainer)
    first = specials[0] if kind in ("llama3", "smollm2") else eos
    names = {"bos_token": None if kind == "qwen" else first, "eos_token": eos}
    names |= {"unk_token": None if kind == "qwen" else eos}
    classes = {"qwen": "Qwen2Tokenizer", "neox": "GPTNeoXTokenizer"}
    classes |= {"llama3": "PreTrainedTokenizerFast"}
    config = {"tokenizer_class": classes.get(kind, "GPT2Tokenizer"), **names}
    if kind in ("gpt2", "opt"):
        found = json.loads(trained.to_str())["model"]
        merges = "".join(f"{left} {right}\n" for left, right in found["merges"])
        _save(folder, vocab=found["vocab"], merges=f"#version: 0.2\n{merges}")
    else:
        if bos:
            processors_of = processors.TemplateProcessing
            token = (first, trained.token_to_id(first))
            trained.post_processor = processors_of(f"{first} $A", special_tokens=[token])
        trained.save(str(folder / "tokenizer.json"))
    if kind == "opt":  # the tokens' names are in the older file alone
        config = {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True}
        _save(folder, special_tokens_map={**names, "pad_token": "<pad>"})
    _save(folder, tokenizer_config=config)


def _sentencepiece(folder: Path) -> None:
    """OpenLlama's form: tokenizer.model and its settings alone."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text()),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=600,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        user_defined_symbols=["\n"],
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    config = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False}
    _save(folder, tokenizer_config=config, special_tokens_map={"bos_token": "<s>"})
    config |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    _save(folder, tokenizer_config=config)


def _llama(folder: Path, extra: tuple[str, ...] = (), bos: bool = True) -> None:
    """Llama 2's form: tokenizer.model, and tokenizer.json with the same pieces."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    _sentencepiece(folder)
    vocab, merges = _pieces(folder / "tokenizer.model")
    made = Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    tokens = ["<unk>", "<s>", "</s>", *extra]
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in tokens])
    if bos:
        made.post_processor = processors.TemplateProcessing(
            "<s> $A", special_tokens=[("<s>", vocab["<s>"])]
        )
    made.save(str(folder / "tokenizer.json"))


def _phi3(folder: Path) -> None:
    """Phi-3's form: as Llama 2's, but EOS is a token that tokenizer.model does not have."""
    _llama(folder, ("<|endoftext|>", "<|end|>"))
    config = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>"}
    config |= {"eos_token": "<|endoftext|>", "unk_token": "<unk>", "legacy": False}
    _save(folder, tokenizer_config=config)


def _gemma(folder: Path) -> None:
    """Gemma's form: pieces without a space in front, and a tokenizer.model of the same."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    apart = [pre_tokenizers.Split(mark, "isolated") for mark in "\n()"]  # in no other token
    made.pre_tokenizer = pre_tokenizers.Sequence(apart)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    names = ["<pad>", "<eos>", "<bos>", "<unk>"]
    tokens = [AddedToken(t, special=True, normalized=False) for t in names]
    alphabet = sorted({c for line in text() for c in line.replace(" ", "▁")})
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=[*tokens, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    made.train_from_iterator((line.replace(" ", "▁") for line in text()), trainer)
    content = json.loads(made.to_str())  # bytes are pieces, not special tokens
    content["added_tokens"] = content["added_tokens"][:4]
    content["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}}
    content["pre_tokenizer"] |= {"behavior": "MergedWithPrevious", "invert": False}
    made = Tokenizer.from_str(json.dumps(content))
    made.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 2)])
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<bos>"}
    config |= {"eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _save(folder, tokenizer_config=config)


def _pieces(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(piece: id, merges in order) of a sentencepiece BPE: a merge's rank is its piece's id."""
    import sentencepiece

    found = sentencepiece.SentencePieceProcessor(model_file=str(path))
    vocab = {found.id_to_piece(i): i for i in range(found.vocab_size())}
    merges = []
    for piece, i in vocab.items():
        if not (found.is_control(i) or found.is_byte(i) or found.is_unknown(i)):
            splits = ((piece[:n], piece[n:]) for n in range(1, len(piece)))
            known = [pair for pair in splits if {*pair} <= vocab.keys()]
            merges += sorted(known, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return vocab, merges
