"""A mistake of the user ends in one line and status 2; a defect keeps its traceback."""

import argparse
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from first_distill import ROOT
from first_distill.errors import (
    CHECK_PATH,
    MAKE_ROOM,
    UserError,
    listed,
    positive,
    run_cli,
    whole,
    writing,
)


def outcome(main, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program", "--k", "5"])
    with pytest.raises(SystemExit) as stopped:
        run_cli(main)
    return stopped.value.code, capsys.readouterr().err


def raising(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize("status", [None, 0, 3])
def test_arguments_and_status_pass_through(status, monkeypatch, capsys):
    seen = []
    main = lambda argv: seen.append(argv) or status  # noqa: E731
    assert outcome(main, monkeypatch, capsys) == (status or 0, "")
    assert seen == [["--k", "5"]]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such corpus:\n  csqa2: use csqa"), "error: no such corpus: csqa2: use csqa"),
        (
            PermissionError(errno.EACCES, "Permission denied", "b"),
            f"error: Permission denied: b: {CHECK_PATH}",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "c"),
            f"error: No space left on device: c: {MAKE_ROOM}",
        ),
        (OSError(errno.EMFILE, "Too many open files", "d"), "error: Too many open files: d"),
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


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC),
        (OSError(errno.ENOSPC, "No space left on device", "the source of a copy"), errno.ENOSPC),
        (OSError(errno.EIO, "Error writing bytes to file. Detail: ..."), errno.EIO),
        (Exception("No space left on device (os error 28)"), errno.ENOSPC),
        (RuntimeError("I/O error: File too large (os error 27)"), errno.EFBIG),
    ],
)
def test_system_errors_name_the_file_being_written(error, number):
    with pytest.raises(OSError, match="results/x") as caught, writing(Path("results/x")):
        raise error
    assert (caught.value.errno, caught.value.filename) == (number, "results/x")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "another"),
        UserError("one line"),
        ZeroDivisionError(),
    ],
)
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, writing("results/x"):
        raise error
    assert caught.value is error


def test_a_line_that_cannot_be_written_is_no_traceback():
    """The log on a full disk: only the status is left."""
    code = "from first_distill.errors import *; run_cli(lambda argv: open('absent'))"
    for buffered in ("", "1"):
        environment = {**os.environ, "PYTHONUNBUFFERED": buffered, "PYTHONPATH": str(ROOT)}
        with open("/dev/full", "w") as full:
            line = [sys.executable, "-c", code]
            process = subprocess.run(line, stderr=full, env=environment, check=False)
        assert process.returncode == 2


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (whole, ["0", "4294967295"], ["-1", "4294967296", "1.0", "9" * 5000]),
        (positive, ["1", "10"], ["0", "-1", "1.5", "ten", "", "1" * 10, "٣", "1e3", " 1"]),
    ],
)
def test_integers_of_options(kind, good, bad, capsys):
    """argparse reports the option and the value, with status 2."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bins", type=kind)
    assert [parser.parse_args([f"--bins={text}"]).bins for text in good] == [*map(int, good)]
    for text in bad:
        with pytest.raises(SystemExit) as end:
            parser.parse_args([f"--bins={text}"])
        assert end.value.code == 2
        assert "argument --bins" in capsys.readouterr().err.splitlines()[-1]


def test_names_of_data_are_printable_and_few(monkeypatch, capsys):
    """Terminal codes, line breaks, spaces at an end, one long name, and more than twelve."""
    assert listed(["a", "b\x1b[2Jc", "d\u2028e", " f", 3]) == "a, b\\x1b[2Jc, d\\u2028e, ' f', 3"
    assert listed(["x" * 70]) == "x" * 60
    assert listed(range(14)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more"
    found = outcome(
        raising(UserError("no column\n\x1b[31m: \u202e: caf\u00e9")), monkeypatch, capsys
    )
    assert found == (2, "error: no column \\x1b[31m: \\u202e: caf\u00e9\n")
