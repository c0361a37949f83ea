"""What loads plain loads sharded: other architectures than Llama, in two processes."""

import json
import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from first_distill.models.determinism import seed_everything
from first_distill.models.loading import load_weights
from first_distill.training.loop import train
from first_distill.training.losses import CrossEntropy
from tests import tiny_models as tiny
from tests.science.sharded_families import SETTINGS, rows
from tests.variants import tensors_of, variant, with_own_head

# Merged experts; a nested configuration, tied, with parts that no text uses; learned positions,
# tied, and dropout unless it is turned off; and in configurations that say tied, a head of its own
# and one that is in the files although it is the embedding.
FAMILIES = ("mixtral", "gemma3", "gpt2", "qwen2", "smollm2")
HEADS = {"qwen2": with_own_head, "smollm2": partial(with_own_head, equal=True)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each family untouched, trained and resumed in two processes, and the loss curves."""
    folder = tmp_path_factory.mktemp("families")
    for name in FAMILIES:
        (folder / name).mkdir()
        variant(folder / name / "base", name, (), HEADS.get(name))
    launcher = [sys.executable, "-m", "first_distill.distributed.launcher", "--processes", "2"]
    process = subprocess.run(
        [*launcher, "tests.science.sharded_families", str(folder)],
        cwd=tiny.REPOSITORY,
        env={**os.environ, "FIRST_CHECKPOINT_MINUTES": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stderr.count("resumed at step 2") == len(FAMILIES)
    return folder, json.loads((folder / "curves.json").read_text())


@pytest.mark.parametrize("name", FAMILIES)
def test_untouched_it_is_the_same_file(trained, name):
    """Cut and gathered again: the tensors that were read, bit for bit."""
    folder = trained[0] / name
    before, after = tensors_of(folder / "base"), tensors_of(folder / "untouched")
    if name == "smollm2":
        del before["lm_head.weight"]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", FAMILIES)
def test_trained_it_is_that_of_one_process(trained, name):
    folder, curves = trained[0] / name, trained[1]
    seed_everything(1)
    model = load_weights(folder / "base", device="cpu")
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    curve = train(model, rows(), CrossEntropy(), SETTINGS, 0, name)
    for point, alone in zip(curves[f"{name} trained"], curve, strict=True):
        assert point["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    gathered = load_weights(folder / "trained", device="cpu")
    theirs = dict(gathered.named_parameters())
    assert theirs.keys() == start.keys()  # what is tied is tied in both
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(theirs[key], parameter, atol=2e-5, rtol=0)
    moved = [key for key in start if not torch.equal(theirs[key], start[key])]
    unused = [key for key in start if "vision_tower" in key or "projector" in key]
    assert {*moved} == {*start} - {*unused} and bool(unused) is (name == "gemma3")


@pytest.mark.parametrize("name", FAMILIES)
def test_resumed_it_is_the_undisturbed_one(trained, name):
    """The same bytes, though some parameters have no gradient and no moments."""
    folder = trained[0] / name
    for file in ("model.safetensors", "config.json"):
        assert (folder / "resumed" / file).read_bytes() == (folder / "trained" / file).read_bytes()
    said = json.loads((folder / "trained/config.json").read_text())
    assert said["tie_word_embeddings"] is (name in ("gemma3", "gpt2", "smollm2"))
