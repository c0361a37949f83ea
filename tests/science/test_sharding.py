"""Training in several processes: really sharded, and the same numbers as in one."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from first_distill.distributed.fsdp import whole_model
from first_distill.models.checkpoints import save_checkpoint, verify_checkpoint
from first_distill.models.loading import load_weights
from first_distill.training.loop import micro_batches, train
from first_distill.training.losses import CrossEntropy
from scripts import knowledge, student, teacher
from tests import tiny_models as tiny
from tests.science.sharded_worker import CASES, SETTINGS, rows, trainable


def line(processes, *words):
    """The command line of a module in several processes, as the rules start it."""
    launcher = [sys.executable, "-m", "first_distill.distributed.launcher"]
    return [*launcher, "--processes", str(processes), *words]


def launch(*words):
    """The finished process of a command line."""
    options = {"capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(line(*words), cwd=tiny.REPOSITORY, **options)


def ended(log, *words, state: str, end) -> tuple[int, str, list[dict]]:
    """Two processes, ended by `end` once both have saved their state in such a folder.

    Returns the status, what the launcher printed and the environments of its workers.
    """
    with log.open("w") as stream:
        process = subprocess.Popen(line(2, *words), cwd=tiny.REPOSITORY, stderr=stream)
        while len(list(log.parent.glob(f".state/{state}/process-*.json"))) < 2:
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        workers = psutil.Process(process.pid).children()
        environments = [worker.environ() for worker in workers]
        end(process, workers)
        status = process.wait(120)
    return status, log.read_text(), environments


def prepare(folder, n=10):
    """A base model and n questions."""
    save_checkpoint(tiny.random_llama(0), folder / "base", tiny.tokenizer_folder(), {"kind": "t"})
    tiny.write_table(folder / "t.parquet", tiny.choice_rows(n))


def tied_llama(seed):
    """One matrix is both embedding and output head."""
    model = tiny.random_llama(seed)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    return model


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def trained(request, tmp_path_factory):
    """Every case trained in two or three processes, and its report."""
    folder = tmp_path_factory.mktemp("sharded")
    tokenizer = tiny.tokenizer_folder()
    save_checkpoint(tiny.random_llama(5), folder / "plain", tokenizer, {"kind": "test"})
    save_checkpoint(tied_llama(6), folder / "tied", tokenizer, {"kind": "test"})
    process = launch(request.param, "tests.science.sharded_worker", str(folder))
    assert process.returncode == 0, process.stderr[-3000:]
    report = json.loads((folder / "report.json").read_text())
    assert report["world"] == request.param
    return folder, report


def test_every_parameter_is_cut(trained):
    """No process holds the model: each at most its share, padding of a row or two aside."""
    folder, report = trained
    for case in CASES:
        model, _ = trainable(folder, case, sharded=False)
        total = sum(p.numel() for p in model.parameters())
        assert sum(report["local"][case]) == total
        assert max(report["local"][case]) < 1.1 * total / report["world"]


@pytest.mark.parametrize("name", ["plain", "tied"])
def test_consolidation_gives_the_same_file(trained, name):
    """Cut and gathered again: byte for byte the checkpoint that it was read from."""
    folder, _ = trained
    before, after = folder / name, folder / f"untouched-{name}"
    for file in ("model.safetensors", "config.json"):
        assert (after / file).read_bytes() == (before / file).read_bytes()
    assert verify_checkpoint(after)


@pytest.mark.parametrize("case", ["plain", "tied", "checkpointed"])
def test_float32_is_that_of_one_process(trained, case):
    """The same losses at the same steps, and the same weights, to float32's rounding."""
    folder, report = trained
    model, settings = trainable(folder, case, sharded=False)
    curve = train(model, rows(), CrossEntropy(), settings, tiny.EOS, case)
    assert [p["step"] for p in report["cases"][case]] == [p["step"] for p in curve]
    for sharded, alone in zip(report["cases"][case], curve, strict=True):
        assert sharded["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        assert sharded["learning_rate"] == alone["learning_rate"]
    gathered = load_file(folder / f"trained-{case}" / "model.safetensors")
    moved = 0.0
    start, _ = trainable(folder, case, sharded=False)
    start = dict(start.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gathered[name], parameter.detach(), atol=2e-5, rtol=0)
        moved = max(moved, float((parameter - start[name]).detach().abs().max()))
    assert moved > 1e-2


def test_bfloat16_trains_float32_weights(trained):
    """Arithmetic in bfloat16, weights in float32: steps below bfloat16's resolution are kept."""
    folder, report = trained
    plain = [point["loss"] for point in report["cases"]["plain"]]
    half = [point["loss"] for point in report["cases"]["half"]]
    assert half != plain
    assert half == pytest.approx(plain, rel=0.1)
    weights = load_file(folder / "trained-half" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}


@pytest.mark.parametrize("case", ["plain", "tied"])
def test_head_in_chunks_is_that_of_all_logits(trained, case):
    """Sharded and in chunks: the losses and weights of one process that holds all logits."""
    folder, report = trained
    chunks = {"plain": "chunks", "tied": "tied-chunks"}[case]
    model, settings = trainable(folder, case, sharded=False)
    alone = [p["loss"] for p in train(model, rows(), CrossEntropy(), settings, tiny.EOS, case)]
    sharded = [p["loss"] for p in report["cases"][chunks]]
    whole = [p["loss"] for p in report["cases"][case]]
    assert sharded != whole  # it did go the other way
    assert sharded == pytest.approx(alone, rel=1e-4)
    weights = load_file(folder / f"trained-{chunks}" / "model.safetensors")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(weights[name], parameter.detach(), atol=2e-4, rtol=0)


def test_bfloat16_with_the_head_in_chunks(trained):
    """Losses of all logits to bfloat16's resolution, and a checkpoint of its type."""
    folder, report = trained
    chunks, whole = ([p["loss"] for p in report["cases"][c]] for c in ("half-chunks", "half"))
    assert chunks != whole
    assert chunks == pytest.approx(whole, rel=0.02)
    weights = load_file(folder / "trained-half-chunks" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}


def test_small_steps_are_not_rounded_away():
    """What pure bfloat16 training would lose: 50 steps of 1e-4 on weights of about 0.4."""
    from dataclasses import replace

    model = tiny.random_llama(5)
    before = model.model.embed_tokens.weight.detach().clone()
    settings = replace(SETTINGS, dtype="bfloat16", learning_rate=1e-5, epochs=1)
    train(model, rows(), CrossEntropy(), settings, tiny.EOS, "test")
    change = (model.model.embed_tokens.weight.detach() - before).abs()
    assert 0 < float(change.max()) < 1e-4  # bfloat16's resolution there is 2e-3
    assert model.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize(("n", "micro"), [(256, 32), (256, None), (7, 2), (1, 4), (250, 32)])
def test_global_batch_is_kept(world, n, micro):
    """Every row is dealt once, in the same order, and each process has as many micro-batches."""
    batch = np.random.default_rng(0).permutation(n)
    dealt = micro_batches(batch, micro, world)
    assert len(dealt) == world and len({len(own) for own in dealt}) == 1
    in_turn = [dealt[r][i] for i in range(len(dealt[0])) for r in range(world)]
    assert np.concatenate(in_turn).tolist() == batch.tolist()
    assert max(map(len, in_turn)) <= (micro or n)


def command(folder, *more):
    line = f"--model {folder}/base --train {folder}/t.parquet --validation {folder}/t.parquet"
    line += " --block-length 400 --epochs 3 --batch-size 4 --micro-batch-size 2 --seed 1"
    return [*line.split(), *(more or ("--learning-rate", "0.01"))]


def test_command_line_in_two_processes(tmp_path):
    """The checkpoint of two processes, its record and validation; a mistake is reported once."""
    prepare(tmp_path)
    process = launch(2, "scripts.teacher", *command(tmp_path), "--output-dir", f"{tmp_path}/two")
    assert process.returncode == 0, process.stderr[-3000:]
    assert teacher.main([*command(tmp_path), "--output-dir", f"{tmp_path}/one"]) == 0
    one, two = (json.loads((tmp_path / n / "record.json").read_text()) for n in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert verify_checkpoint(tmp_path / "two")
    for a, b in zip(one["curve"], two["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
    results = [json.loads((tmp_path / n / "validation.json").read_text()) for n in ("one", "two")]
    assert results[1]["nll"] == pytest.approx(results[0]["nll"], rel=1e-4)


def test_mistakes_in_two_processes_are_told_once(tmp_path):
    """No traceback of the launcher, one line, no checkpoint; a missing file and a ruined run."""
    prepare(tmp_path)
    ruined = launch(
        2, "scripts.teacher", *command(tmp_path, "--learning-rate", "1e17"),
        "--output-dir", f"{tmp_path}/out",
    )  # fmt: skip
    (tmp_path / "base/record.json").unlink()
    missing = launch(2, "scripts.teacher", *command(tmp_path), "--output-dir", f"{tmp_path}/out")
    for process, said in ((ruined, "the loss is"), (missing, "missing checkpoint")):
        errors = [line for line in process.stderr.splitlines() if line.startswith("error")]
        assert process.returncode == 2
        assert len(errors) == 1 and said in errors[0]
        assert "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_process_and_resume(tmp_path, monkeypatch):
    """One of two processes killed with -9: one line, and the next run ends in the same bytes."""
    prepare(tmp_path, 40)
    monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", "0")
    words = [*command(tmp_path), "--state-dir", f"{tmp_path}/.state/out"]
    whole = launch(2, "scripts.teacher", *words, "--output-dir", f"{tmp_path}/whole")
    assert whole.returncode == 0, whole.stderr[-3000:]
    out = ["scripts.teacher", *words, "--output-dir", f"{tmp_path}/out"]
    status, text, _ = ended(
        tmp_path / "log",
        *out,
        state="out/*/step-0000001*",
        end=lambda _, workers: workers[-1].kill(),
    )
    assert status != 0
    assert re.search(r"^error: process \d of scripts.teacher was ended by SIGKILL", text, re.M)
    again = launch(2, *out)
    assert again.returncode == 0 and again.stderr.count("resumed at step 1") == 1
    names = ("whole/model.safetensors", "out/model.safetensors", "whole/record.json")
    contents = [(tmp_path / name).read_bytes() for name in names]
    assert contents[0] == contents[1]
    assert contents[2] == (tmp_path / "out/record.json").read_bytes()


@pytest.mark.slow
def test_sigterm_to_the_launcher_and_knowledge_in_two_processes(tmp_path, monkeypatch):
    """All processes stop at one step and have all the time they need; matching is that of one."""
    prepare(tmp_path, 40)
    extraction = f"--model {tmp_path}/base --data {tmp_path}/t.parquet --k 5 --block-length 400"
    knowledge.main([*extraction.split(), "--output-dir", f"{tmp_path}/store"])
    method = f"--method first --objective knowledge --knowledge {tmp_path}/store --c 0.3"
    words = [*command(tmp_path), *method.split(), "--recalibration", "prob_softmax"]
    words += ["--epochs", "12", "--learning-rate", "0.001"]  # long enough to be stopped
    assert student.main([*words, "--output-dir", f"{tmp_path}/one"]) == 0
    # A configuration of the user must not change how processes are started.
    (tmp_path / "home/accelerate").mkdir(parents=True)
    (tmp_path / "home/accelerate/default_config.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nnum_processes: 7\n"
        "mixed_precision: 'no'\ngpu_ids: '0,1'\ndebug: true\n"
    )
    monkeypatch.setenv("HF_HOME", f"{tmp_path}/home")
    monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", "0.001")
    words += ["--state-dir", f"{tmp_path}/.state/two", "--output-dir", f"{tmp_path}/two"]
    status, text, environments = ended(
        tmp_path / "log", "scripts.student", *words, state="two/*/step-*",
        end=lambda process, _: process.terminate(),
    )  # fmt: skip
    assert [e["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] for e in environments] == ["86400"] * 2
    assert "0,1" not in [e.get("CUDA_VISIBLE_DEVICES") for e in environments]
    assert status and len(re.findall(r"^error: stopped after step \d+ of 120", text, re.M)) == 1
    again = launch(2, "scripts.student", *words)
    assert again.returncode == 0 and "resumed at step" in again.stderr
    one, two = (json.loads((tmp_path / n / "record.json").read_text()) for n in ("one", "two"))
    assert len(one["curve"]) == len(two["curve"]) > 50
    for a, b in zip(one["curve"], two["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)


def test_whole_bfloat16_model_is_the_checkpoint(tmp_path):
    """What is validated is what is written: no buffer is rounded that loading leaves alone."""
    save_checkpoint(tiny.random_llama(0), tmp_path / "base", tiny.tokenizer_folder(), {"kind": "t"})
    live = whole_model(load_weights(tmp_path / "base"), None, "bfloat16")
    loaded = load_weights(tmp_path / "base", "bfloat16")
    ids = torch.arange(5, 255).repeat(2)[None]
    assert live.dtype == torch.bfloat16
    assert torch.equal(live(ids).logits, loaded(ids).logits)


def test_offloaded_optimizer_changes_no_number(tmp_path):
    """Sharded over one process, where there is no GPU: the bytes of the plain run."""
    prepare(tmp_path)
    assert teacher.main([*command(tmp_path), "--output-dir", f"{tmp_path}/plain"]) == 0
    offload = [*command(tmp_path), "--offload-optimizer", "--output-dir", f"{tmp_path}/off"]
    assert teacher.main(offload) == 0
    names = ("plain/model.safetensors", "off/model.safetensors")
    assert (tmp_path / names[0]).read_bytes() == (tmp_path / names[1]).read_bytes()
