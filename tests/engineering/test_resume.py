"""A training run that is killed and started again ends in the bytes of one that never stopped."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time

import pytest

from first_distill.errors import UserError, run_cli
from first_distill.models.checkpoints import save_checkpoint
from scripts import student, teacher
from tests import tiny_models as tiny

FORK = multiprocessing.get_context("fork")  # torch is imported once
STEPS = 40


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base checkpoint and two tables."""
    folder = tmp_path_factory.mktemp("resume")
    save_checkpoint(tiny.random_llama(0), folder / "base", tiny.tokenizer_folder(), {"kind": "t"})
    tiny.write_table(folder / "train.parquet", tiny.choice_rows(20))
    tiny.write_table(folder / "validation.parquet", tiny.choice_rows(4))
    return folder


def words(base, out, *more):
    """Command line of 40 steps."""
    line = f"--model {base}/base --train {base}/train.parquet --block-length 400 --seed 1"
    line += f" --validation {base}/validation.parquet --epochs 8 --batch-size 4"
    line += f" --learning-rate 0.01 --output-dir {out} --state-dir {out.parent}/.state/{out.name}"
    return [*line.split(), *more]


def start(main, argv, log):
    """The script in a process of its own; its standard error goes to `log`."""

    def work():
        # As Python starts a process; a worker of this test suite may have inherited otherwise.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.argv = ["test", *argv]
        with open(log, "a", buffering=1) as sys.stderr:
            run_cli(lambda a: main(a))

    process = FORK.Process(target=work)
    process.start()
    return process


def finish(main, argv, log):
    """Run to the end; the exit status."""
    process = start(main, argv, log)
    process.join(120)
    return process.exitcode


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def steps_saved(out):
    found = (out.parent / ".state" / out.name).glob("*/step-*/process-0.json")
    return max((int(path.parent.name.split("-")[1]) for path in found), default=0)


def wait_for(process, out, step):
    """Wait until the state of `step` or a later one stands, or the process has ended."""
    deadline = time.monotonic() + 60
    while process.is_alive() and steps_saved(out) < step and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    """The run that nothing disturbs."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert finish(teacher.main, words(base, out), out.parent / "log") == 0
    return contents(out)


def test_killed_at_ten_random_steps(base, whole, tmp_path, monkeypatch):
    """SIGKILL ten times in one run, at random steps, once in the middle of writing or another."""
    monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", "0")
    out, log = tmp_path / "out", tmp_path / "log"
    for step in sorted(random.Random(5).sample(range(1, STEPS - 3), 10)):
        process = start(teacher.main, words(base, out), log)
        wait_for(process, out, step)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert not (out / "record.json").exists()
    assert finish(teacher.main, words(base, out), log) == 0
    resumed = [
        int(line.split()[3][:-1]) for line in log.read_text().splitlines() if "resum" in line
    ]
    assert len(resumed) >= 9 and resumed == sorted(resumed) and resumed[-1] >= 25
    assert contents(out) == whole
    assert not (tmp_path / ".state").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_end_but_sigusr1_saves(base, whole, tmp_path, monkeypatch, number):
    """From Slurm or Ctrl-C: a saved state, one line, a status that is not 0, and the same bytes."""
    monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", "1000")
    out, log = tmp_path / "out", tmp_path / "log"
    process = start(teacher.main, words(base, out), log)
    while "step/s" not in (log.read_text() if log.exists() else "") and process.is_alive():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGUSR1)
    wait_for(process, out, 1)
    assert process.is_alive() and steps_saved(out) >= 1
    os.kill(process.pid, number)
    process.join(60)
    last = log.read_text().strip().splitlines()[-1]
    assert process.exitcode == 2
    assert last.startswith("error: stopped after step") and "state is saved" in last
    assert finish(teacher.main, words(base, out), log) == 0
    assert f"resumed at step {last.split()[4]}" in log.read_text()
    assert contents(out) == whole


def test_state_of_other_settings_is_not_resumed(base, whole, tmp_path, monkeypatch):
    """Another learning rate starts at step 0 and says why; the first state waits for its own."""
    monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", "0")
    out, log = tmp_path / "out", tmp_path / "log"
    process = start(teacher.main, words(base, out), log)
    wait_for(process, out, 7)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    log.unlink()
    other = start(teacher.main, words(base, out, "--learning-rate", "0.02"), log)
    while "step/s" not in (log.read_text() if log.exists() else "") and other.is_alive():
        time.sleep(0.002)
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    text = log.read_text()
    assert "not resumed: it differs in settings.learning_rate" in text
    assert "resumed at step" not in text
    assert finish(teacher.main, words(base, out), log) == 0
    assert "resumed at step" in log.read_text()
    assert contents(out) == whole


@pytest.mark.parametrize("harm", ["flip", "truncate", "unsealed"])
def test_damaged_state_is_not_resumed(base, whole, tmp_path, monkeypatch, harm):
    """A damaged state is reported and skipped; the run starts over and ends in the same bytes."""
    monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", "0")
    out, log = tmp_path / "out", tmp_path / "log"
    process = start(teacher.main, words(base, out), log)
    wait_for(process, out, 5)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    for part in (tmp_path / ".state").rglob("process-0.safetensors"):
        data = bytearray(part.read_bytes())
        if harm == "flip":
            data[len(data) // 2] ^= 4
        part.write_bytes(data[:-9] if harm == "truncate" else data)
        if harm == "unsealed":
            part.with_suffix(".json").unlink(missing_ok=True)
    log.unlink()
    assert finish(teacher.main, words(base, out), log) == 0
    assert ("damaged state" in log.read_text()) == (harm != "unsealed")
    assert "resumed" not in log.read_text().replace("not resumed", "")
    assert contents(out) == whole


def test_distilled_student_resumes(base, tmp_path, monkeypatch):
    """Knowledge matching too: the loss's own inputs are part of what the state is keyed by."""
    from scripts import knowledge

    store, out, log = tmp_path / "store", tmp_path / "out", tmp_path / "log"
    line = f"--model {base}/base --data {base}/train.parquet --k 5 --block-length 400"
    assert knowledge.main([*line.split(), "--output-dir", str(store)]) == 0
    method = f"--method first --objective knowledge --knowledge {store} --c 0.3"
    method = [*method.split(), "--recalibration", "prob_softmax"]
    assert finish(student.main, words(base, tmp_path / "plain", *method), log) == 0
    monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", "0")
    process = start(student.main, words(base, out, *method), log)
    wait_for(process, out, 11)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    facts = json.loads(next((tmp_path / ".state/out").glob("*/facts.json")).read_text())
    assert facts["recalibration"]["c"] == 0.3 and facts["knowledge"] and facts["provenance"]["code"]
    assert finish(student.main, words(base, out, *method), log) == 0
    assert "resumed at step" in log.read_text()
    assert contents(out) == contents(tmp_path / "plain")


def test_a_run_that_stops_has_saved_its_state(tmp_path):
    """A SIGTERM that arrives after the check for a save: the state is saved before the run ends."""
    from first_distill.training import loop

    class Keeper:
        folder, saved = tmp_path, []

        def due(self):
            return False

        def save(self, step, curve):
            self.saved.append(step)

    asked = loop.StopRequest()
    asked.stop = True
    with pytest.raises(UserError, match="stopped after step 3 of 9: test: its state is saved"):
        loop.save_if_asked(Keeper(), asked, 3, 9, [], "test")
    assert Keeper.saved == [3]
