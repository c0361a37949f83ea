"""A model in a folder of the user's: links and a record, and nothing of the folder is altered."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from first_distill.errors import UserError
from first_distill.files import read_json, sha256_file, write_json
from first_distill.models.checkpoints import load_model, verify_checkpoint
from scripts import models
from tests import families
from tests import tiny_models as tiny


@pytest.fixture
def source(tmp_path):
    return shutil.copytree(families.model("gpt-neox"), tmp_path / "my pythia")


def record(source, target, *words):
    models.main(["folder", "--source", str(source), "--output-dir", str(target), *words])
    return read_json(target / "record.json")


def state(folder) -> dict:
    """What any writing to the files would change."""
    found = {path.name: path.lstat() for path in folder.iterdir()}
    return {name: (s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns) for name, s in found.items()}


def test_the_files_stay_where_they_are(tmp_path, source):
    before = state(source)
    found = record(source, tmp_path / "model")
    assert state(source) == before
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert found["files"].keys() == names and found["kind"] == "folder"
    for name in names:
        link = tmp_path / "model" / name
        assert link.is_symlink() and link.resolve() == (source / name).resolve()
        assert found["files"][name]["sha256"] == sha256_file(source / name)
    assert str(tmp_path) not in (tmp_path / "model/record.json").read_text()
    weights = load_file(source / "model.safetensors")
    model = load_model(tmp_path / "model", device="cpu")
    assert torch.equal(model.get_output_embeddings().weight, weights["embed_out.weight"])


def test_a_changed_file_is_noticed_and_may_be_recorded_again(tmp_path, source):
    record(source, tmp_path / "model")
    settings = source / "tokenizer_config.json"
    settings.write_text(settings.read_text() + "\n")
    with pytest.raises(UserError, match="altered file: .*model/tokenizer_config.json"):
        verify_checkpoint(tmp_path / "model")
    record(source, tmp_path / "model")
    verify_checkpoint(tmp_path / "model")


def test_another_source_under_the_same_name_leaves_nothing_of_the_first(tmp_path, source):
    record(source, tmp_path / "model")
    other = shutil.copytree(families.model("llama"), tmp_path / "other")
    (other / "model.safetensors").rename(other / "part.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(other / "part.safetensors"))}
    index["weight_map"] = dict.fromkeys(index["weight_map"], "part.safetensors")
    write_json(other / "model.safetensors.index.json", index)
    found = record(other, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        *found["files"],
        "record.json",
    }
    verify_checkpoint(tmp_path / "model")
    words = ["hub", "--repo", "me/gpt", "--revision", "1", "--mirror", str(tmp_path / "mirror")]
    shutil.copytree(families.model("gpt2"), tmp_path / "mirror/me/gpt")
    models.main([*words, "--output-dir", str(tmp_path / "model")])
    assert not [path for path in (tmp_path / "model").iterdir() if path.is_symlink()]


def test_the_folder_of_the_results_is_no_source(tmp_path, source):
    before = state(source)
    with pytest.raises(UserError, match="a folder of results: .*my pythia: move your model"):
        record(source, source)
    other = shutil.copytree(source, tmp_path / "model")
    with pytest.raises(UserError, match="files of another model: .*model: config.json"):
        record(source, other)
    assert state(source) == before and state(other).keys() == before.keys()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("", "no folder: .*my pythia: name a model's folder"),
        ("config.json", "no config.json: .*my pythia"),
        ("model.safetensors", "no safetensors: .*my pythia"),
        ("tokenizer.json", "no tokenizer: .*my pythia"),
    ],
)
def test_what_is_missing_is_told_and_nothing_recorded(tmp_path, source, name, line):
    record(source, tmp_path / "model")
    shutil.rmtree(source) if not name else (source / name).unlink()
    with pytest.raises(UserError, match=line):
        record(source, tmp_path / "model")
    assert not (tmp_path / "model/record.json").exists()


@pytest.mark.slow
def test_pickles_only_where_they_are_allowed(tmp_path, source):
    weights = load_file(source / "model.safetensors")
    torch.save(weights, source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    with pytest.raises(UserError, match="its weights are pickles: .*`weights: pickle`"):
        record(source, tmp_path / "model")
    line = [sys.executable, "-m", "scripts.models", "folder", "--source", str(source)]
    line += ["--weights", "pickle", "--output-dir", str(tmp_path / "model")]
    (tmp_path / "file").write_text("no folder")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "file")}
    done = subprocess.run(
        line, check=False, cwd=tiny.REPOSITORY, env=environment, capture_output=True, text=True
    )
    said = f"error: HF_HOME: {tmp_path}/file: no folder can be made in it: set another"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, said)
    environment["HF_HOME"] = str(tmp_path / "cache")
    subprocess.run(line, check=True, cwd=tiny.REPOSITORY, env=environment)
    found = read_json(tmp_path / "model/record.json")
    assert found["converted_from"].keys() == {"pytorch_model.bin"}
    assert (tmp_path / "model/model.safetensors").resolve().is_relative_to(tmp_path / "cache")
    read = load_file(tmp_path / "model/model.safetensors")
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items())
