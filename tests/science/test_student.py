"""The student's command line: every option counts, every mistake is one line."""

import json

import numpy as np
import pytest

from first_distill.errors import UserError
from first_distill.files import read_json, sha256_file
from first_distill.knowledge.store import KnowledgeStore
from scripts import knowledge, student
from tests import tiny_models as tiny
from tests.sealed import reseal


def arguments(tmp_path, *extra, rows=None, method="first_ts", **replaced) -> list[str]:
    options = {
        "model": tiny.checkpoint(),
        "train": tiny.write_table(tmp_path / "train.parquet", rows or tiny.choice_rows(8)),
        "validation": tiny.write_table(tmp_path / "validation.parquet", tiny.choice_rows(5, 1)),
        "output-dir": tmp_path / "out",
        "method": method,
        "objective": "knowledge",
        "block-length": 400,
        "epochs": 1,
        "batch-size": 4,
        "learning-rate": 0.01,
        "seed": 3,
    }
    options.update({key.replace("_", "-"): value for key, value in replaced.items()})
    words = [[f"--{key}", str(value)] for key, value in options.items() if value is not None]
    return [word for pair in words for word in pair] + list(extra)


def make_store(tmp_path, rows=None, k: int = 8, teacher=None):
    table = tiny.write_table(tmp_path / "known.parquet", rows or tiny.choice_rows(8))
    folder = tmp_path / "store"
    knowledge.main(
        ["--model", str(teacher or tiny.checkpoint("teacher", 7)), "--data", str(table)]
        + ["--k", str(k), "--block-length", "400", "--output-dir", str(folder)]
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))


def test_command_line_trains_and_records(tmp_path, made):
    first = ["--recalibration", "prob_softmax", "--c", "0.3", "--knowledge", str(made)]
    student.main(arguments(tmp_path, *first))
    record = read_json(tmp_path / "out" / "record.json")
    assert record["recalibration"] == {"name": "prob_softmax", "k": 5, "c": 0.3}
    assert (record["method"], record["student_side"], record["kind"]) == (
        "first_ts",
        "full_vocab",
        "student",
    )
    base = read_json(tiny.checkpoint() / "record.json")["files"]["model.safetensors"]["sha256"]
    assert record["base"] == base != record["files"]["model.safetensors"]["sha256"]
    assert record["corpus"]["train"] == sha256_file(tmp_path / "train.parquet")
    assert record["encoding"]["supervised_positions"] == 24
    assert [point["step"] for point in record["curve"]] == [1, 2]
    assert str(tmp_path) not in (tmp_path / "out" / "record.json").read_text()
    assert read_json(tmp_path / "out" / "validation.json")["n"] == 5


def weights(tmp_path, name, *extra, **replaced) -> str:
    folder = tmp_path / name
    student.main(arguments(tmp_path, *extra, output_dir=folder, **replaced))
    return sha256_file(folder / "model.safetensors")


def test_every_method_option_changes_the_student(tmp_path, made):
    """B20 once more, from the command line to the weights; and the same options repeat."""
    store = ["--knowledge", str(made)]
    soft = [*store, "--recalibration", "prob_softmax"]
    smooth = [*store, "--recalibration", "label_smoothing"]
    runs = {
        "none": store,
        "c28": [*soft, "--c", "0.28"],
        "c30": [*soft, "--c", "0.3"],
        "answer": [*soft, "--c", "0.28", "--ts-positions", "answer_only"],
        "renorm": [*soft, "--c", "0.28", "--student-side", "renorm"],
        "same_c": [*soft, "--c", "0.28", "--student-side", "softmax_same_c"],
        "tail": [*soft, "--c", "0.28", "--student-side", "tail_bucket"],
        "k3": [*soft, "--c", "0.28", "--k", "3"],
        "ls": smooth,
        "ls2": [*smooth, "--delta", "0.2"],
        "lslog": [*smooth, "--ls-space", "log"],
    }
    hashes = {name: weights(tmp_path, name, *extra) for name, extra in runs.items()}
    hashes["hard"] = weights(tmp_path, "hard", objective="hard_labels")
    assert len(set(hashes.values())) == len(runs) + 1
    assert weights(tmp_path, "again", *runs["c28"]) == hashes["c28"]
    (tmp_path / "temperature").mkdir()
    reseal(tmp_path / "temperature/selected.json", {"c": 0.28})
    selected = [*soft, "--c", str(tmp_path / "temperature/selected.json")]
    assert weights(tmp_path, "selected", *selected) == hashes["c28"]


def test_same_c_without_temperature_is_renorm(tmp_path, made):
    extra = ["--knowledge", str(made), "--student-side"]
    assert weights(tmp_path, "a", *extra, "softmax_same_c") == weights(
        tmp_path, "b", *extra, "renorm"
    )
    assert read_json(tmp_path / "a" / "record.json")["student_side"] == "renorm"


SOFT = ["--recalibration", "prob_softmax"]


@pytest.mark.parametrize(
    "extra, replaced, match",
    [
        ([], {"knowledge": None}, "--knowledge"),
        (SOFT, {}, "give --c"),
        ([*SOFT, "--c", "0"], {}, "--c 0:"),
        ([*SOFT, "--c", "1.01"], {}, "--c 1.01:"),
        ([*SOFT, "--c=-0.3"], {}, "--c -0.3:"),
        ([*SOFT, "--c", "nan"], {}, "--c nan:"),
        ([*SOFT, "--c", "warm"], {}, "--c warm:"),
        ([*SOFT, "--c", "nowhere.json"], {}, "nowhere.json"),
        (["--c", "0.3"], {}, "leave out --c"),  # silently ignored, it would train something else
        (["--recalibration", "label_smoothing", "--delta", "0"], {}, "delta"),
        (["--recalibration", "label_smoothing", "--delta", "1"], {}, "delta"),
        (["--recalibration", "label_smoothing", "--k", "1"], {}, "k = 1"),
        (["--k", "9"], {}, "k = 9"),
        ([], {"epochs": 0}, "epochs"),
        ([], {"epochs": -1}, "epochs"),
        ([], {"learning_rate": -0.1}, "learning_rate"),
        ([], {"block_length": 3}, "no row fits"),
        ([], {"model": "nowhere"}, "missing checkpoint"),
        ([], {"train": "nowhere.parquet"}, "file not found"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tmp_path, made, extra, replaced, match):
    options = {"knowledge": made, **replaced}
    if options.get("block_length"):
        options["validation"] = options["train"] = tiny.write_table(
            tmp_path / "i.parquet", tiny.instruction_rows(3)
        )
    with pytest.raises(UserError, match=match) as caught:
        student.main(arguments(tmp_path, *extra, **options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_selected_file_without_c(tmp_path, made):
    reseal(tmp_path / "s.json", {})
    extra = [*SOFT, "--c", str(tmp_path / "s.json")]
    with pytest.raises(UserError, match="s.json"):
        student.main(arguments(tmp_path, *extra, knowledge=made))


def test_knowledge_of_another_corpus_is_refused(tmp_path, made):
    with pytest.raises(UserError, match="not in the knowledge store"):
        student.main(arguments(tmp_path, rows=tiny.choice_rows(8, seed=5), knowledge=made))
    assert not (tmp_path / "out").exists()


def test_knowledge_of_another_tokenizer_is_refused(tmp_path):
    from first_distill.models.checkpoints import save_checkpoint

    other = tmp_path / "tokenizer"
    other.mkdir()
    for source in tiny.tokenizer_folder().iterdir():
        (other / source.name).write_text(source.read_text())
    content = json.loads((other / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(content))
    save_checkpoint(tiny.random_llama(7), tmp_path / "teacher", other, {"kind": "test"})
    folder = make_store(tmp_path, teacher=tmp_path / "teacher")
    with pytest.raises(UserError, match="different vocabularies"):
        student.main(arguments(tmp_path, knowledge=folder))
    assert not (tmp_path / "out").exists()


def test_a_padded_teacher_teaches_a_student_whose_head_is_not(tmp_path):
    """As Qwen2.5's: 152,064 and 151,936 outputs for 151,665 tokens."""
    folder = make_store(tmp_path, teacher=tiny.padded_checkpoint())
    assert KnowledgeStore.open(folder).manifest["padding"]["share"] > 0.5
    student.main(arguments(tmp_path, knowledge=folder))
    assert (tmp_path / "out/record.json").is_file()


@pytest.mark.parametrize(("rank", "refused"), [(4, True), (5, False)])
def test_only_the_k_that_are_used_must_be_outputs_of_the_student(tmp_path, made, rank, refused):
    from first_distill.training.knowledge_loss import KnowledgeLoss

    store = KnowledgeStore.open(made)
    arrays = {**store.arrays, "ids": np.array(store.arrays["ids"])}
    arrays["ids"][3, rank] = 270
    loss = KnowledgeLoss(KnowledgeStore(arrays, store.manifest), 5)
    rows = tiny.encode(tiny.choice_rows(8))
    loss.check(rows, tiny.tokenizer(), 271)
    if refused:
        with pytest.raises(UserError, match="exceeds the student's: --knowledge has id 270"):
            loss.check(rows, tiny.tokenizer(), 263)
    else:
        loss.check(rows, tiny.tokenizer(), 263)
