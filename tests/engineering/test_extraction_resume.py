"""Extraction that was killed goes on from what it last saved and ends in the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from first_distill.errors import UserError
from first_distill.knowledge.store import FILE, MANIFEST
from first_distill.models.checkpoints import save_checkpoint
from first_distill.runtime.state import MINUTES_VARIABLE
from scripts import knowledge
from tests import tiny_models as tiny

ROWS = tiny.choice_rows(30)
MAX_TOKENS = 100  # one row a batch


def arguments(root: Path, output: Path, *extra, model: Path | None = None, k: int = 8) -> list[str]:
    words = ["--model", model or tiny.checkpoint("teacher", 7), "--data", root / "train.parquet"]
    words += ["--k", k, "--block-length", 400, "--max-tokens", MAX_TOKENS]
    return [str(word) for word in [*words, "--output-dir", output, *extra]]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    tiny.write_table(folder / "train.parquet", ROWS[:12])
    knowledge.main(arguments(folder, folder / "whole"))
    return folder


def same(one: Path, other: Path) -> bool:
    return all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in (FILE, MANIFEST)
    )


class Interrupted(Exception):
    """Stands for whatever ends a process between two batches."""


@pytest.fixture
def forwards(monkeypatch):
    """Counts forward passes, and raises instead of the one after `limit`."""
    from first_distill.models import inference

    counts, plain = {"passes": 0, "limit": None}, inference.supervised_hidden

    def counted(model, batch):
        if counts["passes"] == counts["limit"]:
            raise Interrupted
        counts["passes"] += 1
        return plain(model, batch)

    monkeypatch.setattr(inference, "supervised_hidden", counted)
    return counts


def interrupt(forwards, words: list[str], limit: int) -> None:
    forwards.update(passes=0, limit=limit)
    with pytest.raises(Interrupted):
        knowledge.main(words)
    forwards.update(passes=0, limit=None)


def saved(state: Path) -> list[int]:
    """Numbers of batches after which the arrays were saved, the last two."""
    return sorted(int(path.stem[-6:]) for path in state.glob("*/batches-*.safetensors"))


def test_goes_on_and_leaves_nothing(root, tmp_path, forwards, monkeypatch, capsys):
    monkeypatch.setenv(MINUTES_VARIABLE, "0")
    state = tmp_path / "results/tiny/.state/knowledge/alder"
    words = arguments(root, tmp_path / "store", "--state-dir", state)
    interrupt(forwards, words, 5)
    assert saved(state) == [4, 5] and not (tmp_path / "store").exists()
    capsys.readouterr()
    assert knowledge.main(words) == 0
    assert "resumed at batch 5 of 12" in capsys.readouterr().err
    assert forwards["passes"] == 7
    assert same(tmp_path / "store", root / "whole")
    assert not (tmp_path / "results/tiny/.state").exists()


def test_sigterm_saves_and_ends(root, tmp_path, monkeypatch):
    """What Slurm sends before it kills: the batch is finished, kept, and resumed from."""
    from first_distill.models import inference

    plain, passes, state = inference.supervised_hidden, [], tmp_path / ".state/csqa"

    def signalled(model, batch):
        passes.append(1)
        if len(passes) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(model, batch)

    monkeypatch.setattr(inference, "supervised_hidden", signalled)
    words = arguments(root, tmp_path / "store", "--state-dir", state)
    with pytest.raises(UserError, match="stopped after batch 3 of 12.*its state is saved"):
        knowledge.main(words)
    assert saved(state) == [3] and not (tmp_path / "store").exists()
    assert knowledge.main(words) == 0
    assert len(passes) == 12
    assert same(tmp_path / "store", root / "whole")


def test_a_part_resumes_too(root, tmp_path, forwards, monkeypatch, capsys):
    monkeypatch.setenv(MINUTES_VARIABLE, "0")
    state, parts = tmp_path / ".state/csqa", [tmp_path / "1-of-2", tmp_path / "2-of-2"]
    for part in parts:
        words = arguments(root, part, "--part", part.name, "--state-dir", state / part.name)
        interrupt(forwards, words, 2)
        capsys.readouterr()
        knowledge.main(words)
        assert forwards["passes"] == 4
        assert "resumed at batch 2 of 6" in capsys.readouterr().err
    words = arguments(root, tmp_path / "store", "--merge", *parts, "--state-dir", state)
    assert knowledge.main(words) == 0
    assert same(tmp_path / "store", root / "whole") and not state.parent.exists()


@pytest.mark.parametrize("damage", ["flip", "seal", "unsealed"])
def test_damaged_arrays_are_made_again(root, tmp_path, forwards, monkeypatch, capsys, damage):
    monkeypatch.setenv(MINUTES_VARIABLE, "0")
    state = tmp_path / "state"
    words = arguments(root, tmp_path / "store", "--state-dir", state)
    interrupt(forwards, words, 6)
    (last,) = state.glob("*/batches-000006.safetensors")
    if damage == "flip":
        content = bytearray(last.read_bytes())
        content[-1] ^= 1
        last.write_bytes(content)
    elif damage == "seal":
        last.with_suffix(".json").write_text("{")
    else:
        last.with_suffix(".json").unlink()
    capsys.readouterr()
    knowledge.main(words)
    told = capsys.readouterr().err
    assert (f"damaged state: {last}" in told) == (damage != "unsealed")
    assert "resumed at batch 5 of 12" in told
    assert forwards["passes"] == 7
    assert same(tmp_path / "store", root / "whole")


@pytest.mark.parametrize(
    "change, named",
    [
        ({"k": 9}, "k"),
        ({"model": 8}, "teacher"),
        ({"extra": ["--max-tokens", "150"]}, "max_tokens"),
        ({"extra": ["--part", "1-of-2"]}, "part"),
        ({"rows": 11}, "corpus, encoding.longest, encoding.rows"),
    ],
)
def test_other_settings_are_not_resumed(
    root, tmp_path, forwards, monkeypatch, capsys, change, named
):
    monkeypatch.setenv(MINUTES_VARIABLE, "0")
    state, data = tmp_path / "state", tmp_path
    tiny.write_table(data / "train.parquet", ROWS[:12])
    interrupt(forwards, arguments(data, tmp_path / "store", "--state-dir", state), 3)
    if "rows" in change:
        tiny.write_table(data / "train.parquet", ROWS[: change["rows"]])
    options = {"k": change.get("k", 8)}
    if "model" in change:
        options["model"] = tiny.checkpoint("teacher", change["model"])
    extra = change.get("extra", [])
    capsys.readouterr()
    knowledge.main(arguments(data, tmp_path / "one", "--state-dir", state, *extra, **options))
    told = capsys.readouterr().err
    assert f"not resumed: it differs in {named}" in told and "resumed at" not in told
    knowledge.main(arguments(data, tmp_path / "other", *extra, **options))
    assert same(tmp_path / "one", tmp_path / "other")


@pytest.mark.slow
def test_killed_while_it_extracts(tmp_path):
    """kill -9 of the real command, perhaps in the middle of a save."""
    tiny.write_table(tmp_path / "train.parquet", ROWS)
    model = tiny.random_llama(5, layers=40)  # slow enough to be killed in time
    save_checkpoint(model, tmp_path / "teacher", tiny.tokenizer_folder(), {"kind": "test"})
    state, store = tmp_path / "state", tmp_path / "store"
    words = arguments(tmp_path, store, "--state-dir", state, model=tmp_path / "teacher")
    command = [sys.executable, "-m", "scripts.knowledge", *words]
    environment = {**os.environ, MINUTES_VARIABLE: "0", "PYTHONPATH": str(tiny.REPOSITORY)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while max(saved(state), default=0) < 7 and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    told = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL and not store.exists(), told
    seals = [path.stem for path in state.glob("*/batches-*.json")]
    finished = max(n for n in saved(state) if f"batches-{n:06d}" in seals)
    last = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert f"resumed at batch {finished} of " in last.stderr
    assert not state.exists()
    knowledge.main(arguments(tmp_path, tmp_path / "whole", model=tmp_path / "teacher"))
    assert same(store, tmp_path / "whole")
