"""Checkpoint folders: what is loaded is what was written, or an error of one line."""

import shutil

import pytest
import torch

from first_distill.errors import UserError
from first_distill.files import sha256_file
from first_distill.models.checkpoints import (
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
    contents = [
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (tmp_path / "a", tmp_path / "b", tiny.checkpoint())
    ]
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
def test_altered_file_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    for use in (verify_checkpoint, load_model):
        with pytest.raises(UserError, match=rf"\A[^\n]*altered file: .*{name}[^\n]*\Z"):
            use(folder)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (WEIGHTS, None, "missing file"),
        (WEIGHTS, b"short", "altered file"),
        (RECORD, None, "never finished"),
        (RECORD, b'{"kind": "te', "altered or incomplete record"),
        (RECORD, b'{"kind": "test"}', "altered or incomplete record"),
        ("tokenizer.model", b"x", "unknown file: .*tokenizer.model.*remove it"),  # read first
        ("adapter_config.json", b"x", "unknown file: .*adapter_config.json.*remove it"),
    ],
)
def test_missing_incomplete_and_added_files_are_noticed(folder, name, content, match):
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=match):
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
            "tokenizer": "models.checkpoints.copy_files",
            "record": "provenance.records.write",
        }[moment]
        monkeypatch.setattr(f"first_distill.{name}", interrupt)
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
    assert copied.pop("provenance")["stage"] == "base_model"
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
    from first_distill.models.checkpoints import weights_digest

    def record(**files):
        return {"files": {name: {"bytes": 1, "sha256": sha} for name, sha in files.items()}}

    assert weights_digest(record(**{"model.safetensors": "a" * 64, "config.json": "b"})) == "a" * 64
    one, two = "model-1-of-2.safetensors", "model-2-of-2.safetensors"
    digest = weights_digest(record(**{one: "a", two: "b"}))
    assert digest == weights_digest(record(**{two: "b", one: "a", "config.json": "c"}))
    assert digest != weights_digest(record(**{one: "a", two: "c"}))
