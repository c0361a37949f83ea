"""Teacher and student with different vocabularies are refused before anything is trained."""

import json
import shutil

import pytest

from scripts import models
from scripts.first.errors import UserError
from scripts.first.files import read_json
from tests import tiny_models as tiny
from tests.sealed import reseal


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
    reseal(folder / "record.json", rehash=True)


def test_one_vocabulary_in_another_file_is_accepted(tmp_path, student):
    change(student, lambda content: content.update(padding=None))  # other bytes, the same tokens
    found = pair(tmp_path, student)
    assert found["vocabulary"] == tiny.tokenizer().vocabulary_sha256()
    assert found["tokens"] == 263


def swap(content):
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


def leave_a_gap(content):
    vocabulary = content["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.get)] += 1


def grow(content):
    content["model"]["vocab"]["new"] = 263


def end_otherwise(content):
    content["eos_token"] = "<unk>"


@pytest.mark.parametrize(
    ("edit", "name", "difference"),
    [
        (swap, "tokenizer.json", "id .* is '[ab]', id .* is '[ab]'"),
        (leave_a_gap, "tokenizer.json", "id 262 is .*, id 263 is"),
        (grow, "tokenizer.json", "263 and 264"),
        (end_otherwise, "tokenizer_config.json", "eos_id 1 and"),
    ],
)
def test_another_vocabulary_is_refused_and_the_difference_named(
    tmp_path, student, edit, name, difference
):
    change(student, edit, name)
    with pytest.raises(UserError, match=f"different vocabularies.*student.*{difference}"):
        pair(tmp_path, student)
    assert not (tmp_path / "pair.json").exists()


def test_an_altered_tokenizer_with_the_same_tokens_is_refused(tmp_path, student):
    path = student / "tokenizer.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match="altered file: .*tokenizer.json"):
        pair(tmp_path, student)
