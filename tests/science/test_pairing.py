"""What would fail in a student or a test is found before the teacher is trained."""

import json
import shutil

import pytest

from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.models.checkpoints import save_checkpoint
from scripts import models
from tests import tiny_models as tiny
from tests.sealed import reseal


def pair(tmp_path, student, teacher=None, rows=None, tests=None, **replaced) -> dict:
    options = {
        "teacher": teacher or tiny.checkpoint("teacher", 7),
        "student": student,
        "corpus": tiny.write_table(tmp_path / "train.parquet", rows or tiny.choice_rows(6)),
        "tests": tiny.write_table(tmp_path / "test.parquet", tests or tiny.yes_no_rows(4)),
        "block-length": 400,
        "k": 20,
        "output": tmp_path / "pair.json",
        **replaced,
    }
    models.main(
        ["pair", *(str(w) for name, value in options.items() for w in (f"--{name}", value))]
    )
    return read_json(tmp_path / "pair.json")


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
    assert found["outputs"] == {"teacher": 263, "student": 263}
    longest = max(len(row.input_ids) for row in tiny.encode(tiny.choice_rows(6)))
    assert found["longest"] == longest


def test_rows_may_have_three_to_five_choices(tmp_path):
    rows, tests = tiny.ragged_rows(9), tiny.ragged_rows(9, 1)
    found = pair(tmp_path, tiny.checkpoint(), rows=rows, tests=tests)
    prompts = [row["prompt"] for row in tests] + [row["prompt"] + row["response"] for row in rows]
    assert found["longest"] == max(len(tiny.tokenizer().encode(text)) for text in prompts)
    short = next(i for i, row in enumerate(tests) if len(row["candidates"]) == 3)
    tests[short] |= {"candidates": ["a", "b", "c", "cat"]}
    line = f"candidates 'c' and 'cat' share their first token: row train/{short:06d}: id"
    with pytest.raises(UserError, match=line):
        pair(tmp_path, tiny.checkpoint(), rows=rows, tests=tests)


def test_heads_padded_differently_are_one_family(tmp_path, student):
    found = pair(tmp_path, student, teacher=tiny.padded_checkpoint())
    assert found["outputs"] == {"teacher": 300, "student": 263}


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


def lower(content):
    content["normalizer"] = {"type": "Lowercase"}


def test_one_vocabulary_that_reads_text_differently_is_refused(tmp_path, student):
    change(student, lower)
    line = "read text differently: .*student.*: row train/000000 becomes other ids"
    for models_of in ({"student": student}, {"student": tiny.checkpoint(), "teacher": student}):
        with pytest.raises(UserError, match=line):
            pair(tmp_path, **models_of)


def test_an_altered_tokenizer_with_the_same_tokens_is_refused(tmp_path, student):
    path = student / "tokenizer.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match="altered file: .*tokenizer.json"):
        pair(tmp_path, student)


def refused(tmp_path, match, **changes):
    with pytest.raises(UserError, match=match):
        pair(tmp_path, changes.pop("student", tiny.checkpoint()), **changes)
    assert not (tmp_path / "pair.json").exists()


def narrow(folder, **settings):
    save_checkpoint(
        tiny.random_llama(0, **settings), folder, tiny.tokenizer_folder(), {"kind": "t"}
    )
    return folder


def test_a_head_with_fewer_outputs_than_tokens_is_refused(tmp_path):
    small = narrow(tmp_path / "small", vocabulary=262)
    refused(
        tmp_path, r"small: the model has 262 outputs, but token '\)\.' has id 262", student=small
    )


def test_more_stored_tokens_than_there_are_is_refused(tmp_path):
    refused(tmp_path, "k = 264: teacher and student share 263 tokens", k=264)


def test_rows_that_cannot_be_scored_are_refused(tmp_path):
    rows = tiny.yes_no_rows(3)
    rows[1] |= {"candidates": ["Yes", "Nope"], "answer": "Yes", "response": "Yes"}
    refused(tmp_path, "candidate 'Nope' is .* tokens: row train/000001", tests=rows)
    refused(tmp_path, "candidate 'Nope' is .* tokens: row train/000001", rows=rows)


def test_a_test_longer_than_either_model_reads_is_refused(tmp_path):
    rows = tiny.yes_no_rows(3, words=1)
    rows[2]["prompt"] = "lamp " * 300 + rows[2]["prompt"]  # 1,500 bytes; the models read 1,024
    refused(tmp_path, "row train/000002: .* tokens: the model reads 1024", tests=rows)
