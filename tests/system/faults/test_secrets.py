"""Canaries in the environment: in no file, no output and no command line of a whole run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from secrets import token_hex

import pytest

from tests.system.faults import WHOLE, tried
from tests.system.faults.forked import refusal, script
from tests.system.faults.runs import RUNNER
from tests.system.faults.small import small_copy
from tests.system.hub.conftest import (  # noqa: F401
    User,
    hub,
    last_line,
    sharded,
    sharded_files,
)
from tests.system.hub.server import Fault
from tests.system.workflow.copies import environment

CANARY = f"hf_{token_hex(12)}"  # in no source file
VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN")
VARIABLES += ("AWS_SECRET_ACCESS_KEY", "SSH_PASSPHRASE")
PARTS = ["results/tiny/data/csqa/report.json", "results/tiny/models/alder-student/record.json"]


class Watch:
    """Polls the command lines of all processes while a run is going on."""

    def __enter__(self):
        self.seen, self.leaks, self.over = set(), set(), threading.Event()
        self.thread = threading.Thread(target=self._poll)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _poll(self) -> None:
        while not self.over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:  # it has ended
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


def test_a_whole_run_writes_no_secret(tmp_path):
    """Results, logs, benchmarks, Snakemake's own records, caches, output, process list."""
    folder = small_copy(tmp_path / "first")
    (tmp_path / "home").mkdir()
    changes, token = secrets(tmp_path)
    variables = environment(folder, **changes)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    variables["TMPDIR"] = str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    line = [*RUNNER, "--printshellcmds"]
    line += ["--", *(["all"] if WHOLE else PARTS)]
    with Watch() as watch:
        done = subprocess.run(
            line, cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        wrong = subprocess.run(
            [*RUNNER, "--config", "scale=none", "--", "all"],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
    text = done.stdout + done.stderr + wrong.stdout + wrong.stderr
    assert done.returncode == 0 and wrong.returncode != 0, text[-3000:]
    assert CANARY not in text
    found, count = leaks_in(tmp_path, token)
    assert found == [] and count > (400 if WHOLE else 200), count
    assert not watch.leaks and len(watch.seen) > 10
    said = f"{count} files, the output and {len(watch.seen)} processes without it"
    tried("secrets in the environment of a run", len(VARIABLES) + 1, len(VARIABLES) + 1, 0, said)


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


# In the short form without the variable: tests/system/hub/test_models.py has that.
@pytest.mark.parametrize("where", ["file", "address", *(["variable"] if WHOLE else [])])
def test_a_hub_that_refuses_or_fails(tmp_path, hub, sharded, where):  # noqa: F811
    """The token in a variable, in its file, and as user:password@ in the hub's address."""
    repository, commit = sharded
    user = User(tmp_path, hub)
    changes, token = secrets(tmp_path)
    changes = {k: v for k, v in changes.items() if k not in ("HOME", "LC_ALL")}
    but = [token]
    hub.tokens.add(CANARY)
    if where == "variable":
        changes.pop("HF_TOKEN_PATH")
    else:
        changes = {k: v for k, v in changes.items() if k not in VARIABLES[:2]}
    if where == "address":
        changes = {"HF_ENDPOINT": hub.url.replace("://", f"://someone:{CANARY}@")}
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
    found, _ = leaks_in(tmp_path, *but)
    assert found == [] and not watch.leaks
    count = len(faults) + 1
    tried(f"a token in the {where}, hub refusing", count, count, 0, user.logs[0].splitlines()[-1])


def test_a_password_in_an_address_is_not_said(tmp_path):
    """A mirror that is none: an address, where a folder is meant."""
    address = f"https://someone:{CANARY}@mirror.invalid/hub"
    line = "hub --repo acme/model --revision main --output-dir out --mirror"
    status, text = script(tmp_path, "models", line, address)
    said = refusal((status, text))
    assert CANARY not in text and "mirror.invalid" in said
    tried("a password in a mirror's address", 1, 1, 0, said)
