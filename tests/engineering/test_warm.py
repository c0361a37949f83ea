"""The warm server: a delegated job behaves like a cold one, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from scripts.first.runtime import warm

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 60
JOB = """
import hashlib, json, os, sys, time
from scripts.first.errors import UserError, run_cli
from scripts.first.runtime.warm import maybe_delegate

def train():
    import torch
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.GELU(), torch.nn.Linear(96, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    x, y = torch.randn(256, 64), torch.randint(8, (256,))
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    data = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    print(hashlib.sha256(data).hexdigest(), torch.get_num_threads())

def main(argv):
    what, *rest = argv
    if what == "state":
        mask = os.umask(0); os.umask(mask)
        env = {k: v for k, v in os.environ.items() if k != "FIRST_WARM_SOCKET"}
        print(json.dumps([rest, os.getcwd(), env, mask, sys.path, sys.argv, __file__]))
        print("to stderr", sys.stdin.read(), file=sys.stderr)
    elif what == "error":
        raise UserError("here: there: do that")
    elif what == "exit":
        return int(rest[0])
    elif what == "text":
        sys.exit("a text")
    elif what == "crash":
        raise RuntimeError("a defect")
    elif what == "kill":
        os.kill(os.getpid(), int(rest[0]))
    elif what == "train":
        train()
    elif what == "sleep":
        print(os.getpid(), flush=True)
        time.sleep(300)

if __name__ == "__main__":
    status = maybe_delegate("job", sys.argv[1:])
    if status is not None:
        print("warm", file=open(os.environ["MARK"], "a"))
        sys.exit(status)
    run_cli(main)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the job module; also the place for temporary files of the runners."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "job.py").write_text(JOB)
    return folder


@pytest.fixture(scope="module")
def environment(place):
    inherited = {n: v for n, v in os.environ.items() if n != warm.SOCKET_VARIABLE}
    return inherited | {
        "PYTHONPATH": f"{place}{os.pathsep}{REPOSITORY}",
        "TMPDIR": str(place),
        "MARK": str(place / "mark"),
        "OMP_NUM_THREADS": "1",
    }


def start_runner(environment, *command):
    """A runner whose command prints the socket's path first."""
    show = f'echo "${warm.SOCKET_VARIABLE}"; exec "$@"'
    arguments = [
        sys.executable,
        "-m",
        "scripts.first.runtime.warm",
        "run",
        "--",
        "sh",
        "-c",
        show,
        "sh",
    ]
    runner = subprocess.Popen(
        [*arguments, *command], env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    return runner, runner.stdout.readline().strip()


def servers(socket_path):
    """Process numbers of the server of this socket and of all its forks."""
    directory = str(Path(socket_path).parent).encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if directory in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def server(environment):
    """The environment of a caller beside a warm server."""
    runner, path = start_runner(environment, "sleep", "600")
    yield environment | {warm.SOCKET_VARIABLE: path}
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(SECONDS) == 128 + signal.SIGTERM
    wait_for(lambda: not servers(path))
    assert not Path(path).parent.exists()


def call(environment, *arguments, **options):
    """Run the job; returns (status, stdout, stderr, whether it was delegated)."""
    mark = Path(environment["MARK"])
    mark.unlink(missing_ok=True)
    command = [sys.executable, "-m", "job", *arguments]
    options = {"input": "typed", "timeout": SECONDS, **options}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr, mark.exists()


@pytest.mark.parametrize(
    "arguments",
    [("state", "a b", "ü", ""), ("exit", "0"), ("exit", "7"), ("error",), ("text",), ("train",)],
    ids=lambda a: "-".join(a[:2]),
)
def test_warm_equals_cold(environment, server, tmp_path, arguments):
    extra = {"ODD": "a\nb=ü\udcff", "OMP_NUM_THREADS": "1"}
    cold = call(environment | extra, *arguments, cwd=tmp_path, umask=0o027)
    assert not cold[3]
    hot = call(server | extra, *arguments, cwd=tmp_path, umask=0o027)
    assert hot[3]
    assert hot[:3] == cold[:3]


def test_thread_limit_of_the_caller(server):
    output = call(server | {"OMP_NUM_THREADS": "2"}, "train")[1]
    assert output.split()[1] == "2"


def test_defect_keeps_its_traceback(server):
    status, _, errors, delegated = call(server, "crash")
    assert (status, delegated) == (1, True)
    assert errors.startswith("Traceback") and errors.endswith("RuntimeError: a defect\n")


def test_job_ended_by_signal(server):
    assert call(server, "kill", "9")[::3] == (128 + 9, True)


@pytest.mark.parametrize(
    "difference", [{"PYTHONHASHSEED": "1"}, {"HF_HOME": "x"}, {warm.SOCKET_VARIABLE: "/nowhere"}]
)
def test_runs_cold_beside_another_interpreter_or_no_server(server, difference):
    assert call(server | difference, "exit", "3") == (3, "", "", False)


def test_other_users_are_refused(server, monkeypatch):
    monkeypatch.setattr(warm, "interpreter", lambda: pytest.fail("spoke to a stranger"))
    monkeypatch.setenv(warm.SOCKET_VARIABLE, server[warm.SOCKET_VARIABLE])
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert warm.maybe_delegate("job", []) is None
    assert Path(server[warm.SOCKET_VARIABLE]).parent.stat().st_mode & 0o777 == 0o700


def test_edited_code_is_fresh(server, place):
    (place / "job.py").write_text(JOB.replace("return int(rest[0])", "return 42"))
    try:
        assert call(server, "exit", "3")[::3] == (42, True)
    finally:
        (place / "job.py").write_text(JOB)


def start_sleeper(environment, **options):
    command = [sys.executable, "-m", "job", "sleep"]
    pipe = subprocess.PIPE
    client = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, **options)
    job = int(client.stdout.readline())
    assert job != client.pid
    return client, job


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGTERM, 128 + signal.SIGTERM, b""),
        (signal.SIGHUP, 128 + signal.SIGHUP, b""),
        (signal.SIGINT, 130, b"error: interrupted\n"),
    ],
)
def test_signals_are_forwarded(server, number, status, message):
    client, job = start_sleeper(server)
    client.send_signal(number)
    assert client.communicate(timeout=SECONDS)[1] == message
    assert client.returncode == status
    wait_for(lambda: not alive(job))


def test_ignored_signals_stay_ignored(server):
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    client, job = start_sleeper(server, preexec_fn=ignore)
    client.send_signal(signal.SIGHUP)
    os.kill(job, signal.SIGHUP)
    time.sleep(0.2)
    assert client.poll() is None and alive(job)
    client.terminate()
    client.communicate(timeout=SECONDS)


def test_killed_client_takes_its_job_along(server):
    client, job = start_sleeper(server)
    before = servers(server[warm.SOCKET_VARIABLE])
    assert job in before
    client.kill()
    client.communicate(timeout=SECONDS)
    wait_for(lambda: not alive(job))
    wait_for(lambda: len(servers(server[warm.SOCKET_VARIABLE])) == 1)


def test_interrupt_is_for_jobs(server):
    """Sent to all at once, it ends the job in one line; the server goes on."""
    client, job = start_sleeper(server)
    supervisor = psutil.Process(job).parent()
    for process in (supervisor.parent(), supervisor, psutil.Process(client.pid)):
        process.send_signal(signal.SIGINT)
    assert client.communicate(timeout=SECONDS)[1] == b"error: interrupted\n"
    assert call(server, "exit", "0")[0] == 0


def test_killed_supervisor_takes_its_job_along(server):
    """Its caller fails, so the same job may be started again: the first must not go on writing."""
    client, job = start_sleeper(server)
    os.kill(psutil.Process(job).ppid(), signal.SIGKILL)
    assert client.wait(SECONDS) == 1
    wait_for(lambda: not alive(job))


@pytest.mark.parametrize("ending", ["exit", "terminate", "kill"])
def test_server_ends_with_its_runner(environment, ending):
    command = ["sh", "-c", "exit 5"] if ending == "exit" else ["sleep", "20"]
    runner, path = start_runner(environment, *command)
    if ending != "exit":
        wait_for(lambda: servers(path))
        getattr(runner, ending)()
    assert runner.wait(SECONDS) == {"exit": 5, "terminate": 143, "kill": -9}[ending]
    wait_for(lambda: not servers(path) and not Path(path).parent.exists())
    assert call(environment | {warm.SOCKET_VARIABLE: path}, "exit", "3") == (3, "", "", False)


def test_runner_reports_a_missing_command(environment):
    command = [sys.executable, "-m", "scripts.first.runtime.warm", "run", "--", "no-such-command"]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 127
    assert done.stderr.startswith("error: no-such-command: ")


def test_client_imports_are_light():
    code = "import sys, json, scripts.first.runtime.warm; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code]
    loaded = json.loads(subprocess.run(command, cwd=REPOSITORY, capture_output=True).stdout)
    assert not {"torch", "numpy", "pandas", "subprocess", "tempfile"} & set(loaded)
