"""Bad text before the tokenizers of all scales: special tokens stay text, too long is told."""

from __future__ import annotations

import pytest

from scripts.first.errors import UserError
from scripts.first.models.encoding import encode_prompts, encode_rows
from scripts.first.models.inference import iterate_logits
from scripts.first.models.tokenizer import load_tokenizer
from scripts.first.training.pretraining import make_tokenizer
from tests import tiny_models as tiny
from tests.science.test_tokenizer import LLAMA, needs_llama
from tests.system.faults import tried

SPECIAL = ["</s>", "a </s> b", "a</s>b", "<s>", "<unk>", "\n</s>\n<s><unk>", "</s>" * 50]
TEXTS = [*SPECIAL, "a\0b", "\0", "שלום עולם", "\u202ereversed\u202c", "a\u0301\u0302", "🙂", "ﷺ"]
WORLD = tiny.REPOSITORY / "resources/tiny/alder-student"


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
    pieces = dict(tokenizer.tokens())
    return {pieces[name] for name in ("<s>", "</s>", "<unk>")}


def decoded(folder, ids: list[int]) -> str:
    """The text again, by the libraries' own decoders."""
    if (folder / "tokenizer.model").is_file():
        import sentencepiece

        return sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model")).decode(ids)
    import tokenizers

    model = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return model.decode(ids, skip_special_tokens=False)


def test_every_text_stays_text(folder):
    """No id of a special token but BOS in front, and not one character is lost."""
    tokenizer = load_tokenizer(folder)
    for text, ids in zip(TEXTS, tokenizer.encode_many(TEXTS), strict=True):
        assert ids[0] == tokenizer.bos_id and not special_ids(tokenizer) & {*ids[1:]}, text
        if text not in ("ﷺ", "a\u0301\u0302") or not (folder / "tokenizer.model").is_file():
            assert decoded(folder, ids[1:]) == text  # sentencepiece normalises (NFKC)
    tried(f"data: special-token text, {folder.name}", len(TEXTS), len(TEXTS), 0, "encoded as text")


def test_the_worlds_words_never_become_bos_or_eos():
    """A word-level tokenizer has <unk> for what is no word of its world, and nothing else."""
    tokenizer = load_tokenizer(WORLD)
    unknown = dict(tokenizer.tokens())["<unk>"]
    for text, ids in zip(TEXTS, tokenizer.encode_many(TEXTS), strict=True):
        assert not {tokenizer.bos_id, tokenizer.eos_id} & {*ids[1:]}, text
        words = text.replace("\n", " ").split()
        assert unknown in ids[1:] or not any(word.isascii() for word in words), text
    tried("data: special-token text, world", len(TEXTS), len(TEXTS), 0, "<unk>, as any other word")


def test_special_tokens_in_rows_are_supervised_as_text(folder):
    """In training rows EOS is the last label and no other; the answer's place does not move."""
    tokenizer = load_tokenizer(folder)
    rows = [{**r, "prompt": f"</s> <unk> {r['prompt']}"} for r in tiny.yes_no_rows(3)]
    rows = [{**r, "shorten_start": -1, "shorten_end": -1} for r in rows]
    rows += [{**r, "response": "</s> x"} for r in tiny.instruction_rows(1)]
    for encoded in encode_rows(rows, tokenizer, 500)[0]:
        assert (encoded.input_ids == tokenizer.eos_id).sum() == 0
        assert (encoded.labels == tokenizer.eos_id).nonzero()[0].tolist() == [
            len(encoded.labels) - 1
        ]


def test_long_passages_are_shortened_and_long_questions_dropped_and_both_counted():
    passage = tiny.yes_no_rows(2, words=30_000)
    assert len(passage[0]["prompt"]) > 60_000
    question = [{**r, "id": "q", "prompt": "long " * 20_000} for r in tiny.choice_rows(1)]
    encoded, report = encode_rows(passage + question, tiny.tokenizer(), 200)
    assert (report.rows, report.shortened_prompts, report.dropped_rows) == (2, 2, ["q"])
    assert all(len(row.input_ids) < 200 for row in encoded)
    tried("data: a 100,000-character passage, training", 3, 3, 0, "record: shortened 2, dropped 1")


def test_a_question_longer_than_the_model_reads_is_named():
    """Rotary positions have no end: without the refusal it would be answered, wrongly."""
    rows = tiny.choice_rows(2)
    rows[1]["prompt"] = "long " * 20_000 + rows[1]["prompt"]
    encoded = encode_prompts(rows, tiny.tokenizer())
    with pytest.raises(UserError, match=r"row train/000001: 1000\d\d tokens: the model reads 1024"):
        next(iterate_logits(tiny.random_llama(), encoded, tiny.EOS, 512, "test"))
    tried("data: a 100,000-character question, test", 1, 1, 0, "error: row ...: the model reads N")
