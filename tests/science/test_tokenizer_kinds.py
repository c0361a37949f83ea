"""Tokenizers of ten kinds as their families publish them, against the libraries' own readings."""

import json
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest

from first_distill.errors import UserError
from first_distill.models.checkpoints import save_checkpoint
from first_distill.models.encoding import candidate_ids, encode_rows
from first_distill.models.tokenizer import load_tokenizer
from tests import families
from tests import tiny_models as tiny

KINDS = list(families.TOKENS)
CHOICES, YES_NO = tiny.choice_rows(6), tiny.yes_no_rows(4)
ROWS = [*CHOICES, *YES_NO, *tiny.instruction_rows(4)]
TEXTS = [text for row in ROWS for text in (row["prompt"], row["prompt"] + row["response"])]
TEXTS += ["words  and   spaces\n\nlines", "2024\t(a).", "naïve 漢字 🙂", "Yes", "a\n1. b", "a  12"]
SPECIAL = ["</s>", "a <s> b", "<|endoftext|>x", "(<bos>", "<eos>\n<pad><unk>", "<|im_end|>"]
SPECIAL += ["<|begin_of_text|><|end_of_text|>", "<|padding|>", "<|end|>", "<mask>"]


@cache
def theirs(kind: str):
    """(ids of a text with special tokens, without, id of BOS, id of EOS), by the libraries."""
    folder = families.tokenizer(kind)
    if kind == "sentencepiece":
        from sentencepiece import SentencePieceProcessor

        model = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        return (lambda text: [1, *model.encode(text)]), model.encode, 1, 2
    from transformers import AutoTokenizer

    # Their own way to read the text of special tokens as text.
    read = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    return (
        lambda text: read(text)["input_ids"],
        lambda text: read(text, add_special_tokens=False)["input_ids"],
        read.bos_token_id,
        read.eos_token_id,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ids_bos_and_eos_are_the_librarys_own(kind):
    tokenizer = load_tokenizer(families.tokenizer(kind))
    sequence, text, bos, eos = theirs(kind)
    puts, name = families.TOKENS[kind]
    assert (tokenizer.bos_id, tokenizer.eos_id) == (bos, eos)
    assert tokenizer.pieces[name] == eos
    assert tokenizer.prefix == ((bos,) if puts else ())
    assert tokenizer.encode_many(TEXTS + SPECIAL) == [sequence(t) for t in TEXTS + SPECIAL]
    never = load_tokenizer(families.tokenizer(kind), bos="never")
    assert never.encode_many(TEXTS) == [text(t) for t in TEXTS]
    assert never.prefix == () and never.bos_record == {"policy": "never", "ids": []}
    assert tokenizer.vocabulary_sha256() == never.vocabulary_sha256()


@pytest.mark.parametrize("kind", KINDS)
def test_bos_always(kind):
    folder = families.tokenizer(kind)
    bos = theirs(kind)[2]
    if bos is None:
        with pytest.raises(
            UserError, match=r"\Ano bos_token: .*: none is named: use bos: auto, or "
        ):
            load_tokenizer(folder, bos="always")
        return
    tokenizer = load_tokenizer(folder, bos="always")
    assert tokenizer.prefix == (bos,) and tokenizer.encode("x")[0] == bos
    assert tokenizer.encode("x")[1:] == theirs(kind)[1]("x")
    assert tokenizer.bos_record == {"policy": "always", "ids": [bos]}


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_in_a_text_are_text(kind):
    tokenizer = load_tokenizer(families.tokenizer(kind))
    names = ["<s>", "</s>", "<unk>", "<bos>", "<eos>", "<pad>", "<|endoftext|>", "<|im_end|>"]
    special = {tokenizer.pieces[name] for name in names if name in tokenizer.pieces}
    for text, ids in zip(SPECIAL, tokenizer.encode_many(SPECIAL), strict=True):
        assert not special & {*ids[len(tokenizer.prefix) :]}, text
    rows = [{**row, "prompt": f"</s><|endoftext|> {row['prompt']}"} for row in CHOICES]
    for row in encode_rows(rows, tokenizer, 500)[0]:
        assert (row.labels == tokenizer.eos_id).nonzero()[0].tolist() == [len(row.labels) - 1]
        after = row.input_ids[len(tokenizer.prefix) :]
        assert not special & {*after.tolist()}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_candidates(kind):
    """Prompts are prefixes of whole rows; a candidate's id is the one token that it adds."""
    tokenizer, (sequence, *_) = load_tokenizer(families.tokenizer(kind)), theirs(kind)
    for row, encoded in zip(ROWS, encode_rows(ROWS, tokenizer, 500)[0], strict=True):
        assert encoded.input_ids.tolist() == sequence(row["prompt"] + row["response"])
        assert encoded.input_ids[: encoded.prompt_length].tolist() == sequence(row["prompt"])
        assert encoded.labels[-1] == tokenizer.eos_id
    for rows in (CHOICES, YES_NO):
        own = [[sequence(row["prompt"] + c)[-1] for c in row["candidates"]] for row in rows]
        assert candidate_ids(rows, tokenizer).tolist() == own


@pytest.mark.parametrize("kind", ["llama", "phi3", "gemma", "qwen", "neox", "smollm2"])
def test_tokens_are_those_of_the_file(kind):
    """No padding or mask token that a class adds at an id of its own."""
    import tokenizers

    file = tokenizers.Tokenizer.from_file(str(families.tokenizer(kind) / "tokenizer.json"))
    assert load_tokenizer(families.tokenizer(kind)).pieces == file.get_vocab()


MODELS = "llama qwen2 gemma3-text gemma3 gpt-neox gpt2 opt phi3 smollm2".split()


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_model_keeps_its_tokenizer(name, tmp_path):
    """A folder written after training reads as its base, config.json beside it."""
    base = families.model(name)
    save_checkpoint(tiny.random_llama(0), tmp_path / "out", base, {"kind": "test"})
    one, other = load_tokenizer(base), load_tokenizer(tmp_path / "out")
    assert one.encode_many(TEXTS + SPECIAL) == other.encode_many(TEXTS + SPECIAL)
    assert (one.prefix, one.eos_id, one.sha256) == (other.prefix, other.eos_id, other.sha256)
    assert one.vocabulary_sha256() == other.vocabulary_sha256()
    assert one.prefix == load_tokenizer(families.tokenizer(families.FAMILIES[name][2])).prefix


# The files --------------------------------------------------------------------------------------


def changed(tmp_path, kind: str, **files: object) -> Path:
    """A copy of a tokenizer's folder; each file's keys replaced (None: removed), or its bytes."""
    folder = Path(shutil.copytree(families.tokenizer(kind), tmp_path / "t"))
    for stem, content in files.items():
        name = {"model": "tokenizer.model", "merges": "merges.txt"}.get(stem, f"{stem}.json")
        path = folder / name
        if content is None:
            path.unlink()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            known = json.loads(path.read_text()) if path.is_file() else {}
            kept = {k: v for k, v in {**known, **content}.items() if v != "absent"}
            path.write_text(json.dumps(kept))
    return folder


def own_file(folder: Path, pre_tokenizer) -> list[list[int]]:
    """Give tokenizer.json another pre-tokenizer; the file's own reading of TEXTS."""
    import tokenizers

    file = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    file.pre_tokenizer = pre_tokenizer
    file.save(str(folder / "tokenizer.json"))
    return [file.encode(text, add_special_tokens=False).ids for text in TEXTS]


@pytest.mark.parametrize("kind", ["smollm2", "qwen", "neox"])
def test_the_file_counts_where_its_class_reads_otherwise(kind, tmp_path):
    """SmolLM2's tokenizer.json splits digits; GPT2Tokenizer, the class that it names, does not."""
    from tokenizers import pre_tokenizers as pre
    from transformers import AutoTokenizer

    folder = changed(tmp_path, kind)
    parts = [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]
    expected = own_file(folder, pre.Sequence(parts))
    of_class = AutoTokenizer.from_pretrained(folder)
    assert [of_class(t, add_special_tokens=False)["input_ids"] for t in TEXTS] != expected
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode_many(TEXTS) == [[*tokenizer.prefix, *ids] for ids in expected]


@pytest.mark.parametrize("content", [b"IQ== 0\nIg== 1\n", b""])
def test_tokenizer_json_wins_over_another_tokenizer_model(content, tmp_path):
    folder = changed(tmp_path, "qwen", model=content)
    assert load_tokenizer(folder).encode_many(TEXTS) == [theirs("qwen")[0](t) for t in TEXTS]


NAMED = {"bos_token": {"content": "<s>"}, "eos_token": {"content": "</s>"}}
NAMELESS = dict.fromkeys(("bos_token", "eos_token"), "absent")


@pytest.mark.parametrize(
    ("files", "prefix", "eos"),
    [
        ({"tokenizer_config": None, "special_tokens_map": None}, (1,), 2),
        ({"tokenizer_config": NAMELESS, "special_tokens_map": None}, (1,), 2),
        ({"tokenizer_config": {"bos_token": "", "eos_token": None}}, (1,), 2),
        ({"tokenizer_config": {**NAMELESS, "add_bos_token": "absent"}}, (1,), 2),
        ({"tokenizer_config": {"add_bos_token": False}}, (), 2),
        ({"tokenizer_config": {"tokenizer_class": "LlamaTokenizerFast"}}, (1,), 2),
        ({"tokenizer_config": {"tokenizer_class": "X", "add_bos_token": "absent"}}, (), 2),
        ({"tokenizer_config": NAMELESS, "special_tokens_map": {"eos_token": "Yes"}}, (1,), "Yes"),
        ({"tokenizer_config": {"eos_token": {"content": "<end>"}, **{
            "added_tokens_decoder": {"600": {"content": "<end>"}}}}}, (1,), 600),
        ({"tokenizer_config": {"eos_token": "<end>"}, "added_tokens": {"<end>": 600}}, (1,), 600),
    ],
)  # fmt: skip
def test_what_a_sentencepiece_model_declares(files, prefix, eos, tmp_path):
    tokenizer = load_tokenizer(changed(tmp_path, "sentencepiece", **files))
    assert tokenizer.prefix == prefix
    assert tokenizer.eos_id == (tokenizer.pieces[eos] if isinstance(eos, str) else eos)
    assert tokenizer.encode("Yes") == [*prefix, *theirs("sentencepiece")[1]("Yes")]


def test_names_in_the_older_file_alone(tmp_path):
    folder = changed(tmp_path, "llama", tokenizer_config=NAMELESS, special_tokens_map=NAMED)
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.prefix, tokenizer.eos_id) == ((1,), 2)


REFUSED = [
    ("qwen", {"tokenizer": None}, "no tokenizer: .*expected tokenizer.json, tokenizer.model, or"),
    ("gpt2", {"merges": None}, "no tokenizer: .*vocab.json with merges.txt"),
    ("qwen", {"tokenizer": b"{ broken"}, "damaged tokenizer: .*tokenizer.json: Expecting"),
    ("qwen", {"tokenizer": b"[]"}, "damaged tokenizer: .*tokenizer.json: it is no JSON object"),
    ("qwen", {"tokenizer": b"{}"}, "unreadable tokenizer: .*/t: .*published with"),
    ("gpt2", {"vocab": b'{"a": "b"}'}, "unreadable tokenizer: .*/t: .*published with"),
    ("llama3", {"tokenizer_config": b"{ broken"}, "damaged tokenizer: .*tokenizer_config.json"),
    ("opt", {"special_tokens_map": b"{"}, "damaged tokenizer: .*special_tokens_map.json"),
    ("llama3", {"tokenizer_config": None}, "no eos_token: .*/t: none is named: name a token of"),
    ("llama3", {"tokenizer_config": {"eos_token": None}}, "no eos_token: .*: none is named"),
    ("llama3", {"tokenizer_config": {"eos_token": ""}}, "no eos_token: .*: none is named"),
    ("qwen", {"tokenizer_config": {"eos_token": "<no>"}}, "'<no>' is no token of tokenizer.json"),
    ("gpt2", {"tokenizer_config": {"eos_token": "<no>"}}, "'<no>' is no token of vocab.json"),
    ("gemma", {"tokenizer_config": {"bos_token": "<no>"}}, "no bos_token: .*'<no>' is no token"),
    ("sentencepiece", {"tokenizer_config": {"eos_token": "<no>"}}, "no token of tokenizer.model"),
    ("sentencepiece", {"added_tokens": {"<x>": "a"}}, "unreadable tokenizer: .*/t: .*published"),
    ("sentencepiece", {"model": b"IQ== 0\nIg== 1\n"}, "no SentencePiece model: .*tokenizer.json"),
    ("qwen", {"tokenizer_config": {"auto_map": {"AutoTokenizer": ["x.X", None]}, **{
        "tokenizer_class": "XTokenizer"}}}, "auto_map: .*tokenizer_config.json: .*never run"),
]  # fmt: skip


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UserError, match="package not installed: .*sentencepiece.*: install it"):
        load_tokenizer(families.tokenizer("sentencepiece"))


@pytest.mark.parametrize(("kind", "files", "match"), REFUSED)
def test_refusals_are_one_line(kind, files, match, tmp_path):
    folder = changed(tmp_path, kind, **files)
    with pytest.raises(UserError, match=match) as caught:
        load_tokenizer(folder)
    message = str(caught.value)
    assert "\n" not in message and str(folder) in message
    assert "remake" not in message and "fetch" not in message
