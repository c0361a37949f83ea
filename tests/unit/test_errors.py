"""A mistake of the user ends in one line and status 2; a defect keeps its traceback."""

from __future__ import annotations

import errno
import sys

import pytest

from scripts.first.errors import UserError, run_cli


def outcome(main, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program", "--k", "5"])
    with pytest.raises(SystemExit) as stopped:
        run_cli(main)
    return stopped.value.code, capsys.readouterr().err


def raising(error):
    def main(argv):
        raise error

    return main


def test_arguments_and_status_pass_through(monkeypatch, capsys):
    seen = []
    for status in (None, 0, 3):
        assert outcome(lambda argv, s=status: seen.append(argv) or s, monkeypatch, capsys) == (
            status or 0,
            "",
        )
    assert seen == [["--k", "5"]] * 3


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such corpus:\n  csqa2: use csqa"), "error: no such corpus: csqa2: use csqa"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.json"), "error: No such file: a.json"),
        (PermissionError(errno.EACCES, "Permission denied", "b"), "error: Permission denied: b"),
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device"),
        (OSError(), "error: OSError"),
    ],
)
def test_one_line_and_status_2(error, line, monkeypatch, capsys):
    assert outcome(raising(error), monkeypatch, capsys) == (2, line + "\n")


def test_interrupt(monkeypatch, capsys):
    assert outcome(raising(KeyboardInterrupt()), monkeypatch, capsys)[0] == 130


def test_defects_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(ZeroDivisionError):
        run_cli(raising(ZeroDivisionError()))
