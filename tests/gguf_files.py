"""GGUF files as llama.cpp's converter lays them out, and a reader of its own for them.

Files are written by the package gguf; its parser gives bytes and metadata, and everything else is
computed here, in float64, as llama.cpp does: blocks, rotary embedding, byte-level merges.
"""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, GGUFWriter
from gguf.quants import quantize

from tests import families

WIDTH, INNER, LAYERS, HEADS, GROUPS = 64, 96, 2, 4, 2
BASE, EPSILON = 5000.0, 1e-5
KINDS = {"attn_q": Kind.Q4_1, "attn_k": Kind.Q8_0, "attn_v": Kind.F16, "attn_output": Kind.Q4_1}
KINDS |= {"ffn_gate": Kind.Q4_1, "ffn_up": Kind.Q8_0, "ffn_down": Kind.Q4_1}
KINDS |= {"token_embd": Kind.Q8_0, "output": Kind.F16}
PARTS = r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"  # ASCII
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]{1,3}| ?[^\sA-Za-z0-9]+"
LLAMA3 += r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How llama.cpp splits ASCII text, by tokenizer.ggml.pre: one pattern after the other.
SPLITS = {"gpt-2": [PARTS], "smollm": [r"[0-9]", PARTS], "llama-bpe": [LLAMA3]}
SPLITS["qwen2"] = [LLAMA3.replace("{1,3}", "")]


def write(
    path: Path,
    architecture: str = "llama",
    tied: bool = False,
    tokens: dict | None = None,
    factors: list[float] | None = None,
    without: str = "",
    extra: dict | None = None,
    rows: int | None = None,
    scale: float = 1.0,
    **metadata,
) -> Path:
    """A random model with the metadata `tokens` (default: byte-level, BOS not put) and `metadata`.

    factors: of the rotary frequencies. without: a tensor that is left out. extra: shapes of more.
    rows: outputs, where there are more than tokens. scale: of norms.
    """
    tokens = byte_level("gpt-2") if tokens is None else tokens
    draw = np.random.default_rng(0)
    rows = rows or len(tokens.get("tokenizer.ggml.tokens", range(400)))
    grouped = GROUPS * WIDTH // HEADS
    shapes = {"token_embd.weight": (rows, WIDTH), "output_norm.weight": (WIDTH,)}
    shapes |= {} if tied else {"output.weight": (rows, WIDTH)}
    block = {"attn_q": (WIDTH, WIDTH), "attn_k": (grouped, WIDTH), "attn_v": (grouped, WIDTH)}
    block |= {"attn_output": (WIDTH, WIDTH), "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH)}
    block |= {"ffn_down": (WIDTH, INNER), "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,)}
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in block.items()}
        if architecture == "qwen2":
            biased = ("attn_q", "attn_k", "attn_v")
            shapes |= {f"blk.{i}.{name}.bias": block[name][:1] for name in biased}
    shapes |= extra or {}
    writer = GGUFWriter(path, architecture)
    sizes = {"context_length": 512, "block_count": LAYERS, "embedding_length": WIDTH}
    sizes |= {"feed_forward_length": INNER, "attention.head_count": HEADS}
    sizes |= {"attention.head_count_kv": GROUPS, "rope.dimension_count": WIDTH // HEADS}
    numbers = {"rope.freq_base": BASE, "attention.layer_norm_rms_epsilon": EPSILON}
    own = {f"{architecture}.{key}": value for key, value in (sizes | numbers).items()}
    _add(writer, {"general.file_type": 3} | own | tokens | metadata)
    for name, shape in shapes.items():
        if name == without:
            continue
        spread = (scale, 0.3) if "norm" in name else (0.0, 0.25)
        values = draw.normal(*spread, shape).astype(np.float32)
        kind = KINDS.get(name.removesuffix(".weight").split(".")[-1], Kind.F32)
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    if factors:
        writer.add_tensor("rope_freqs.weight", np.asarray(factors, np.float32))
    return _written(writer, path)


def gemma2(path: Path, pieces: Path, layers: int, head: int = 32, **metadata) -> Path:
    """A model of Gemma 2's form, of zeros."""
    writer, tokens = GGUFWriter(path, "gemma2"), sentencepiece(pieces, add_bos_token=True)
    rows, norm = len(tokens["tokenizer.ggml.tokens"]), (WIDTH,)
    shapes = {"token_embd": (rows, WIDTH), "output_norm": norm}
    block = {"attn_q": (HEADS * head, WIDTH), "attn_output": (WIDTH, HEADS * head)}
    block |= dict.fromkeys(("attn_k", "attn_v"), (GROUPS * head, WIDTH))
    block |= {"ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}
    names = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
    block |= dict.fromkeys(names, norm)
    shapes |= {f"blk.{i}.{name}": shape for i in range(layers) for name, shape in block.items()}
    sizes = {"context_length": 512, "block_count": layers, "embedding_length": WIDTH}
    sizes |= {"feed_forward_length": INNER, "attention.head_count": HEADS}
    sizes |= {"attention.head_count_kv": GROUPS, "attention.layer_norm_rms_epsilon": EPSILON}
    own = {f"gemma2.{key}": value for key, value in sizes.items()}
    _add(writer, own | tokens | metadata)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    return _written(writer, path)


def _add(writer: GGUFWriter, metadata: dict) -> None:
    for key, value in metadata.items():
        adds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        adds |= {str: writer.add_string, list: writer.add_array}
        adds[type(value)](key, value)


def _written(writer: GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def byte_level(split: str, kind: str = "smollm2", padding: int = 0) -> dict:
    """Metadata of a tokenizer of `families` of GPT-2's kind; `padding` outputs without a token."""
    content = json.loads((families.tokenizer(kind) / "tokenizer.json").read_text())
    tokens = sorted(content["model"]["vocab"], key=content["model"]["vocab"].get)
    special = [token["content"] for token in content["added_tokens"]]
    types = [3 if token in special else 1 for token in tokens] + [5] * padding
    tokens += [f"[PAD{len(tokens) + i}]" for i in range(padding)]
    found = {"model": "gpt2", "pre": split, "tokens": tokens, "token_type": types}
    found["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    found |= {"bos_token_id": 1, "eos_token_id": 2, "add_bos_token": False}
    return {f"tokenizer.ggml.{key}": value for key, value in found.items()}


def sentencepiece(path: Path, **others) -> dict:
    """Metadata of a tokenizer.model; `others` are further keys of tokenizer.ggml."""
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(path))
    ids = range(pieces.vocab_size())
    kinds = [
        2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else 1
        for i in ids
    ]
    found = {"model": "llama", "tokens": [pieces.id_to_piece(i) for i in ids]}
    found |= {"scores": [pieces.get_score(i) for i in ids], "token_type": kinds}
    found |= {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0, **others}
    return {f"tokenizer.ggml.{key}": value for key, value in found.items()}


def read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """({key: value}, {tensor: float64 values, as they are laid out in the file})."""
    reader = GGUFReader(path)
    metadata = {key: field.contents() for key, field in reader.fields.items()}
    return metadata, {tensor.name: _values(tensor) for tensor in reader.tensors}


def _values(tensor) -> np.ndarray:
    """Blocks of 32 values: Q8_0 is a half d and 32 int8 q, value d q; Q4_1 halves d and m and 16
    bytes, whose low halves are q of the first 16 values and high halves of the others: d q + m."""
    shape, data = tensor.shape.tolist()[::-1], np.ascontiguousarray(tensor.data)
    if tensor.tensor_type in (Kind.F32, Kind.F16):
        return data.astype(np.float64).reshape(shape)
    head = 2 if tensor.tensor_type == Kind.Q8_0 else 4
    blocks = data.reshape(-1, head + (32 if head == 2 else 16))
    scales = np.ascontiguousarray(blocks[:, :head]).view(np.float16).astype(np.float64)
    packed = np.ascontiguousarray(blocks[:, head:])
    if head == 2:
        return (scales * packed.view(np.int8)).reshape(shape)
    assert tensor.tensor_type == Kind.Q4_1
    quants = np.concatenate([packed & 15, packed >> 4], axis=1)
    return (scales[:, :1] * quants + scales[:, 1:]).reshape(shape)


def log_probs(path: Path, ids: list[int]) -> np.ndarray:
    """(n, V) float64 log-probabilities of the next token after each of the ids."""
    about, weights = read(path)
    kind = about["general.architecture"]
    size = {key.removeprefix(f"{kind}."): value for key, value in about.items()}
    heads, groups = size["attention.head_count"], size["attention.head_count_kv"]
    epsilon = size["attention.layer_norm_rms_epsilon"]
    n, x = len(ids), weights["token_embd.weight"][ids]
    width = x.shape[1] // heads
    angles = size["rope.freq_base"] ** (-np.arange(0, width, 2) / width)
    angles = np.arange(n)[:, None] * angles / weights.get("rope_freqs.weight", 1.0)

    def norm(values, name):
        scale = np.sqrt((values**2).mean(-1, keepdims=True) + epsilon)
        return values / scale * weights[f"{name}.weight"]

    def project(values, name, count):
        bias = weights.get(f"{name}.bias", 0.0)
        made = values @ weights[f"{name}.weight"].T + bias
        return made.reshape(n, count, width).swapaxes(0, 1)

    def rotate(values):
        pairs = values.reshape(*values.shape[:2], -1, 2)
        if kind != "llama":  # two halves; Llama's are neighbours
            pairs = values.reshape(*values.shape[:2], 2, -1).swapaxes(2, 3)
        turned = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * angles)
        turned = np.stack([turned.real, turned.imag], axis=-1)
        return (turned if kind == "llama" else turned.swapaxes(2, 3)).reshape(values.shape)

    for i in range(size["block_count"]):
        block = f"blk.{i}"
        normed = norm(x, f"{block}.attn_norm")
        q = rotate(project(normed, f"{block}.attn_q", heads))
        k = rotate(project(normed, f"{block}.attn_k", groups)).repeat(heads // groups, axis=0)
        v = project(normed, f"{block}.attn_v", groups).repeat(heads // groups, axis=0)
        scores = q @ k.swapaxes(1, 2) / np.sqrt(width)
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (scores / scores.sum(-1, keepdims=True)) @ v
        seen = seen.swapaxes(0, 1).reshape(n, -1)
        x = x + seen @ weights[f"{block}.attn_output.weight"].T
        normed = norm(x, f"{block}.ffn_norm")
        gate = normed @ weights[f"{block}.ffn_gate.weight"].T
        up = normed @ weights[f"{block}.ffn_up.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{block}.ffn_down.weight"].T
    head = weights.get("output.weight", weights["token_embd.weight"])
    logits = norm(x, "output_norm") @ head.T
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def encode(metadata: dict, text: str) -> list[int]:
    """Ids of ASCII text by byte-level merges, without special tokens."""
    ids = {token: i for i, token in enumerate(metadata["tokenizer.ggml.tokens"])}
    ranks = {merge: i for i, merge in enumerate(metadata["tokenizer.ggml.merges"])}
    split, pieces = metadata["tokenizer.ggml.pre"], [text]
    for pattern in SPLITS[split]:  # what does not match stays together
        whole = re.compile(f"({pattern})")
        pieces = [part for piece in pieces for part in whole.split(piece) if part]
    spelled = {" ": "Ġ", "\n": "Ċ", "\t": "ĉ", "\r": "č"}
    found = []
    for piece in pieces:
        parts = [spelled.get(character, character) for character in piece]
        if split == "llama-bpe" and "".join(parts) in ids:
            parts = ["".join(parts)]
        while len(parts) > 1:
            pairs = [ranks.get(f"{a} {b}", len(ranks)) for a, b in pairwise(parts)]
            if (best := min(pairs)) == len(ranks):
                break
            at = pairs.index(best)
            parts[at : at + 2] = ["".join(parts[at : at + 2])]
        found += [ids[part] for part in parts]
    return found
