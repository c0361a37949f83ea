"""Bad numbers in training and in model outputs: step and rows are reported, nothing is written."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from first_distill.files import read_json
from first_distill.models.checkpoints import save_checkpoint
from tests import tiny_models as tiny
from tests.system.faults import tried
from tests.system.faults.forked import refusal, script

ROWS = {f"train/{i:06d}" for i in range(8)}
TEACHERS = "--model {0}/base --train {0}/t.parquet --validation {0}/t.parquet --batch-size 4"
COMMON = "--output-dir {0}/out --block-length 400 --seed 1 --state-dir {0}/.state --epochs {1}"
STUDENT = f"{TEACHERS} --method m --objective"
JOBS = {
    "teacher": ("teacher", TEACHERS),
    "student": ("student", f"{STUDENT} hard_labels"),
    "matching": ("student", f"{STUDENT} knowledge --knowledge {{0}}/store"),
    "pretraining": (
        "models",
        "pretrain --start-from {0}/base --tokenizer {0}/base --text {0}/t.parquet --batch-size 4",
    ),
}


def nan(model) -> None:
    model.lm_head.weight[5, 0] = math.nan


def infinite(model) -> None:
    """One logit is infinite."""
    model.model.norm.weight *= 1e25
    model.lm_head.weight[5] = 1e30


def steep(model) -> None:
    """The same logits from other factors: the loss is finite, the norm's square is not."""
    model.model.norm.weight *= 1e-25
    model.lm_head.weight *= 1e25


def large(model) -> None:
    """A token that no row has, and that weight decay alone will change."""
    model.model.embed_tokens.weight[100] = 1e6


def sound(model) -> None:
    """Nothing is wrong yet."""


def make(folder, spoil: Callable) -> None:
    """A base checkpoint, spoilt, with a table; and the knowledge of a sound teacher."""
    model = tiny.random_llama(0)
    with torch.no_grad():
        spoil(model)
    save_checkpoint(model, folder / "base", tiny.tokenizer_folder(), {"kind": "test"})
    tiny.write_table(folder / "t.parquet", tiny.choice_rows(8))


def extract(folder, model) -> tuple[int, str]:
    line = f"--model {model} --data {folder}/t.parquet --k 8 --block-length 400"
    return script(folder, "knowledge", f"{line} --output-dir {folder}/store")


def train(
    folder, job: str, rate: float, epochs: float = 2, warm: float = 0.0, decay=0
) -> tuple[int, str]:
    module, line = JOBS[job]
    if job == "matching" and not (folder / "store").exists():
        assert extract(folder, tiny.checkpoint("teacher", 7))[0] == 0
    line += f" {COMMON} --learning-rate {rate} --warmup-ratio {warm} --weight-decay {decay}"
    return script(folder, module, line.format(folder, epochs), FIRST_CHECKPOINT_MINUTES="0")


def check_nothing_finished(folder) -> None:
    """No record, no weights, no numbers; and state that holds only finite ones."""
    assert not [p for p in folder.rglob("out/**/*") if p.is_file()]
    for path in folder.rglob(".state/**/*.safetensors"):
        assert all(np.isfinite(values).all() for values in load_file(path).values()), path


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("spoil", [nan, infinite, steep])
def test_a_loss_or_gradient_that_is_not_finite(tmp_path, job, spoil):
    make(tmp_path, spoil)
    line = refusal(train(tmp_path, job, 0.01))
    what = "gradient is inf" if spoil is steep else "loss is (nan|inf)"
    assert re.search(f"the {what} at step 1: .*rows .*no checkpoint was written", line), line
    named = set(re.findall(r"train/\d{6}", line))
    assert len(named) == 3 and named <= ROWS and " and 1 more: " in line  # of the batch
    check_nothing_finished(tmp_path)
    tried(f"{spoil.__name__} weights, training of {job}", 1, 1, 0, line)


@pytest.mark.parametrize("job", ["student", "pretraining"])
def test_a_step_that_diverges_leaves_no_checkpoint_and_no_state_of_nan(tmp_path, job):
    """Step 1 has a rate of 0 (warm-up), step 2 ruins the weights, step 3 reports it."""
    make(tmp_path, sound)
    line = refusal(train(tmp_path, job, 1e17, warm=0.1))
    assert re.search(r"(loss|gradient) is (nan|inf) at step 3: .*train/", line), line
    check_nothing_finished(tmp_path)
    assert list(tmp_path.rglob(".state/**/*.safetensors"))  # what was saved is finite
    again = train(tmp_path, job, 1e17, warm=0.1)
    assert "resumed at step 2" in again[1]
    assert refusal(again) == line
    check_nothing_finished(tmp_path)
    tried(f"a diverging step, then resumed, {job}", 2, 2, 0, line)


@pytest.mark.parametrize("job", ["student", "pretraining"])
@pytest.mark.parametrize("epochs", [0.5, 1])
def test_a_step_that_overflows_a_weight(tmp_path, job, epochs):
    """Its loss and gradient are finite; saved as state or after the last step, it would be used."""
    make(tmp_path, large)
    line = refusal(train(tmp_path, job, 1e17, epochs, decay=1e17))
    assert "a weight is not finite after step 1: no checkpoint" in line, line
    check_nothing_finished(tmp_path)
    assert not list(tmp_path.rglob(".state/**/*.safetensors"))
    tried(f"a step that overflows a weight, {job}", 1, 1, 0, line)


@pytest.mark.parametrize("word", ["nan", "inf", "1e39", "-1", "0"])
def test_a_learning_rate_that_is_none(tmp_path, word):
    make(tmp_path, sound)
    line = refusal(train(tmp_path, "teacher", word))
    assert "learning_rate = " in line
    check_nothing_finished(tmp_path)
    tried(f"a learning rate of {word}", 1, 1, 0, line)


def test_a_last_step_that_ruins_the_model_is_noticed_by_validation(tmp_path):
    """Finite weights, so large that the output is not."""
    make(tmp_path, sound)
    line = refusal(train(tmp_path, "teacher", 1e17, 0.5))
    assert re.search("the model's output is not finite: rows train/", line), line
    check_nothing_finished(tmp_path)
    tried("finite weights, output not finite, at validation", 1, 1, 0, line)


@pytest.mark.parametrize("spoil", [nan, infinite])
def test_a_model_whose_output_is_not_finite_is_not_extracted_or_evaluated(tmp_path, spoil):
    make(tmp_path, spoil)
    found = [refusal(extract(tmp_path, tmp_path / "base")), refusal(evaluate(tmp_path))]
    for line in found:
        assert re.search(r"not finite: rows train/000\d\d\d, .* and \d more: nothing was", line)
    assert not list(tmp_path.rglob("store/*")) and not (tmp_path / "evaluated").exists()
    tried(f"{spoil.__name__} weights, extraction and evaluation", 2, 2, 0, line)


def evaluate(folder) -> tuple[int, str]:
    line = f"--model {folder}/base --tests {folder}/t.parquet --output-dir {folder}/evaluated"
    line += " --scale tiny --family alder --corpus csqa --method finetune --seed 1"
    return script(folder, "evaluation", f"{line} --benchmarks csqa")


def dead(model) -> None:
    """The same output for every row: `a` with a fifth, as the labels of five choices have it."""
    model.lm_head.weight.zero_()


def test_a_dead_student_is_recorded_as_one(tmp_path):
    make(tmp_path, dead)
    assert evaluate(tmp_path)[0] == 0
    metrics = read_json(tmp_path / "evaluated/metrics.json")
    assert metrics["benchmarks"]["csqa"]["constant_output"] is True
    tried("a dead student, evaluated", 1, 1, 0, "metrics.json: constant_output: true")


def test_a_student_with_fewer_outputs_than_tokens_is_refused_before_training(tmp_path):
    make(tmp_path, sound)
    narrow = tiny.random_llama(0, vocabulary=260)
    save_checkpoint(narrow, tmp_path / "base", tiny.tokenizer_folder(), {"kind": "test"})
    line = refusal(train(tmp_path, "matching", 0.01))
    assert "the model has 260 outputs, but token 'Yes' has id 260" in line
    check_nothing_finished(tmp_path)
    tried("a student with fewer outputs than tokens", 1, 1, 0, line)
