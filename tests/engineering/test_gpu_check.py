"""`make gpu-check` in its reduced form on a CPU, and the faults that its verdicts have to see."""

import copy
import json
import subprocess
import sys
from itertools import takewhile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.gpu import __main__ as check
from benchmarks.gpu import precision, speed, trainings
from benchmarks.gpu.models import REDUCED, Place
from benchmarks.gpu.rows import Clock, Row, within
from first_distill.runtime.state import read_seal, seal_part
from tests import tiny_models as tiny


@pytest.fixture
def place(tmp_path):
    torch.set_num_threads(1)
    return Place("cpu", REDUCED, tmp_path, Clock(600))


def run(*words):
    command = [sys.executable, "-m", "benchmarks.gpu", *map(str, words)]
    return subprocess.run(command, cwd=tiny.REPOSITORY, capture_output=True, text=True)


@pytest.mark.slow
def test_reduced(tmp_path):
    """All checks pass on a CPU; the JSON has the machine and every row of the table."""
    process = run("--reduced", "--output", tmp_path / "check.json")
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads((tmp_path / "check.json").read_text())
    facts = found["hardware"]
    assert {"cpu", "cores", "torch", "transformers", "commit", "date"} <= facts.keys()
    rows = found["rows"]
    assert {row["verdict"] for row in rows} == {"pass", ""}
    names = [row["name"] for row in rows]
    for name in ("float32", "bfloat16", "determinism", "resume", "sharding", "cpu", "matmul"):
        assert name in names
    assert process.stdout.count("\n| ") == len(rows) + 1
    of = {(row["name"], row["what"]): row for row in rows}
    # Not vacuous: bfloat16 is off by something, and within what was derived.
    value = of["bfloat16", "step on labels: gradient, relative"]
    assert 1e-3 < value["value"] < value["tolerance"] < 0.2
    assert all(row["value"] > 0 for row in rows if "tokens a second" in row["what"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_told_in_one_line():
    process = run()
    assert process.returncode == 2 and process.stdout == ""
    assert process.stderr.startswith("error: no GPU: torch") and process.stderr.count("\n") == 1


def float32_rows(place, tested):
    found = takewhile(lambda row: row.name == "float32", precision.rows(place, tested))
    return {row.what: row for row in found}


def test_weights_rounded_as_tf32_rounds_them_are_seen(place):
    """11 bits of 24: what a float32 product would read, if TF32 were on."""
    tested = copy.deepcopy(precision.compared_model(place))
    for parameter in tested.parameters():
        bits = parameter.data.view(torch.int32)
        bits.add_(0x1000).bitwise_and_(~0x1FFF)
    rows = float32_rows(place, tested)
    for what in (
        "evaluation: candidates' log-probabilities",
        "step on labels: gradient, relative",
        "step on knowledge: gradient, relative",
        "step on labels: loss",
    ):
        assert rows[what].verdict == "FAIL", rows[what]
        assert rows[what].value > 2 * rows[what].tolerance


def test_one_changed_weight_is_seen(place):
    """One of the 400 thousand, on the device's side alone."""
    tested = copy.deepcopy(precision.compared_model(place))
    tested.model.layers[0].self_attn.v_proj.weight.data[3, 5] += 0.01
    rows = float32_rows(place, tested)
    assert rows["evaluation: candidates' log-probabilities"].verdict == "FAIL"
    assert rows["step on labels: gradient, relative"].verdict == "FAIL"
    # The optimizer is judged by the gradient that it was given.
    assert rows["step on labels: weights against AdamW of its gradient"].verdict == "pass"


def test_a_wrong_optimizer_step_is_seen():
    """AdamW's first step by hand passes; another rate, and no clipping where |g| is small, fail."""
    from first_distill.training.settings import Settings

    settings = Settings(epochs=1, batch_size=1, learning_rate=1e-3, seed=0, weight_decay=0.01)
    gradients = {"w": torch.linspace(-3, 3, 64)}
    gradients["w"][:8] = 1e-5
    before = torch.linspace(-1, 1, 64)
    clipped = gradients["w"] / gradients["w"].norm()

    def stepped(gradient, rate):
        return before * (1 - rate * 0.01) - rate * gradient / (gradient.abs() + 1e-6)

    def error(after):
        return precision.update_error({"w": before}, gradients, {"w": after}, settings)

    assert error(stepped(clipped, 1e-3)) < 1
    assert error(stepped(clipped, 1.001e-3)) > 1
    assert error(stepped(gradients["w"], 1e-3)) > 1


def test_twice_the_rounding_errors_are_seen():
    """Errors of bfloat16 that are three times those of the CPU's own, in each number."""
    draw = np.random.default_rng(0)

    def outcome(size):
        arrays = {"log_probs": size * draw.standard_normal((50, 5))}
        vector = torch.from_numpy(size * draw.standard_normal(500))
        steps = {name: precision.Step(1.0, vector, 0.0) for name in precision.MICRO}
        return precision.Outcome(arrays, size * draw.standard_normal((50, 5)), steps)

    exact, own = outcome(0.0), outcome(0.01)
    for size, verdict in ((0.01, "pass"), (0.03, "FAIL")):
        rows = list(precision.sizes_of_errors(outcome(size), own, exact))
        assert {row.verdict for row in rows} == {verdict} and len(rows) == 4


@pytest.mark.parametrize("kind", trainings.KINDS)
def test_a_resumed_run_without_its_moments_is_seen(place, kind):
    """The state's seal is right, and Adam's moments in it are not."""
    runs = trainings.Trainings(place)
    changed = []

    def forget(state):
        (path,) = state.glob("step-*/process-0.safetensors")
        tensors, note = load_file(path), read_seal(path)
        tensors |= {n: torch.zeros_like(t) for n, t in tensors.items() if n[:7] == "exp_avg"}
        seal_part(path, lambda temporary: save_file(tensors, str(temporary)), note)
        changed.append(path)

    try:
        whole = runs.run(kind, "bfloat16")
        sound = trainings.same("resume", kind, runs.resumed(kind, "bfloat16", None), whole)
        assert sound.verdict == "pass"
        for left in (place.scratch / "state" / kind).glob("*"):
            assert left.name == f"step-{trainings.STOP:08d}"
        bad = trainings.same("resume", kind, runs.resumed(kind, "bfloat16", forget), whole)
    finally:
        trainings.comm.leave()
    assert changed and bad.verdict == "FAIL" and bad.value > 10


def test_sharded_training_of_other_weights_is_seen(place):
    """The plain run's weights are a thousandth off in one matrix; those in the folder are not."""
    runs = trainings.Trainings(place)
    runs.model.model.layers[1].mlp.down_proj.weight.data *= 1.001
    try:
        rows = {row.what: row for row in trainings.sharded(runs, {})}
    finally:
        trainings.comm.leave()
    seen = {what: row.verdict for what, row in rows.items() if "float32" in what}
    assert len(rows) == 4 and set(seen.values()) == {"FAIL"}, seen
    assert all("not to the bit" in row.note for row in rows.values())


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [(1.0, "pass"), (1.04, "pass"), (1.06, "FAIL"), (0.79, "flag"), (float("nan"), "FAIL")],
)
def test_memory_beyond_the_plan_fails(measured, verdict):
    assert speed.against_plan("135M", "training", measured * 2e9, 2e9).verdict == verdict


def test_numbers_that_are_not_finite_fail():
    row = within("float32", "loss", float("nan"), 1.0)
    assert (row.verdict, row.value) == ("FAIL", None)
    assert within("float32", "loss", 2.0, float("inf")).verdict == "FAIL"


def test_what_there_is_no_time_for_is_skipped(tmp_path):
    late = Place("cpu", REDUCED, tmp_path, Clock(0.0))
    for topic in ("trainings", "speed"):
        (row,) = check.findings(topic, late)
        assert (row.name, row.verdict) == (topic, "skipped")


def test_an_error_is_a_verdict_and_the_status_tells(place, tmp_path, capsys):
    """A device that is not there ends a topic with one row; any failed row gives status 1."""
    broken = Place("nowhere", REDUCED, tmp_path, Clock(600))
    (row,) = check.findings("precision", broken)
    assert row.verdict == "FAIL" and "RuntimeError" in row.note
    good = Row("float32", "loss", 0.0, 1.0, "pass")
    status = [check.summary(rows, {}, tmp_path, Clock(1)) for rows in ([good], [good, row])]
    assert status == [0, 1]
    assert "- precision: ended by an error" in capsys.readouterr().out
