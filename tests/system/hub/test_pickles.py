"""Weights that exist only as pickles: allowed by a key, converted once, in a process apart."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import families
from tests.system.hub import pickles
from tests.system.hub.conftest import TOKEN, User, last_line, verified
from tests.system.hub.server import Repository

pytestmark = pytest.mark.slow  # tests/engineering/test_unpickle.py has the walls alone

ALLOWED = ("--weights", "pickle")
NEW = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SETTINGS = ("config.json", "special_tokens_map.json", "tokenizer.model", "tokenizer_config.json")


@pytest.fixture(scope="session")
def files():
    """The files of the repository."""
    return pickles.openllama()


@pytest.fixture
def llama(hub, files):
    """(repository, commit) of it."""
    repository = hub.add(Repository("model", "acme/llama"))
    return repository, repository.commit(files)


def fetch(user: User, commit: str, name: str = "llama", **changes: str):
    """Fetch the model and allow its pickles."""
    words = ["--repo", f"acme/{name}", "--revision", commit, "--output-dir", str(user.out / name)]
    return user.run("scripts.models", "hub", *words, *ALLOWED, **changes)


def converted(user: User) -> Path:
    """The one converted folder of a user's cache."""
    (note,) = user.folder.glob("cache/assets/first/converted/*/*/conversion.json")
    return note.parent


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder's safetensors."""
    parts = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    return {name: tensor for part in parts for name, tensor in part.items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Equal names, types, shapes and bits."""
    alike = [(t.dtype, t.shape, t.contiguous().view(torch.uint8).tolist()) for t in one.values()]
    others = [(t.dtype, t.shape, t.contiguous().view(torch.uint8).tolist()) for t in two.values()]
    return dict(zip(one, alike, strict=True)) == dict(zip(two, others, strict=True))


def test_both_hashes_and_a_second_run_without_the_hub(user, hub, llama, files):
    commit = llama[1]
    done = fetch(user, commit)
    assert done.returncode == 0, done.stderr
    assert "conversion of model acme/llama" in done.stderr
    record = json.loads(user.record("llama"))
    index = "model.safetensors.index.json"
    assert [*record["files"]] == sorted([*SETTINGS, *NEW, index])
    originals = (*pickles.SHARDS, "pytorch_model.bin.index.json")
    assert [*record["converted_from"]] == [*originals]
    folder = converted(user)
    for name, described in (record["files"] | record["converted_from"]).items():
        content = files[name] if name in files else (folder / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert described == {"bytes": len(content), "sha256": digest}
    assert str(user.folder) not in user.record("llama").decode()
    wanted = {*SETTINGS, *originals}
    assert {seen.path.rsplit("/", 1)[1] for seen in hub.asked("file", "HEAD")} == wanted
    assert same(loaded(folder), pickles.weights())
    content = json.loads((folder / index).read_text())
    size = sum(tensor.nbytes for tensor in pickles.weights().values())
    assert content["metadata"] == {"total_size": size}
    assert all(t in load_file(folder / f) for t, f in content["weight_map"].items())
    assert {(folder / n).stat().st_mode & 0o777 for n in NEW} == {0o666 & ~umask()}
    # The later stages find the files and check them.
    assert verified(user, "llama").returncode == 0
    before, first = len(hub.seen), user.record("llama")
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    hub.close()
    shutil.rmtree(user.out / "llama")
    done = fetch(user, commit, HF_HUB_OFFLINE="1")
    assert done.returncode == 0 and "conversion of" not in done.stderr, done.stderr
    assert user.record("llama") == first and len(hub.seen) == before
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def umask() -> int:
    """Of this process."""
    os.umask(found := os.umask(0o077))
    return found


def test_results_with_a_converted_model_are_sound(user, llama, tmp_path):
    target = "results/own/models/llama"
    words = ["--repo", "acme/llama", "--revision", llama[1], "--output-dir", target, *ALLOWED]
    assert user.run("scripts.models", "hub", *words).returncode == 0
    done = user.run("scripts.verify", "results/own")
    assert "rest sound" in done.stdout and "problems" not in done.stdout, done.stdout


def test_pickles_are_not_even_asked_for_without_the_key(user, hub, llama):
    commit = llama[1]
    line = last_line(user.model("acme/llama", commit))
    assert f"no safetensors: model acme/llama at {commit}: its weights are pickles" in line
    assert "`weights: pickle`" in line
    assert hub.asked("file", "HEAD") == []


def test_safetensors_come_first_with_the_key_too(user, hub, whole):
    repository, commit = whole
    done = fetch(user, commit, "whole")
    assert done.returncode == 0, done.stderr
    assert "converted_from" not in json.loads(user.record("whole"))
    assert not [seen for seen in hub.asked("file", "HEAD") if "pytorch" in seen.path]


def test_one_file_and_a_tokenizer_of_two(user, hub):
    """GPT-2's older form: pytorch_model.bin, vocab.json and merges.txt."""
    folder, state = families.model("gpt2"), pickles.weights("gpt2")
    names = ("config.json", "tokenizer_config.json", "vocab.json", "merges.txt")
    files = {name: (folder / name).read_bytes() for name in names}
    repository = hub.add(Repository("model", "acme/gpt2"))
    commit = repository.commit(files | {"pytorch_model.bin": pickles.saved(state)})
    done = fetch(user, commit, "gpt2")
    assert done.returncode == 0, done.stderr
    record = json.loads(user.record("gpt2"))
    assert [*record["files"]] == sorted([*names, "model.safetensors"])
    assert same(loaded(converted(user)), state)
    del files["merges.txt"]
    line = last_line(fetch(user, repository.commit(files), "gpt2"))
    assert "no tokenizer: model acme/gpt2" in line and "vocab.json with merges.txt" in line


def test_a_mirror(user, hub, files, tmp_path):
    """What was converted from a mirror is found by its hashes, on the hub too."""
    folder = tmp_path / "mirror/acme/llama"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    mirror = {"FIRST_MODEL_MIRROR": "mirror"}
    line = last_line(user.model("acme/llama", "0" * 40, **mirror))
    assert f"no safetensors: model {folder}: its weights are pickles" in line
    assert fetch(user, "0" * 40, **mirror).returncode == 0
    assert hub.seen == [] and json.loads(user.record("llama"))["kind"] == "mirror"
    assert verified(user, "llama").returncode == 0
    assert same(loaded(converted(user)), pickles.weights())
    commit = hub.add(Repository("model", "acme/llama")).commit(files)
    done = fetch(user, commit)
    assert done.returncode == 0 and "conversion of" not in done.stderr
    sums = f"{'0' * 64}  acme/llama/{pickles.SHARDS[0]}\n"
    (tmp_path / "mirror/SHA256SUMS").write_text(sums)
    line = last_line(fetch(user, commit, **mirror))
    assert f"SHA256SUMS: acme/llama/{pickles.SHARDS[0]}" in line


def test_altered_and_lost_conversions(user, llama):
    fetch(user, llama[1])
    first, folder = user.record("llama"), converted(user)
    content = bytearray((folder / NEW[0]).read_bytes())
    content[-1] ^= 1
    (folder / NEW[0]).write_bytes(content)
    assert "altered file" in last_line(verified(user, "llama"))
    assert "conversion of" in fetch(user, llama[1]).stderr
    assert user.record("llama") == first and verified(user, "llama").returncode == 0
    shutil.rmtree(folder)
    line = last_line(verified(user, "llama"))
    assert "no longer among the converted models" in line and "HF_HOME" in line


def test_a_process_apart_that_is_killed(user, llama):
    """Its environment and network are not the user's; a killed conversion starts again."""
    words = ["--repo", "acme/llama", "--revision", llama[1], "--output-dir", "out/llama", *ALLOWED]
    command = [sys.executable, "-m", "scripts.models", "hub", *words]
    variables = {**user.environment, "SECRET": "canary", "LD_LIBRARY_PATH": "/nothing"}
    parent = subprocess.Popen(command, cwd=user.folder, env=variables)
    child = wait_for(program_below, parent.pid)
    environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
    network = [os.readlink(f"/proc/{pid}/ns/net") for pid in (child, parent.pid)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert [word for word in environment if word] == [b"LD_LIBRARY_PATH=/nothing"]
    if subprocess.run(["unshare", "--map-root-user", "--net", "true"], check=False).returncode == 0:
        assert network[0] != network[1]
    assert not list(user.folder.glob("cache/assets/first/converted/*/*/conversion.json"))
    assert fetch(user, llama[1]).returncode == 0
    assert same(loaded(converted(user)), pickles.weights())
    left = [path.name for path in converted(user).parent.iterdir() if path.name.endswith(".part")]
    assert left == []


def program_below(parent: int) -> int | None:
    """Number of the process that reads pickles, once it runs its own program."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if line[0] == os.fsencode(sys.executable) and any(b"unpickle.py" in w for w in line):
            return int(pid)
    return None


def wait_for(find, *arguments):
    """What `find` returns as soon as it is not None."""
    until = time.monotonic() + 60
    while (found := find(*arguments)) is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    return found


@pytest.mark.parametrize("kind", ["zip", "module by name", "legacy"])
def test_nothing_of_a_planted_pickle_runs(user, hub, files, tmp_path, kind):
    """No command, no import, no request; the second shard is the planted one."""
    hub.tokens.add(TOKEN)
    ran = tmp_path / "RAN"
    evil = pickles.planted(ran, hub.url)[kind]
    (tmp_path / "planted.py").write_text(f"open({str(ran)!r}, 'w')\ndef run(): pass\n")
    commit = hub.add(Repository("model", "acme/evil")).commit(files | {pickles.SHARDS[1]: evil})
    path = f"{user.environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    line = last_line(fetch(user, commit, "evil", HF_TOKEN=TOKEN, PYTHONPATH=path))
    assert f"no bare state dict: model acme/evil: {pickles.SHARDS[1]}: " in line
    asks = {"zip": "asks for 'posix.system'", "module by name": "asks for 'planted.run'"}
    assert asks.get(kind, "not a zip archive") in line and "nothing of it ran" in line
    assert not ran.exists() and stolen(hub) == []
    assert not list(user.folder.glob("cache/assets/**/*.safetensors"))
    assert not list(user.folder.glob("cache/assets/**/*.part"))
    # It would have.
    (tmp_path / "evil.bin").write_bytes(evil)
    program = "import torch; torch.load('evil.bin', weights_only=False)"
    variables = {"HF_TOKEN": TOKEN, "PYTHONPATH": path}
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True)
    assert ran.exists()
    if kind != "module by name":
        assert stolen(hub) == [TOKEN]


def stolen(hub) -> list[str]:
    """What a payload has sent."""
    return [seen.path.split("/")[-1] for seen in hub.seen if seen.path.startswith("/stolen/")]


INDEX = "pytorch_model.bin.index.json"
WRONG = {
    "no JSON": (b"{", "should have a weight_map"),
    "no map": (b'{"weight_map": []}', "should have a weight_map"),
    "a path": (b'{"weight_map": {"x": "../pytorch_model.bin"}}', "no plain name of a .bin file"),
    "another kind": (b'{"weight_map": {"x": "model.py"}}', "no plain name of a .bin file"),
    "no file": (b'{"weight_map": {"x": "missing.bin"}}', "no missing.bin"),
    "no tensor": (
        b'{"weight_map": {"x": "pytorch_model-00001-of-00002.bin"}}',
        "missing tensor: model acme/llama: 'x' is not in pytorch_model-00001-of-00002.bin",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_index_that_does_not_fit(user, hub, files, case):
    content, message = WRONG[case]
    commit = hub.add(Repository("model", "acme/llama")).commit(files | {INDEX: content})
    line = last_line(fetch(user, commit))
    assert message in line and "model acme/llama" in line
    assert not list(user.folder.glob("cache/assets/first/converted/**/*.safetensors"))


def test_names_of_safetensors_come_from_their_index(user, hub, sharded_files):
    """Whatever they are called; but no pickle may hide there."""
    index = "model.safetensors.index.json"
    files = {n.replace("model-", "part_").replace("-of-", "_"): c for n, c in sharded_files.items()}
    text = sharded_files[index].decode()
    places = {
        t: n.replace("model-", "part_").replace("-of-", "_")
        for t, n in json.loads(text)["weight_map"].items()
    }
    files[index] = json.dumps({**json.loads(text), "weight_map": places}).encode()
    repository = hub.add(Repository("model", "acme/parts"))
    done = user.model("acme/parts", repository.commit(files))
    assert done.returncode == 0, done.stderr
    assert {*places.values()} < {*json.loads(user.record("parts"))["files"]}
    assert verified(user, "parts").returncode == 0
    first = next(iter(places))
    files[index] = json.dumps({"weight_map": places | {first: "pytorch_model.bin"}}).encode()
    line = last_line(user.model("acme/parts", repository.commit(files)))
    assert "names 'pytorch_model.bin': no plain name of a .safetensors file" in line
    assert not [seen for seen in hub.asked("file", "HEAD") if seen.path.endswith(".bin")]
