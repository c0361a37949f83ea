"""Knowledge matching: targets, the join by content hash, and the student's command line."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts import knowledge, student
from scripts.first.batching import collate
from scripts.first.errors import UserError
from scripts.first.files import read_json, sha256_file
from scripts.first.inference import supervised_logits
from scripts.first.matching import MatchingLoss, recalibrated_targets
from scripts.first.store import KnowledgeStore, id_dtype
from tests import tiny_models as tiny

ROWS = tiny.choice_rows(6) + tiny.yes_no_rows(3)
P1, P2 = (0.95, 0.03, 0.01, 0.005, 0.003), (0.90, 0.05, 0.03, 0.01, 0.005)


def hand_made(probabilities=(P1, P2, P1), counts=(2, 1)) -> KnowledgeStore:
    """A store of the reference vectors of method.md, log-probabilities kept exact (float64)."""
    p = np.asarray(probabilities)
    n = len(p)
    return KnowledgeStore(
        {
            "ids": np.tile(np.arange(p.shape[1]), (n, 1)).astype(np.uint16),
            "log_probs": np.log(p),
            "log_tail": np.log(1 - p.sum(1)),
            "gold_rank": np.zeros(n, np.uint8),
            "offsets": np.concatenate([[0], np.cumsum(counts)]),
            "row_hashes": np.zeros((len(counts), 16), np.uint8),
        },
        {"tokenizer": "x", "files": {}},
    )


def test_targets_are_the_reference_vectors_o4_o5_o7():
    store = hand_made()
    plain = recalibrated_targets(store, 5, "none", {})
    np.testing.assert_allclose(
        plain[0], (0.9519, 0.030061, 0.010021, 0.005011, 0.003007), atol=1e-6
    )
    smooth = recalibrated_targets(store, 5, "label_smoothing", {"delta": 0.1, "space": "prob"})
    np.testing.assert_allclose(
        smooth[0], (0.8519, 0.055061, 0.035021, 0.030011, 0.028007), atol=1e-6
    )
    log = recalibrated_targets(store, 5, "label_smoothing", {"delta": 0.1, "space": "log"})
    assert log[0, 0] == pytest.approx(0.945842, abs=1e-6)
    softmax = recalibrated_targets(store, 5, "prob_softmax", {"c": 0.28})
    np.testing.assert_allclose(
        softmax[0], (0.876854, 0.032806, 0.030545, 0.030004, 0.029791), atol=1e-6
    )
    assert softmax[1, 0] == pytest.approx(0.851, abs=5e-4)
    for targets in (plain, smooth, log, softmax):
        assert targets.dtype == np.float32
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)


def test_every_option_changes_the_targets():
    """B20: no option may cancel or be ignored."""
    store = hand_made()
    variants = [
        recalibrated_targets(store, 5, name, settings, positions)
        for name, settings, positions in [
            ("none", {}, "all"),
            ("label_smoothing", {"delta": 0.1, "space": "prob"}, "all"),
            ("label_smoothing", {"delta": 0.2, "space": "prob"}, "all"),
            ("label_smoothing", {"delta": 0.1, "space": "log"}, "all"),
            ("prob_softmax", {"c": 0.28}, "all"),
            ("prob_softmax", {"c": 0.3}, "all"),
            ("prob_softmax", {"c": 0.28}, "answer_only"),
        ]
    ]
    for i, one in enumerate(variants):
        for other in variants[:i]:
            assert np.abs(one - other).max() > 1e-3


def test_answer_only_leaves_other_positions_normalised():
    store = hand_made()  # rows of 2 and 1 positions: the answers are positions 0 and 2
    targets = recalibrated_targets(store, 5, "prob_softmax", {"c": 0.28}, "answer_only")
    everywhere = recalibrated_targets(store, 5, "prob_softmax", {"c": 0.28})
    plain = recalibrated_targets(store, 5, "none", {})
    np.testing.assert_array_equal(targets[[0, 2]], everywhere[[0, 2]])
    np.testing.assert_array_equal(targets[1], plain[1])


def test_smaller_k_uses_the_first_tokens_only():
    two = recalibrated_targets(hand_made(), 2, "prob_softmax", {"c": 0.28})
    expected = 1 / (1 + math.exp((0.03 - 0.95) / 0.28))
    np.testing.assert_allclose(two[0], (expected, 1 - expected), atol=1e-6)
    with pytest.raises(UserError, match="stored_k"):
        recalibrated_targets(hand_made(), 6, "none", {})


@pytest.fixture(scope="module")
def encoded():
    return tiny.encode(ROWS)


@pytest.fixture(scope="module")
def store(encoded):
    arrays = knowledge.extract(tiny.random_llama(7), encoded, 8, tiny.EOS, 500)
    return KnowledgeStore(arrays, {})


def dense_losses(store, encoded, model, c: float) -> dict[bytes, torch.Tensor]:
    """Eq. 5 row by row from plain forward passes: sum q (log q - log p_S), k = 5."""
    found = {}
    for index, row in enumerate(encoded):
        log_student = tiny.full_logits(model, row)[row.prompt_length - 1 :].log_softmax(-1)
        known = store.row(index, 5)
        losses = []
        for position in range(len(row.labels)):
            p = np.exp(known["log_probs"][position].astype(np.float64))
            q = np.exp(p / c) / np.exp(p / c).sum()
            student_side = log_student[position][known["ids"][position].astype(np.int64)].numpy()
            losses.append(float((q * (np.log(q) - student_side)).sum()))
        found[row.row_hash] = torch.tensor(losses)
    return found


@pytest.mark.parametrize("order", ["same", "reversed", "subset"])
def test_rows_join_by_content_whatever_the_order(store, encoded, order):
    """B6: shuffled training rows meet their own knowledge."""
    model = tiny.random_llama(0)
    rows = {"same": encoded, "reversed": encoded[::-1], "subset": encoded[4:1:-1]}[order]
    loss = MatchingLoss(
        rows, store, recalibrated_targets(store, 5, "prob_softmax", {"c": 0.3}), "full_vocab", 0.3
    )
    expected = dense_losses(store, encoded, model, 0.3)
    chosen = np.random.default_rng(0).permutation(len(rows))
    batch = collate(rows, chosen, tiny.EOS)
    with torch.no_grad():
        found = loss(supervised_logits(model, batch), batch)
    own = torch.cat([expected[rows[i].row_hash] for i in chosen])
    torch.testing.assert_close(found, own.float(), atol=1e-4, rtol=1e-4)
    if order == "same":
        assert (found - torch.cat([expected[r.row_hash] for r in rows])).abs().max() > 0.1


@pytest.mark.parametrize("k", [3, 8])
def test_tail_bucket_gets_the_mass_of_its_own_k(store, encoded, k):
    model = tiny.random_llama(0)
    batch = collate(encoded, np.arange(len(encoded)), tiny.EOS)
    targets = recalibrated_targets(store, k, "none", {})
    with torch.no_grad():
        logits = supervised_logits(model, batch)
        found = MatchingLoss(encoded, store, targets, "tail_bucket", None)(logits, batch)
    p = logits.double().softmax(-1).numpy()
    ids = store.ids[:, :k].astype(np.int64)
    head = np.take_along_axis(p, ids, 1)
    teacher = [tiny.full_logits(tiny.random_llama(7), r)[r.prompt_length - 1 :] for r in encoded]
    exact = torch.cat(teacher).softmax(-1).numpy()
    m = np.take_along_axis(exact, ids, 1).sum(1)
    mq = targets * m[:, None]
    expected = (mq * np.log(mq / head)).sum(1) + (1 - m) * np.log((1 - m) / (1 - head.sum(1)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=5e-3, atol=5e-3)


def test_row_without_knowledge_is_refused(store, encoded):
    stranger = tiny.encode(tiny.choice_rows(1, seed=99))
    with pytest.raises(UserError, match="not in the knowledge store"):
        MatchingLoss([*encoded, *stranger], store, store.probabilities(5), "full_vocab", None)


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
    (tmp_path / "selected.json").write_text('{"c": 0.28}')
    selected = [*soft, "--selected", str(tmp_path / "selected.json")]
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
        (SOFT, {}, "--c or --selected"),
        ([*SOFT, "--c", "0.3", "--selected", "x.json"], {}, "--c or --selected"),
        ([*SOFT, "--c", "0"], {}, "c = 0"),
        ([*SOFT, "--c", "1.01"], {}, "c = 1.01"),
        ([*SOFT, "--c", "-0.3"], {}, "c = -0.3"),
        ([*SOFT, "--c", "nan"], {}, "c = nan"),
        ([*SOFT, "--selected", "nowhere.json"], {}, "nowhere.json"),
        (["--c", "0.3"], {}, "--c"),  # silently ignored, it would train something else
        (["--recalibration", "label_smoothing", "--delta", "0"], {}, "delta"),
        (["--recalibration", "label_smoothing", "--delta", "1"], {}, "delta"),
        (["--recalibration", "label_smoothing", "--k", "1"], {}, "k = 1"),
        (["--k", "0"], {}, "k = 0"),
        (["--k", "9"], {}, "k = 9"),
        ([], {"batch_size": 0}, "batch_size"),
        ([], {"epochs": 0}, "epochs"),
        ([], {"epochs": -1}, "epochs"),
        ([], {"learning_rate": -0.1}, "learning_rate"),
        ([], {"micro_batch_size": 0}, "micro_batch_size"),
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
    (tmp_path / "s.json").write_text("{}")
    extra = [*SOFT, "--selected", str(tmp_path / "s.json")]
    with pytest.raises(UserError, match="s.json"):
        student.main(arguments(tmp_path, *extra, knowledge=made))


def test_knowledge_of_another_corpus_is_refused(tmp_path, made):
    with pytest.raises(UserError, match="not in the knowledge store"):
        student.main(arguments(tmp_path, rows=tiny.choice_rows(8, seed=5), knowledge=made))
    assert not (tmp_path / "out").exists()


def test_knowledge_of_another_tokenizer_is_refused(tmp_path):
    from scripts.first.checkpoints import save_checkpoint

    other = tmp_path / "tokenizer"
    other.mkdir()
    for source in tiny.tokenizer_folder().iterdir():
        text = source.read_text()
        (other / source.name).write_text(text + " " if source.name == "tokenizer.json" else text)
    save_checkpoint(tiny.random_llama(7), tmp_path / "teacher", other, {"kind": "test"})
    folder = make_store(tmp_path, teacher=tmp_path / "teacher")
    with pytest.raises(UserError, match="different vocabularies"):
        student.main(arguments(tmp_path, knowledge=folder))
    assert not (tmp_path / "out").exists()


def test_student_with_fewer_outputs_than_the_teacher_is_refused(tmp_path):
    """B12: a teacher's head may be padded beyond its tokenizer, and such an id may be stored."""
    from scripts.first.checkpoints import save_checkpoint

    wide = tiny.random_llama(7, vocabulary=300)
    with torch.no_grad():
        wide.lm_head.weight[290] = wide.lm_head.weight[:263].abs().max(0).values * 9
        wide.lm_head.weight[291] = -wide.lm_head.weight[290]
    save_checkpoint(wide, tmp_path / "teacher", tiny.tokenizer_folder(), {"kind": "test"})
    folder = make_store(tmp_path, teacher=tmp_path / "teacher")
    assert int(KnowledgeStore.open(folder).ids.max()) >= 263
    assert id_dtype(300) is np.uint16
    with pytest.raises(UserError, match="vocabular"):
        student.main(arguments(tmp_path, knowledge=folder))
    assert not (tmp_path / "out").exists()
