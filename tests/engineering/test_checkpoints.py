"""Checkpoint folders: what is loaded is what was written, or an error of one line."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from scripts.first.errors import UserError
from scripts.first.files import sha256_file
from scripts.first.models.checkpoints import (
    RECORD,
    WEIGHTS,
    copy_checkpoint,
    load_model,
    save_checkpoint,
    verify_checkpoint,
)
from tests import tiny_models as tiny
from tests.sealed import reseal


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(tiny.checkpoint(), tmp_path / "model")


def test_round_trip():
    location, record = verify_checkpoint(tiny.checkpoint())
    assert location == tiny.checkpoint() and record["kind"] == "test"
    assert set(record["files"]) >= {WEIGHTS, "config.json", "tokenizer.json"}
    for name, described in record["files"].items():
        assert described["sha256"] == sha256_file(location / name)
        assert described["bytes"] == (location / name).stat().st_size
    assert {p.name for p in location.iterdir()} == {*record["files"], RECORD}
    assert {p.stat().st_mode & 0o777 for p in location.iterdir()} == {0o644}
    model, original = load_model(tiny.checkpoint(), device="cpu"), tiny.random_llama(0)
    assert not model.training and model.config.use_cache is False
    for (name, one), (_, other) in zip(
        model.named_parameters(), original.named_parameters(), strict=True
    ):
        assert one.dtype == torch.float32 and torch.equal(one, other), name


def test_dtype_is_the_one_asked_for():
    """transformers would keep the checkpoint's own."""
    for dtype in ("float32", "bfloat16"):
        model = load_model(tiny.checkpoint(), dtype, device="cpu")
        assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}


def test_saving_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_checkpoint(
            tiny.random_llama(0), tmp_path / name, tiny.tokenizer_folder(), {"kind": "test"}
        )
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == sorted(p.name for p in tiny.checkpoint().iterdir())
    for name in names:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes()
        assert content == (tiny.checkpoint() / name).read_bytes()


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
def test_altered_file_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    for use in (verify_checkpoint, load_model):
        with pytest.raises(UserError, match=f"altered file: .*{name}") as caught:
            use(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name, match", [(WEIGHTS, "missing file"), (RECORD, "never finished")])
def test_missing_file_is_noticed(folder, name, match):
    (folder / name).unlink()
    with pytest.raises(UserError, match=match):
        verify_checkpoint(folder)


def test_truncated_weights_and_record_are_noticed(folder):
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[:-7])
    with pytest.raises(UserError, match="altered file"):
        verify_checkpoint(folder)
    (folder / WEIGHTS).write_bytes(weights)
    verify_checkpoint(folder)
    record = (folder / RECORD).read_text()
    (folder / RECORD).write_text(record[:-9])
    with pytest.raises(UserError, match="altered or incomplete record"):
        verify_checkpoint(folder)
    (folder / RECORD).write_text(json.dumps({"kind": "test"}))
    with pytest.raises(UserError, match="record"):
        verify_checkpoint(folder)


@pytest.mark.parametrize("moment", ["weights", "tokenizer", "record"])
def test_interrupted_rewrite_leaves_no_record(folder, monkeypatch, moment):
    """The old record must not outlive the old weights."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    model = tiny.random_llama(1)
    if moment == "weights":
        monkeypatch.setattr(model, "save_pretrained", interrupt)
    else:
        name = {
            "tokenizer": "models.checkpoints.copy_tokenizer",
            "record": "provenance.records.write",
        }[moment]
        monkeypatch.setattr(f"scripts.first.{name}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(model, folder, tiny.tokenizer_folder(), {})
    with pytest.raises(UserError, match="never finished"):
        verify_checkpoint(folder)
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_a_killed_save_leaves_nothing_for_long(folder):
    """The next try removes what a killed one has left, weights among it."""
    left = folder / ".checkpoint.part"
    left.mkdir()
    (left / ".tmp123").write_bytes(b"of safetensors")
    save_checkpoint(tiny.random_llama(0), folder, tiny.tokenizer_folder(), {"kind": "test"})
    record = verify_checkpoint(folder)[1]
    assert {p.name for p in folder.iterdir()} == {*record["files"], RECORD}


def test_files_of_a_mirror_stay_there(tmp_path, monkeypatch):
    """A record without its files beside it says where they came from, never a path."""
    _, record = verify_checkpoint(tiny.checkpoint())
    described = {**record, "kind": "mirror", "repo": "acme/tiny"}
    (tmp_path / "here").mkdir()
    reseal(tmp_path / "here" / RECORD, described)
    shutil.copytree(tiny.checkpoint(), tmp_path / "mirror/acme/tiny")
    monkeypatch.setenv("FIRST_MODEL_MIRROR", str(tmp_path / "mirror"))
    assert verify_checkpoint(tmp_path / "here")[0] == tmp_path / "mirror/acme/tiny"
    assert load_model(tmp_path / "here", device="cpu").config.vocab_size == 263
    shutil.rmtree(tmp_path / "mirror/acme")
    with pytest.raises(UserError, match="model not in the mirror"):
        verify_checkpoint(tmp_path / "here")
    copied = shutil.copytree(tiny.checkpoint(), tmp_path / "copied")
    reseal(copied / RECORD, described)
    assert verify_checkpoint(copied)[0] == copied


def test_copy_is_verified_and_drops_the_curve(folder, tmp_path):
    record = verify_checkpoint(folder)[1]
    reseal(folder / RECORD, curve=[1, 2], provenance={"code": "of its training"})
    copy_checkpoint(folder, tmp_path / "copy")
    copied = verify_checkpoint(tmp_path / "copy")[1]
    assert copied.pop("pretrained_by") == {"code": "of its training"}
    assert copied.pop("provenance")["stage"] == "models"
    assert [*copied.pop("made_from").values()] == [sha256_file(folder / RECORD)]
    assert copied == {k: v for k, v in record.items() if k != "made_from"}
    copy_checkpoint(tmp_path / "copy", tmp_path / "again")
    again = verify_checkpoint(tmp_path / "again")[1]
    assert again["pretrained_by"] == {"code": "of its training"}
    (folder / WEIGHTS).write_bytes(b"x")
    with pytest.raises(UserError, match="altered file"):
        copy_checkpoint(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_weights_digest_names_shards_too():
    """One file: its own hash; several: another for each change of one, whatever their order."""
    from scripts.first.models.checkpoints import weights_digest

    def record(**files):
        return {"files": {name: {"bytes": 1, "sha256": sha} for name, sha in files.items()}}

    assert weights_digest(record(**{"model.safetensors": "a" * 64, "config.json": "b"})) == "a" * 64
    one, two = "model-1-of-2.safetensors", "model-2-of-2.safetensors"
    digest = weights_digest(record(**{one: "a", two: "b"}))
    assert digest == weights_digest(record(**{two: "b", one: "a", "config.json": "c"}))
    assert digest != weights_digest(record(**{one: "a", two: "c"}))


@pytest.mark.parametrize("name", ["tokenizer.model", "adapter_config.json"])
def test_an_added_file_is_noticed(folder, name):
    """The record does not name it, and loading would take it: a tokenizer.model even first."""
    (folder / name).write_bytes(b"x")
    with pytest.raises(UserError, match=f"unknown file: .*{name}.*remove it"):
        verify_checkpoint(folder)
