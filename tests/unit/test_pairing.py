"""Teacher and student with different vocabularies are refused before anything is trained."""

from __future__ import annotations

import json
import shutil

import pytest

from scripts import models
from scripts.first.errors import UserError
from scripts.first.files import read_json, write_json
from tests import tiny_models as tiny


def pair(tmp_path, student) -> dict:
    output = tmp_path / "pair.json"
    teacher = str(tiny.checkpoint("teacher", 7))
    models.main(["pair", "--teacher", teacher, "--student", str(student), "--output", str(output)])
    return read_json(output)


@pytest.fixture
def student(tmp_path):
    return shutil.copytree(tiny.checkpoint(), tmp_path / "student")


def change(folder, edit, name="tokenizer.json"):
    content = json.loads((folder / name).read_text())
    edit(content)
    (folder / name).write_text(json.dumps(content, indent=1))


def test_one_vocabulary_in_another_file_is_accepted(tmp_path, student):
    change(student, lambda content: content.update(padding=None))  # other bytes, the same tokens
    found = pair(tmp_path, student)
    assert found == {"vocabulary": tiny.tokenizer().vocabulary_sha256(), "tokens": 263}


def test_files_kept_elsewhere_are_followed(tmp_path):
    record = read_json(tiny.checkpoint() / "record.json")
    write_json(tmp_path / "far/record.json", {**record, "location": str(tiny.checkpoint())})
    assert pair(tmp_path, tmp_path / "far")["tokens"] == 263


def swap(content):
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


@pytest.mark.parametrize(
    ("edit", "name", "said"),
    [
        (swap, "tokenizer.json", "id .* is '[ab]' and '[ab]'"),
        (
            lambda content: content["model"]["vocab"].update(new=263),
            "tokenizer.json",
            "263 and 264",
        ),
        (
            lambda content: content.update(eos_token="<unk>"),
            "tokenizer_config.json",
            "eos_id 1 and",
        ),
    ],
)
def test_another_vocabulary_is_refused_and_the_difference_named(
    tmp_path, student, edit, name, said
):
    change(student, edit, name)
    with pytest.raises(UserError, match=f"different vocabularies.*student.*{said}"):
        pair(tmp_path, student)
    assert not (tmp_path / "pair.json").exists()


def test_a_base_that_was_never_made(tmp_path):
    with pytest.raises(UserError, match="record.json"):
        pair(tmp_path, tmp_path)
