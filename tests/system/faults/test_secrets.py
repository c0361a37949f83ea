"""Canaries in the environment: in no file, no output and no command line of a whole run."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from secrets import token_hex

import pytest

from tests.short import short
from tests.system.faults import WHOLE, tried
from tests.system.faults.forked import refusal, script
from tests.system.faults.small import small_copy
from tests.system.hub.conftest import User, hub, last_line, sharded, sharded_files  # noqa: F401
from tests.system.hub.server import Fault
from tests.system.workflow.copies import environment

CANARY = f"hf_{token_hex(12)}"  # in no source file
VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN")
VARIABLES += ("AWS_SECRET_ACCESS_KEY", "SSH_PASSPHRASE")
PARTS = ["results/tiny/data/csqa/report.json", "results/tiny/models/alder-student/record.json"]


class Watch:
    """Polls the command lines of all processes while a run is going on."""

    def __enter__(self):
        self.seen, self.leaks, self.finished = set(), set(), threading.Event()
        self.thread = threading.Thread(target=self._poll)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.finished.set()
        self.thread.join()

    def _poll(self) -> None:
        while not self.finished.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:  # the process has ended
                    continue
                self.seen.add(path.parent.name)
                if CANARY.encode() in line:
                    self.leaks.add(line)


def leaks_in(folder: Path, *but: Path) -> tuple[list[Path], int]:
    """(files, or names and links, that hold the canary; how many were searched)."""
    found, count = [], 0
    for path in folder.rglob("*"):
        if path in but:
            continue
        count += 1
        text = os.fsencode(str(path.relative_to(folder)))
        if path.is_symlink():
            text += os.fsencode(os.readlink(path))
        elif path.is_file():
            text += path.read_bytes()
        if CANARY.encode() in text:
            found.append(path)
    return found, count


def secrets(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """An environment of secrets, its home in the folder; and the file that holds one."""
    token = tmp_path / "token"
    token.write_text(CANARY)
    names = {"HOME": str(tmp_path / "home"), "HF_TOKEN_PATH": str(token), "LC_ALL": "C.UTF-8"}
    return dict.fromkeys(VARIABLES, CANARY) | names, token


@pytest.mark.slow
def test_a_whole_run_writes_no_secret(tmp_path):
    """Results, logs, benchmarks, Snakemake's own records, caches, output, process list."""
    folder = small_copy(tmp_path / "first")
    (tmp_path / "home").mkdir()
    changes, token = secrets(tmp_path)
    variables = environment(folder, **changes)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    variables["TMPDIR"] = str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    line = ["snakemake", "--cores", "2", "--printshellcmds", "--", *(["all"] if WHOLE else PARTS)]
    failing = ["snakemake", "--cores", "1", "--config", "scale=none", "--", "all"]
    options = {"cwd": folder, "env": variables, "capture_output": True, "text": True}
    with Watch() as watch:
        done = subprocess.run(line, **options, check=False)
        wrong = subprocess.run(failing, **options, check=False)
    text = done.stdout + done.stderr + wrong.stdout + wrong.stderr
    assert done.returncode == 0 and wrong.returncode != 0, text[-3000:]
    assert CANARY not in text
    found, count = leaks_in(tmp_path, token)
    assert found == [] and count > (400 if WHOLE else 200), count
    assert not watch.leaks and len(watch.seen) > 10
    saw = f"{count} files, the output and {len(watch.seen)} processes without it"
    tried("secrets in the environment of a run", len(VARIABLES) + 1, len(VARIABLES) + 1, 0, saw)


def test_the_search_finds_a_canary(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.bin").write_bytes(b"\0\1" + CANARY.encode())
    (tmp_path / CANARY).write_text("")
    (tmp_path / "link").symlink_to(f"x{CANARY}")
    assert len(leaks_in(tmp_path)[0]) == 3
    line = [sys.executable, "-c", "import time; time.sleep(1)", CANARY]
    with Watch() as watch:
        subprocess.run(line, check=True)
    assert len(watch.leaks) >= 1


FAULTS = [(route, status) for route in ("info", "file", "store") for status in (401, 403, 404, 500)]


@pytest.mark.parametrize("where", short(["variable", "file", "address"], "address"))
def test_a_hub_that_refuses_or_fails(tmp_path, hub, sharded, where):  # noqa: F811
    """The token in a variable, in its file, and as user:password@ in the hub's address."""
    repository, commit = sharded
    user = User(tmp_path, hub)
    token = secrets(tmp_path)[1]
    hub.tokens.add(CANARY)
    changes = {
        "variable": dict.fromkeys(VARIABLES, CANARY),
        "file": {"HF_TOKEN_PATH": str(token)},
        "address": {"HF_ENDPOINT": hub.url.replace("://", f"://someone:{CANARY}@")},
    }[where]
    faults = FAULTS if WHOLE else FAULTS[1::5]
    with Watch() as watch:
        for i, (route, status) in enumerate(faults):
            hub.faults = [Fault(route, status, 99), Fault(route, status, 99, method="HEAD")]
            more = {"HF_DEBUG": "1"} if i % 2 else {}
            done = user.model("acme/sharded", commit, **changes, **more)
            if done.returncode:
                last_line(done)
        hub.faults = []
        done = user.model("acme/sharded", commit, **changes)
    asked = [seen.headers.get("authorization", "") for seen in hub.seen]
    if where != "address":
        assert done.returncode == 0, done.stderr
        assert any(CANARY in sent for sent in asked)
    assert not [log for log in user.logs if CANARY in log]
    found, _ = leaks_in(tmp_path, token)
    assert found == [] and not watch.leaks
    count = len(faults) + 1
    tried(f"a token in the {where}, hub refusing", count, count, 0, user.logs[0].splitlines()[-1])


def test_a_password_in_an_address_is_not_printed(tmp_path):
    """An address as the mirror, where a folder is expected."""
    address = f"https://someone:{CANARY}@mirror.invalid/hub"
    line = "hub --repo acme/model --revision main --output-dir out --mirror"
    status, text = script(tmp_path, "models", line, address)
    message = refusal((status, text))
    assert CANARY not in text and "mirror.invalid" in message
    tried("a password in a mirror's address", 1, 1, 0, message)
