"""A family's key `bos` through the stages: what is trained on, stored, evaluated and recorded."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.models.tokenizer import load_tokenizer
from scripts import evaluation, knowledge, student, teacher
from tests import families
from tests import tiny_models as tiny

ROWS = tiny.choice_rows(8)
NEVER = ("--bos", "never")
LABELS = "--scale s --family f --corpus csqa --method teacher --seed 1 --benchmarks csqa".split()


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bos")
    tiny.write_table(folder / "train.parquet", ROWS)
    tiny.write_table(folder / "validation.parquet", tiny.choice_rows(5, 1))
    return folder


def extracted(tables, out, *extra, model=None):
    words = ["--model", model or tiny.checkpoint("teacher", 7), "--data", tables / "train.parquet"]
    words += ["--k", 8, "--block-length", 400, "--output-dir", out, *extra]
    knowledge.main([str(word) for word in words])
    return out


def trained(main, tables, out, *extra, model=None):
    words = ["--model", model or tiny.checkpoint(), "--output-dir", out, "--block-length", 400]
    words += ["--train", tables / "train.parquet", "--validation", tables / "validation.parquet"]
    words += ["--epochs", 1, "--batch-size", 4, "--learning-rate", 0.01, "--seed", 3, *extra]
    main([str(word) for word in words])
    return read_json(out / "record.json")


def test_knowledge_and_student_must_agree(tables, tmp_path):
    store = extracted(tables, tmp_path / "store", *NEVER)
    assert read_json(store / "manifest.json")["bos"] == {"policy": "never", "ids": []}
    method = ["--method", "x", "--objective", "knowledge", "--knowledge", store]
    with pytest.raises(UserError, match="row train/000000 is not in the knowledge store.*BOS"):
        trained(student.main, tables, tmp_path / "auto", *method)
    assert not (tmp_path / "auto").exists()
    record = trained(student.main, tables, tmp_path / "never", *method, *NEVER)
    assert record["bos"] == {"policy": "never", "ids": []}


def test_parts_must_agree(tables, tmp_path):
    for i, extra in ((1, ()), (2, NEVER)):
        extracted(tables, tmp_path / str(i), "--part", f"{i}-of-2", *extra)
    with pytest.raises(UserError, match="part of another extraction: .*/2: it differs in bos"):
        extracted(tables, tmp_path / "all", "--merge", tmp_path / "1", tmp_path / "2")


@pytest.mark.parametrize("bos", ["auto", "always", "never"])
def test_the_model_reads_what_the_record_says(tables, tmp_path, bos):
    """Confidences from a plain forward pass over the ids of the record and of the raw prompt."""
    words = ["--model", tiny.checkpoint("teacher", 7), "--tests", tables / "train.parquet"]
    words += ["--output-dir", tmp_path, "--bos", bos, *LABELS]
    evaluation.main([str(word) for word in words])
    record = read_json(tmp_path / "metrics.json")["bos"]
    assert record == {"policy": bos, "ids": [] if bos == "never" else [tiny.BOS]}
    model, encode = tiny.random_llama(7), tiny.tokenizer().encode
    found = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    for row, one in zip(ROWS, found, strict=True):
        ids = torch.tensor([[*record["ids"], *encode(row["prompt"])[1:]]])
        own = model(ids).logits[0, -1].double().log_softmax(-1).detach().numpy()
        letters = [encode(letter)[1] for letter in "abcde"]
        np.testing.assert_allclose(one["candidate_log_probs"], own[letters], atol=1e-4)


def test_a_family_without_bos(tables, tmp_path):
    """Qwen's kind: `auto` puts none, `always` is refused before anything is trained."""
    from first_distill.models.checkpoints import save_checkpoint

    folder = families.tokenizer("qwen")
    tokenizer = load_tokenizer(folder)
    model = tiny.random_llama(1, vocabulary=tokenizer.vocabulary_size)
    save_checkpoint(model, tmp_path / "base", folder, {"kind": "test"})
    record = trained(teacher.main, tables, tmp_path / "out", model=tmp_path / "base")
    assert record["bos"] == {"policy": "auto", "ids": []}
    store = extracted(tables, tmp_path / "store", model=tmp_path / "out")
    assert read_json(store / "manifest.json")["bos"] == {"policy": "auto", "ids": []}
    options = ("--bos", "always")
    with pytest.raises(UserError, match="no bos_token: .*/base: none is named"):
        trained(teacher.main, tables, tmp_path / "no", *options, model=tmp_path / "base")
    assert not (tmp_path / "no").exists()
