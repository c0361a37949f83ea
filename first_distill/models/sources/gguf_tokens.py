"""The tokenizer of a GGUF file as tokenizer.json and tokenizer_config.json.

transformers builds it. Corrected here is what llama.cpp, which the metadata are written for, does
otherwise: how byte-level text is split, which words merges do not apply to, what is put before a
text, and that the text of a special token is no special token.
"""

from __future__ import annotations

import json
from pathlib import Path

from first_distill.errors import UserError
from first_distill.files import write_json

# Values of tokenizer.ggml.pre, the split of byte-level text, by what they mean in llama.cpp.
GPT2 = {"gpt-2", "mpt", "olmo", "jais", "phi-2", "trillion"}
# Each digit alone, then as GPT-2.
DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
# A word that is a token is not merged from its parts, and BOS is put before a text by default.
WHOLE_WORDS = {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0"}
WHOLE_WORDS |= {"lfm2", "jina-v5-nano", "tekken"}
PROBE = "It's 12345, 6.7 and  8\n\n\n9: naïve\tWE'LL see\r\n  (don't)\n### A: Yes "
UNKNOWN, CONTROL, UNUSED = 2, 3, 5  # values of tokenizer.ggml.token_type
SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def write_tokenizer(file: Path, metadata: dict, folder: Path) -> None:
    """Write both files to `folder`; `metadata` are the file's, {key: value}.

    Raises UserError for a file without tokenizer, and for one that transformers would read wrongly.
    """
    from tokenizers import Tokenizer, processors
    from transformers import AutoTokenizer

    found = {k.removeprefix("tokenizer.ggml."): v for k, v in metadata.items()}
    if not found.get("tokens") or "model" not in found:
        raise UserError(f"no tokenizer: {file}: it has no tokenizer.ggml.tokens: use another file")
    names = {name: _token(found, key) for name, key in SPECIAL.items()}
    bos = found.get("add_bos_token", found["model"] != "gpt2" or found.get("pre") in WHOLE_WORDS)
    adds = {"bos_token": bos, "eos_token": found.get("add_eos_token", False)}
    for name in ("eos_token", *(["bos_token"] if bos else [])):
        if names[name] is None:
            key = f"tokenizer.ggml.{name}_id"
            raise UserError(f"no {name}: {file}: it has no token {key}: use another file")

    place = {"gguf_file": file.name, "local_files_only": True}
    read = AutoTokenizer.from_pretrained(file.parent, trust_remote_code=False, **place)
    made = read.backend_tokenizer
    content = _corrected(file, json.loads(made.to_str()), found)
    made = Tokenizer.from_str(json.dumps(content))
    before, after = (f"{names[name]} " if adds[name] else "" for name in adds)
    made.post_processor = processors.TemplateProcessing(
        single=f"{before}$A {after}".strip(),
        special_tokens=[(names[name], found[f"{name}_id"]) for name in adds if adds[name]],
    )
    for name, token in names.items():
        if token is not None and made.token_to_id(token) != found[f"{SPECIAL[name]}_token_id"]:
            raise UserError(
                f"another {name}: {file}: transformers gives {token!r} the id "
                f"{made.token_to_id(token)}: use the model's safetensors"
            )
    made.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {name: token for name, token in names.items() if token is not None}
    settings |= {f"add_{name}": added for name, added in adds.items()}
    write_json(folder / "tokenizer_config.json", settings)


def check_reading(file: Path, folder: Path) -> None:
    """UserError where transformers reads the folder as its architecture's usual tokenizer."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    read = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if read.backend_tokenizer.encode(PROBE).ids != written.encode(PROBE).ids:
        name = type(read).__name__
        raise UserError(
            f"not the model's own tokenizer: {file}: transformers reads it as {name}, with other "
            "ids: use the model's safetensors"
        )


def _token(found: dict, name: str) -> str | None:
    """Text of a special token; None for none, and for an id that is no token's."""
    number = found.get(f"{name}_token_id", -1)
    return found["tokens"][number] if 0 <= number < len(found["tokens"]) else None


def _corrected(file: Path, content: dict, found: dict) -> dict:
    """The content of tokenizer.json as llama.cpp would read the metadata."""
    model, split, tokens = content["model"], found.get("pre"), found["tokens"]
    kinds = dict(enumerate(found.get("token_type", ())))
    if found["model"] == "gpt2":
        if split in DIGITS:
            digits = {"type": "Digits", "individual_digits": True}
            content["pre_tokenizer"] = {
                "type": "Sequence",
                "pretokenizers": [digits, content["pre_tokenizer"]],
            }
        elif content["pre_tokenizer"]["type"] == "ByteLevel" and split not in GPT2:
            raise UserError(
                f"unknown split of text: {file}: tokenizer.ggml.pre is {split!r}, which "
                "transformers does not read: use the model's safetensors"
            )
        model["ignore_merges"] = split in WHOLE_WORDS
    else:
        space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        prefixed = not found["general.architecture"].startswith("gemma")  # where it is not said
        prefixed = found.get("add_space_prefix", prefixed)
        front = [{"type": "Prepend", "prepend": "▁"}] if prefixed else []
        content["normalizer"] = {"type": "Sequence", "normalizers": [*front, space]}
        content["pre_tokenizer"] = None
    # Outputs beyond the vocabulary are no tokens.
    padding = {t for i, t in enumerate(tokens) if kinds.get(i) == UNUSED and t == f"[PAD{i}]"}
    model["vocab"] = {t: i for t, i in model["vocab"].items() if t not in padding}
    special = {t for i, t in enumerate(tokens) if kinds.get(i) in (UNKNOWN, CONTROL)}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) not in special]
    return content
