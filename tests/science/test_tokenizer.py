"""Text to ids: the real Llama-2 tokenizer to the id, and tokenizer.json files."""

import os
import shutil
from pathlib import Path

import pytest

from first_distill.errors import UserError
from first_distill.models.encoding import candidate_ids, encode_rows
from first_distill.models.tokenizer import load_tokenizer
from first_distill.training.tokenizers import make_tokenizer
from tests import tiny_models as tiny
from tests.science.test_prompts import CSQA, uniform_row

SHARED = Path(os.environ.get("FIRST_SHARED", tiny.REPOSITORY.parent / "shared"))
LLAMA = SHARED / "hub" / "meta-llama" / "Llama-2-tokenizer"
needs_llama = pytest.mark.skipif(
    not (LLAMA / "tokenizer.model").is_file(),
    reason="the Llama-2 tokenizer is licensed: name a folder that has it in FIRST_SHARED",
)


def as_row(row) -> dict:
    names = ("prompt", "response", "candidates", "answer", "shorten_start", "shorten_end")
    return {"id": "x/000000", **{name: getattr(row, name) for name in names}}


@pytest.fixture(scope="module")
def llama():
    return load_tokenizer(LLAMA)


@needs_llama
def test_llama_ids(llama):
    assert llama.encode("### Response:\nYes") == [1, 835, 13291, 29901, 13, 8241]
    assert llama.encode("### Response:\nNo") == [1, 835, 13291, 29901, 13, 3782]
    assert llama.encode("a).") == [1, 263, 467]
    assert llama.encode("") == [1]
    assert (llama.vocabulary_size, llama.bos_id, llama.eos_id) == (32000, 1, 2)


@needs_llama
def test_csqa_example_is_71_and_73_tokens(llama):
    """Training row 0: 71 tokens as in the paper's appendix A.2, answer `a).`."""
    row = as_row(uniform_row("csqa", CSQA))
    prompt, whole = llama.encode_many([row["prompt"], row["prompt"] + row["response"]])
    assert (len(prompt), len(whole)) == (71, 73)
    assert prompt[-7:] == [13, 29909, 29901, 450, 1234, 338, 313]
    assert whole[71:] == [29874, 467]
    encoded, _ = encode_rows([row], llama, 512)
    assert encoded[0].labels.tolist() == [29874, 467, 2]


@needs_llama
def test_candidate_ids_are_derived_in_context(llama):
    csqa = as_row(uniform_row("csqa", CSQA))
    upper = {**csqa, "candidates": list("ABCDE"), "answer": "B", "response": "B)."}
    assert candidate_ids([csqa], llama).tolist() == [[29874, 29890, 29883, 29881, 29872]]
    assert candidate_ids([upper], llama).tolist() == [[29909, 29933, 29907, 29928, 29923]]
    assert candidate_ids(tiny.yes_no_rows(2), llama).tolist() == [[8241, 3782]] * 2


@needs_llama
def test_llama_agrees_with_transformers(llama):
    """Another implementation: transformers' byte-fallback BPE on merges ordered by piece scores."""
    from sentencepiece import SentencePieceProcessor
    from transformers import LlamaTokenizer
    from transformers.convert_slow_tokenizer import generate_merges

    model = SentencePieceProcessor(model_file=str(LLAMA / "tokenizer.model"))
    vocabulary = {model.id_to_piece(i): i for i in range(len(model))}
    scores = {piece: model.get_score(i) for piece, i in vocabulary.items()}
    merges = generate_merges(vocabulary, scores)
    theirs = LlamaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)
    texts = [
        uniform_row("csqa", CSQA).prompt,
        "### Response:\nYes",
        "naïve 漢字 \t tab",
        "a  b\n\n(d",
    ]
    texts += [f"{row['prompt']}{row['response']}" for row in tiny.yes_no_rows(3)]
    assert llama.encode_many(texts) == [theirs(text)["input_ids"] for text in texts]


def test_json_tokenizer_adds_one_bos_and_no_eos():
    ours = tiny.tokenizer()
    byte = {chr(c): ours.encode(chr(c))[1] for c in range(33, 127)}
    assert len(set(byte.values())) == 94
    assert ours.encode("ab") == [0, byte["a"], byte["b"]]  # its post-processor adds BOS as well
    assert ours.encode("Yes") == [0, 260] and ours.encode("No") == [0, 261]
    assert ours.encode("(a).") == [0, byte["("], byte["a"], 262]
    assert (ours.vocabulary_size, ours.bos_id, ours.eos_id) == (263, 0, 1)


def test_json_tokenizer_ignores_stored_padding_and_truncation(tmp_path):
    from tokenizers import Tokenizer

    shutil.copytree(tiny.tokenizer_folder(), tmp_path / "t")
    raw = Tokenizer.from_file(str(tmp_path / "t" / "tokenizer.json"))
    raw.enable_truncation(3)
    raw.enable_padding(length=8)
    raw.save(str(tmp_path / "t" / "tokenizer.json"))
    assert load_tokenizer(tmp_path / "t").encode("abcdef") == tiny.tokenizer().encode("abcdef")
    assert load_tokenizer(tmp_path / "t").sha256 != tiny.tokenizer().sha256


# Special tokens in text --------------------------------------------------------------------------

TEXTS = ["</s>", "a </s> b", "a</s>b", "<s>x", "<unk>", "\n</s>\n<s><unk>", "</s>" * 50, "a\0b"]
TEXTS += ["\0", "שלום עולם", "\u202ereversed\u202c", "a\u0301\u0302", "🙂", "ﷺ"]


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    """A byte-level BPE trained as scale smoke trains its own, on text full of special tokens."""
    folder = tmp_path_factory.mktemp("bpe")
    rows = tiny.yes_no_rows(40) + tiny.instruction_rows(40)
    rows = [{**r, "id": str(i), "prompt": f"</s><s>{r['prompt']}"} for i, r in enumerate(rows)]
    make_tokenizer("bpe", folder / "t", None, [tiny.write_table(folder / "r.parquet", rows)], 400)
    return folder / "t"


@pytest.fixture(params=["bpe", "json", pytest.param("llama", marks=needs_llama)])
def folder(request):
    """Folders of tokenizers that know every byte."""
    fixed = {"json": tiny.tokenizer_folder, "llama": lambda: LLAMA}
    return fixed[request.param]() if request.param in fixed else request.getfixturevalue("bpe")


def special_ids(tokenizer) -> set[int]:
    return {tokenizer.pieces[name] for name in ("<s>", "</s>", "<unk>")}


def decoded(folder, ids: list[int]) -> str:
    """The text again, by the libraries' own decoders."""
    if (folder / "tokenizer.model").is_file():
        import sentencepiece

        return sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model")).decode(ids)
    import tokenizers

    model = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return model.decode(ids, skip_special_tokens=False)


def test_every_text_stays_text(folder):
    """No id of a special token but BOS in front, and no character is lost."""
    tokenizer = load_tokenizer(folder)
    for text, ids in zip(TEXTS, tokenizer.encode_many(TEXTS), strict=True):
        assert ids[0] == tokenizer.bos_id and not special_ids(tokenizer) & {*ids[1:]}, text
        if text not in ("ﷺ", "a\u0301\u0302") or not (folder / "tokenizer.model").is_file():
            assert decoded(folder, ids[1:]) == text  # sentencepiece normalises (NFKC)


def test_the_worlds_words_never_become_bos_or_eos():
    """A word-level tokenizer encodes what is not a word of its world as <unk>."""
    tokenizer = load_tokenizer(tiny.REPOSITORY / "resources/tiny/alder-student")
    unknown = tokenizer.pieces["<unk>"]
    for text, ids in zip(TEXTS, tokenizer.encode_many(TEXTS), strict=True):
        assert not {tokenizer.bos_id, tokenizer.eos_id} & {*ids[1:]}, text
        words = text.replace("\n", " ").split()
        assert unknown in ids[1:] or not any(word.isascii() for word in words), text


def test_special_tokens_in_rows_are_supervised_as_text(folder):
    """In training rows EOS is the last label and no other."""
    tokenizer = load_tokenizer(folder)
    rows = [{**r, "prompt": f"</s> <unk> {r['prompt']}"} for r in tiny.yes_no_rows(3)]
    rows = [{**r, "shorten_start": -1, "shorten_end": -1} for r in rows]
    rows += [{**r, "response": "</s> x"} for r in tiny.instruction_rows(1)]
    for encoded in encode_rows(rows, tokenizer, 500)[0]:
        assert (encoded.input_ids == tokenizer.eos_id).sum() == 0
        last = len(encoded.labels) - 1
        assert (encoded.labels == tokenizer.eos_id).nonzero()[0].tolist() == [last]


# Unusable tokenizers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bos", "eos"])
def test_sentencepiece_without_special_token(tmp_path, name):
    """A model without BOS reports id -1, which would index the last embedding: none is put."""
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(tiny.WORDS)] * 20),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        **{f"{name}_id": -1},
    )
    if name == "bos":
        tokenizer = load_tokenizer(tmp_path)
        assert (tokenizer.bos_id, tokenizer.prefix, tokenizer.encode("")) == (None, (), [])
    with pytest.raises(UserError, match=f"no {name}_token: .*: none is named"):
        load_tokenizer(tmp_path, bos="always")
