"""The warm server: a job in it behaves as one by itself, and ends with its caller or server."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from first_distill import ROOT
from first_distill.runtime.launch import SOCKET
from first_distill.runtime.warm import warm_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm server is for Linux")
SECONDS = 60
JOB = """
import json, os, signal, sys, time
from first_distill.errors import UserError
from first_distill.runtime.launch import launch

def main(argv):
    print("in the server" if os.getppid() != int(os.environ["CALLER"]) else "by itself", flush=True)
    what, *rest = argv
    if what == "state":
        os.umask(mask := os.umask(0))
        env = {k: v for k, v in os.environ.items() if k not in ("FIRST_WARM_SOCKET", "CALLER")}
        print(json.dumps([rest, os.getcwd(), env, mask, sys.path, sys.argv[1:]], sort_keys=True))
        print("to stderr", sys.stdin.read(), file=sys.stderr)
    elif what == "error":
        raise UserError("here: there: do that")
    elif what == "exit":
        return int(rest[0])
    elif what == "crash":
        raise RuntimeError("a defect")
    elif what == "train":
        import torch
        torch.manual_seed(0)
        model = torch.nn.Linear(64, 96)
        model(torch.randn(256, 64)).square().sum().backward()
        print([float(p.grad.double().sum()) for p in model.parameters()], torch.get_num_threads())
    elif what == "sleep":
        print(os.getpid(), flush=True)
        time.sleep(300)

if __name__ == "__main__":
    launch("job", main)
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The environment of a caller without a server."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "job.py").write_text(JOB)
    changes = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "CALLER": str(os.getpid())}
    kept = {n: v for n, v in os.environ.items() if not n.endswith("_NUM_THREADS")}
    return {**kept, **changes}


@pytest.fixture(scope="module")
def served(alone):
    """The environment of a caller beside a server."""
    with warm_server({**alone, "OMP_NUM_THREADS": "1"}) as environment:
        yield environment


def call(environment, *words, **options):
    """(where the job ran, status, standard output, standard error) of the job."""
    line = [sys.executable, "-m", "job", *words]
    both = {"input": "typed", "timeout": SECONDS, "capture_output": True, "text": True}
    done = subprocess.run(line, env=environment, **both, **options)
    where, _, output = done.stdout.partition("\n")
    return where, done.returncode, output, done.stderr


@pytest.mark.parametrize(
    "words", [("state", "a b", "ü", ""), ("exit", "0"), ("exit", "7"), ("error",), ("train",)]
)
def test_served_equals_alone(alone, served, tmp_path, words):
    """Output and status; arguments, folder, environment, umask, path, threads and numbers."""
    extra = {"ODD": "a\nb=ü\udcff", "OMP_NUM_THREADS": "2"}
    both = {"cwd": tmp_path, "umask": 0o027}
    first, second = (call(e | extra, *words, **both) for e in (alone, served))
    assert (first[0], second[0]) == ("by itself", "in the server")
    assert first[1:] == second[1:]


def test_defect(served):
    _, status, _, errors = call(served, "crash")
    assert status == 1 and errors.startswith("Traceback")
    assert errors.endswith("RuntimeError: a defect\n")


def test_an_edit_counts_for_the_next_job(served):
    job = Path(served["PYTHONPATH"].split(os.pathsep)[0], "job.py")
    job.write_text(JOB.replace("return int(rest[0])", "return 42"))
    try:
        assert call(served, "exit", "3")[1] == 42
    finally:
        job.write_text(JOB)


def start(environment):
    """A caller and the process id of its job, which sleeps."""
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    caller = subprocess.Popen([sys.executable, "-m", "job", "sleep"], env=environment, **pipe)
    assert caller.stdout.readline() == "in the server\n"
    return caller, int(caller.stdout.readline())


def ended(pid):
    """Whether a process ends within SECONDS; a zombie has ended."""
    end = time.monotonic() + SECONDS
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_one_job_of_two(served, number):
    caller, job = start(served)
    other, sleeper = start(served)
    caller.send_signal(number)
    errors = caller.communicate(timeout=SECONDS)[1]
    assert caller.returncode == (130 if number == signal.SIGINT else 1) and ended(job)
    assert errors.startswith("error: interrupted" if number == signal.SIGINT else "error: killed")
    assert other.poll() is None and psutil.pid_exists(sleeper)
    other.kill()
    assert ended(sleeper)  # with its caller


def test_a_signal_for_a_job_that_has_just_ended():
    code = "import os, signal, subprocess, first_distill.runtime.signals as signals"
    code += "\njob = subprocess.Popen(['true'])\njob.wait()\n"
    code += "signals.forward_signals(os.kill, job.pid)\nsignal.raise_signal(signal.SIGINT)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_killed_job_is_a_failure(served):
    caller, job = start(served)
    os.kill(job, signal.SIGKILL)
    assert caller.communicate(timeout=SECONDS)[1].startswith("error: killed: job")
    assert caller.returncode == 1


def test_a_server_ends_with_the_process_that_started_it(alone):
    code = "import sys, time; from first_distill.runtime.warm import warm_server\n"
    code += "with warm_server({}) as e: print(e['FIRST_WARM_SOCKET'], flush=True); time.sleep(300)"
    line = [sys.executable, "-c", code]
    runner = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    socket = Path(runner.stdout.readline().strip())
    (server,) = psutil.Process(runner.pid).children()
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    runner.kill()
    assert ended(server.pid)
    assert call(alone | {SOCKET: str(socket)}, "exit", "3")[:2] == ("by itself", 3)


def test_a_served_program_imports_nothing_heavy_itself():
    programs = [p.stem for p in (ROOT / "scripts").glob("*.py") if "launch(" in p.read_text()]
    assert len(programs) > 5
    code = f"import sys, {', '.join(f'scripts.{name}' for name in programs)}\n"
    code += "assert not {'numpy', 'pandas', 'torch'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
