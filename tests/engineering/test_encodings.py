"""The cache of token ids: the same ids with it and without, whatever state it is in."""

from __future__ import annotations

import pytest

from scripts.first.models import token_cache as encodings
from tests import tiny_models as tiny

TEXTS = [f"text {i} (A) yes\u00e9 \U0001f600" for i in range(encodings.AT_LEAST)]


class Counted:
    """An encoder that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, texts):
        self.calls += 1
        return [[len(text), *text.encode()] for text in texts]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(encodings.VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_ids_are_made_once_and_come_back_equal(folder):
    encode = Counted()
    first = encodings.cached(TEXTS, "one", encode)
    assert encodings.cached(TEXTS, "one", encode) == first == Counted()(TEXTS)
    assert encode.calls == 1


@pytest.mark.parametrize("other", [(TEXTS[1:] + ["x"], "one"), (TEXTS, "two")])
def test_other_texts_or_another_tokenizer_are_encoded(folder, other):
    encode = Counted()
    encodings.cached(TEXTS, "one", encode)
    assert encodings.cached(*other, encode) == Counted()(other[0])
    assert encode.calls == 2


def test_boundaries_between_texts_count(folder):
    """The same characters, cut elsewhere."""
    encode = Counted()
    moved = [TEXTS[0] + TEXTS[1][0], TEXTS[1][1:], *TEXTS[2:]]
    encodings.cached(TEXTS, "one", encode)
    assert encodings.cached(moved, "one", encode) == Counted()(moved)


@pytest.mark.parametrize("damage", ["flip", "cut", "seal"])
def test_damaged_ids_are_made_again(folder, damage, capsys):
    encode = Counted()
    encodings.cached(TEXTS, "one", encode)
    (path,) = folder.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-5] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-9])
    else:
        path.with_suffix(".json").unlink()
    assert encodings.cached(TEXTS, "one", encode) == Counted()(TEXTS)
    assert encode.calls == 2
    assert encodings.cached(TEXTS, "one", encode) == Counted()(TEXTS)
    assert encode.calls == 2  # mended


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(encodings.VARIABLE, str(tmp_path / "file"))
    assert encodings.cached(TEXTS, "one", Counted()) == Counted()(TEXTS)
    assert "encodings are not kept: " in capsys.readouterr().err


def test_a_disk_that_is_full_ends_no_job(folder, monkeypatch, capsys):
    from safetensors import SafetensorError

    def full(*_):
        raise SafetensorError("Error while serializing: No space left on device")

    monkeypatch.setattr(encodings, "_write", full)
    assert encodings.cached(TEXTS, "one", Counted()) == Counted()(TEXTS)
    assert "No space left" in capsys.readouterr().err
    assert not list(folder.glob("*.safetensors"))


def test_without_the_variable_and_for_few_texts_nothing_is_kept(folder, monkeypatch):
    encodings.cached(TEXTS[1:], "one", Counted())
    monkeypatch.delenv(encodings.VARIABLE)
    encodings.cached(TEXTS, "one", Counted())
    assert not folder.exists()


def test_a_tokenizer_gives_the_same_ids_through_the_cache(folder):
    tokenizer = tiny.tokenizer()
    made = tokenizer.encode_many(TEXTS)
    assert len(list(folder.glob("*.safetensors"))) == 1
    assert tokenizer.encode_many(TEXTS) == made
    assert made == [tokenizer.encode(text) for text in TEXTS]
