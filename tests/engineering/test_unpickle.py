"""Pickled weights in the program that reads them: what it accepts to the bit, what it refuses."""

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import warnings
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from first_distill.hub import unpickle
from first_distill.hub.conversion import PROGRAM, REFUSED, isolated
from tests.system.hub.pickles import Payload, planted, saved, zipped

ONES, STATE = torch.ones(3), {"a": torch.ones(4, 5), "b": torch.zeros(4)}
TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn)
TYPES += (torch.int64, torch.uint8, torch.bool)


def run(folder, *jobs: tuple[str, str]):
    """The program as it is run, in `folder`."""
    command = [sys.executable, "-I", "-B", str(PROGRAM), json.dumps(jobs)]
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False)


def test_every_bit_is_kept(tmp_path):
    """Types, shared memory, views, parameters, other strides, none and no dimension."""
    torch.manual_seed(0)
    state = OrderedDict((str(t), torch.randint(0, 99, (6, 7)).to(t)) for t in TYPES)
    base = torch.randn(8, 8)
    state |= {"view": base[2:4], "whole": base, "again": base, "turned": base.T}
    state |= {"parameter": torch.nn.Parameter(torch.randn(3)), "scalar": torch.tensor(3.5)}
    state |= {"empty": torch.zeros(0, 4), "other": torch.zeros(0, 4), "step": base[:, 1]}
    state["nan"] = torch.tensor([float("nan"), -0.0, float("inf"), 1e-45])
    expected = {name: (t.dtype, t.shape, bits(t)) for name, t in state.items()}
    (tmp_path / "x.bin").write_bytes(saved(state))
    done = run(tmp_path, ("x.bin", "x.safetensors"))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bin", "x.safetensors"]
    found = load_file(tmp_path / "x.safetensors")
    assert {name: (t.dtype, t.shape, bits(t)) for name, t in found.items()} == expected


def bits(tensor: torch.Tensor) -> bytes:
    """The values, row by row, as they lie in memory."""
    return bytes(tensor.detach().contiguous().flatten().view(torch.uint8).tolist())


def script() -> bytes:
    """A module as TorchScript."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), stream := io.BytesIO())
    return stream.getvalue()


def tar(call: Payload) -> bytes:
    """The oldest form of torch.save."""
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(call)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def deflated() -> bytes:
    """A good file, compressed afterwards: mapped into memory its bytes are no weights."""
    with zipfile.ZipFile(io.BytesIO(saved(STATE))) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(stream := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return stream.getvalue()


def several() -> bytes:
    """Tensors in one, which torch calls strided too."""
    with warnings.catch_warnings(action="ignore"):
        return saved({"x": torch.nested.nested_tensor([ONES])})


NO_ZIP = "not a zip archive, the form of torch.save since 1.6"
NO_STATE = {
    "nested": (saved({"model": STATE}), "'model' is of type dict"),
    "optimizer": (saved({"state": {}, "param_groups": []}), "'state' is of type dict"),
    "module": (saved(torch.nn.Linear(2, 2)), "asks for 'torch.nn.modules.linear.Linear'"),
    "array": (saved({"x": np.ones(3)}), "_reconstruct'"),
    "object": (saved(Namespace(x=ONES)), "asks for 'argparse.Namespace'"),
    "list": (saved([ONES]), "it is of type list"),
    "tensor": (saved(ONES), "it is of type Tensor"),
    "counter": (saved(Counter("a")), "it is of type Counter"),
    "number as name": (saved({1: ONES}), "a name is of type int"),
    "text": (saved({"\x1b[31m": "y"}), r"'\x1b[31m' is of type str"),
    "nothing": (saved({}), "it is empty"),
    "sparse": (saved({"x": torch.eye(3).to_sparse()}), "'x' is no plain tensor"),
    "without data": (saved({"x": torch.ones(3, device="meta")}), "'x' is no plain tensor"),
    "of several": (several(), "'x' is no plain tensor"),
    "larger than its file": (saved({"x": ONES[:1].expand(10**12)}), "'x' is no plain tensor"),
    "script": (script(), "compressed archive"),
    "deflated": (deflated(), "compressed archive"),
    "other protocol": (zipped(pickle.dumps({"a": 1}, 4)), "Unsupported operand"),
    "no pickle": (zipped(b""), "EOFError"),
    "legacy": (saved(STATE, _use_new_zipfile_serialization=False), NO_ZIP),
    "cut": (saved(STATE)[:-300], NO_ZIP),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", NO_ZIP),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", NO_STATE)
def test_what_is_no_bare_state_dict(tmp_path, kind):
    content, message = NO_STATE[kind]
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(Exception, match=".*") as caught:
        unpickle.state_dict(str(tmp_path / "x.bin"))
    reason = unpickle.reason_of(caught.value)
    assert message in reason and reason.isprintable() and len(reason) < 250


@pytest.mark.parametrize(
    "kind", ["zip", "as an attribute", "eval", "plain pickle", "legacy", "tar"]
)
def test_a_payload_does_not_run(tmp_path, kind):
    ran = tmp_path / "RAN"
    files = planted(ran, "http://127.0.0.1:9")
    files["tar"] = tar(Payload(os.system, f"touch {ran}"))
    (tmp_path / "x.bin").write_bytes(files[kind])
    with pytest.raises(Exception, match=".*"):
        unpickle.state_dict(str(tmp_path / "x.bin"))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("content", "reason", "advice"),
    [
        (deflated(), "compressed archive", "torch.load it with weights_only=True"),
        (saved(STATE, _use_new_zipfile_serialization=False), NO_ZIP, "torch.load it with"),
        (tar(Payload(len, "")), NO_ZIP, "torch.load it with"),
        (saved(STATE)[:-300], NO_ZIP, "compare its size and sha256"),
        (b"", NO_ZIP, "compare its size and sha256"),
        (b"version https://git-lfs.github.com/spec/v1\n", NO_ZIP, "compare its size and sha256"),
    ],
)
def test_what_the_program_advises(tmp_path, content, reason, advice):
    (tmp_path / "x.bin").write_bytes(content)
    answer = json.loads(run(tmp_path, ("x.bin", "1.safetensors")).stdout)
    assert reason in answer["reason"] and advice in answer["advice"]


def test_an_archive_of_another_program_is_read(tmp_path):
    """zipfile stores names as code page 437, which Python imports when it first decodes them."""
    with zipfile.ZipFile(io.BytesIO(saved(STATE))) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "x.bin", "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    done = run(tmp_path, ("x.bin", "1.safetensors"))
    assert (done.returncode, done.stdout) == (0, "")
    found = load_file(tmp_path / "1.safetensors")
    assert found.keys() == STATE.keys() and all(torch.equal(found[k], STATE[k]) for k in found)


def test_the_answer_of_the_program(tmp_path):
    """A missing file, and one after a good one: neither leaves anything that looks whole."""
    (tmp_path / "good.bin").write_bytes(saved(STATE))
    (tmp_path / "bad.bin").write_bytes(saved([ONES]))
    done = run(tmp_path, ("good.bin", "1.safetensors"), ("bad.bin", "2.safetensors"))
    assert done.returncode == REFUSED == unpickle.REFUSED
    answer = {"reason": "it is of type list, not tensors by name", "file": "bad.bin"}
    assert json.loads(done.stdout) == answer
    assert not (tmp_path / "2.safetensors").exists()
    done = run(tmp_path, ("none.bin", "1.safetensors"))
    assert json.loads(done.stdout) == {"errno": 2, "file": "none.bin"}


ATTEMPTS = [
    "import wave",
    "eval('1')",
    "exec('1')",
    "open('x', 'w')",
    "open('good.bin', 'r+')",
    "os.open('x', os.O_CREAT)",
    "os.remove('good.bin')",
    "os.rename('good.bin', 'x')",
    "os.system('touch x')",
    "subprocess.run(['touch', 'x'])",
    "os.execv('/bin/touch', ['touch', 'x'])",
    "os.fork()",
    "socket.socket()",
    "socket.getaddrinfo('localhost', 80)",
    "ctypes.CDLL(None)",
    "pickle.loads(pickle.dumps(os.system))",
]


def test_the_second_wall(tmp_path):
    """Once the hook is set: what a payload would do, if a pickle could run one."""
    (tmp_path / "good.bin").write_bytes(saved(STATE))
    lines = ["import ctypes, os, pickle, runpy, socket, subprocess, sys"]
    lines += [f"program = runpy.run_path({str(PROGRAM)!r})"]
    lines += [f"def attempt{i}(): {attempt}" for i, attempt in enumerate(ATTEMPTS)]
    lines += [f"attempts = [{', '.join(f'attempt{i}' for i in range(len(ATTEMPTS)))}]"]
    lines += ["sys.addaudithook(program['guard'])", "for attempt in attempts:", "    try:"]
    lines += ["        attempt()", "    except PermissionError as error:", "        print(error)"]
    lines += ["open('good.bin', 'rb').close()", "print('read')"]
    command = [sys.executable, "-I", "-B", "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    *told, last = done.stdout.splitlines()
    assert len(told) == len(ATTEMPTS) and all(line.startswith("it tried to ") for line in told)
    assert last == "read"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.bin"], done.stderr


def test_the_wall_stands_before_a_pickle_is_opened(tmp_path):
    """Seen by an audit hook of its own."""
    (tmp_path / "good.bin").write_bytes(saved(STATE))
    lines = ["import runpy, sys", "def told(event, arguments):"]
    lines += ["    if event in ('open', 'sys.addaudithook'):"]
    lines += ["        sys.__stderr__.write(f'{event} {arguments[:1]}\\n')"]
    lines += ["sys.addaudithook(told)", 'sys.argv[1:] = [\'[["good.bin", "1.safetensors"]]\']']
    lines += [f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"]
    command = [sys.executable, "-I", "-B", "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    events = done.stderr.splitlines()
    assert events.index("sys.addaudithook ()") < events.index("open ('good.bin',)")


@pytest.mark.skipif(not isolated(), reason="this system allows no network namespace")
def test_an_isolated_command_reaches_nobody():
    """Not even this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = f"import socket; socket.create_connection({server.getsockname()!r}, 5)"
        command = [sys.executable, "-I", "-c", line]
        assert subprocess.run(command, check=False).returncode == 0
        done = subprocess.run([*isolated(), *command], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "Network is unreachable" in done.stderr
