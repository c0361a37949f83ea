"""A run ends with what its failed jobs said, and compiled modules are whole or not there."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from scripts.first.errors import UserError
from scripts.first.runtime.failures import AT_MOST, Failures, check_temporary_folder, full_disk

ROOT = Path(__file__).resolve().parents[2]


def logged(failures: Failures, level: int = logging.ERROR, **extra: object) -> None:
    """One record of Snakemake's logger."""
    record = logging.LogRecord("snakemake", level, "", 0, "", None, None)
    record.__dict__ |= extra
    failures.handle(record)


def failed(failures: Failures, number: int, *logs: str) -> None:
    extra = {"event": LogEvent.JOB_ERROR, "jobid": number, "rule_name": "teacher"}
    logged(failures, log=list(logs), **extra)


def test_the_last_error_of_each_log(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.log").write_text("error: first\n 50%\nerror: k = 9: --k: at most 5\n")
    Path("b.log").write_text("Segmentation fault\n")
    failures = Failures()
    for number, log in enumerate(["a.log", "b.log", "absent.log", "a.log"]):
        failed(failures, number, log)
    logged(failures, logging.INFO, event=LogEvent.JOB_FINISHED, job_id=3)  # a retry's
    failures.tell()
    assert capsys.readouterr().err.splitlines() == [
        "error: teacher: a.log: k = 9: --k: at most 5",
        "error: teacher: b.log: it told no reason",
        "error: teacher: absent.log: it told no reason",
    ]


def test_many_failures_are_cut_and_none_is_silence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Failures().tell()
    assert capsys.readouterr().err == ""
    failures = Failures()
    for number in range(AT_MOST + 5):
        failed(failures, number, "a.log")
    failures.tell()
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (AT_MOST + 1, "error: and 5 more: see the logs")


def test_a_folder_with_room_is_not_full(tmp_path):
    assert full_disk(str(tmp_path)) is None
    assert full_disk(str(tmp_path / "absent")) is None


def test_tmpdir_that_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    check_temporary_folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    with pytest.raises(UserError, match="TMPDIR = .*absent: no such folder"):
        check_temporary_folder()


@pytest.mark.parametrize("guarded", [True, False])
def test_a_compiled_module_that_is_cut_short_is_not_kept(tmp_path, guarded):
    """A limit of a file's size cuts as a full disk does; Python alone breaks later imports."""
    package = tmp_path / "scripts"
    package.mkdir()
    text = (ROOT / "scripts/__init__.py").read_text()
    (package / "__init__.py").write_text(text if guarded else "")
    (package / "large.py").write_text("\n".join(f"name_{i} = {i}" for i in range(3000)))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))

    def imports(before=None) -> subprocess.CompletedProcess:
        line = [sys.executable, "-c", "import scripts.large"]
        return subprocess.run(
            line, cwd=tmp_path, env={}, preexec_fn=before, capture_output=True, check=False
        )

    assert imports(limit).returncode == 0
    kept = list(package.glob("__pycache__/large.*.pyc"))
    assert (kept == []) == guarded
    assert (imports().returncode == 0) == guarded
