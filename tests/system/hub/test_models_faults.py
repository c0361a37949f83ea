"""Models from a hub that fails: what the user reads, and that the next run completes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.system.hub.conftest import TOKEN, completes, last_line, verified
from tests.system.hub.server import Fault


def test_an_altered_cache_is_noticed_in_use_and_mended(user, hub, whole):
    repository, commit = whole
    user.model("acme/whole", commit)
    (weights,) = (user.folder / "cache").rglob("snapshots/*/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[5000] ^= 1
    weights.resolve().write_bytes(content)
    assert "altered file" in last_line(verified(user, "whole"))
    line = last_line(user.model("acme/whole", commit, HF_HUB_OFFLINE="1"))
    assert "wrong file from the hub" in line and "model.safetensors: hash" in line
    completes(user, "whole", commit)


def test_a_cut_connection_goes_on_where_it_ended(user, hub, whole):
    repository, commit = whole
    hub.faults.append(Fault("store", "cut 12000000"))
    done = user.model("acme/whole", commit)
    assert done.returncode == 0, done.stderr
    ranges = [seen.headers.get("range") for seen in hub.asked("store")]
    assert ranges == [None, "bytes=10485760-"]
    # The address of a stored file is signed; the log must not hold the signature.
    assert "Error while downloading" in done.stderr and "/store/" in done.stderr
    assert "Signature" not in done.stderr
    assert verified(user, "whole").returncode == 0


def test_a_reset_connection_is_tried_again(user, hub, whole):
    repository, commit = whole
    hub.faults.append(Fault("store", "reset 3000000"))
    done = user.model("acme/whole", commit)
    assert done.returncode == 0, done.stderr
    assert "ReadError" in done.stderr and "trying again in 1 s" in done.stderr
    assert verified(user, "whole").returncode == 0


def test_a_connection_that_keeps_breaking(user, hub, whole):
    """Complete files are kept: the next run fetches only the one that broke."""
    repository, commit = whole
    hub.faults.append(Fault("store", "reset 100", times=5))
    line = last_line(user.model("acme/whole", commit))
    assert "the connection to the hub broke: model acme/whole" in line
    assert not (user.out / "whole").exists()
    before = len(hub.asked("file", "HEAD"))
    completes(user, "whole", commit)
    assert [s.path.rsplit("/", 1)[1] for s in hub.asked("file", "HEAD")[before:]] == [
        "model.safetensors"
    ]


@pytest.mark.parametrize(
    ("route", "match", "name"),
    [("store", "", "model.safetensors"), ("file", "/config.json", "config.json")],
)
def test_wrong_bytes(user, hub, whole, route, match, name):
    """Of the right length: only the hash tells. Fetched again at once, then refused."""
    repository, commit = whole
    hub.faults.append(Fault(route, "wrong", times=2, match=match))
    line = last_line(user.model("acme/whole", commit))
    assert f"wrong file from the hub: model acme/whole at {commit}: {name}: hash" in line
    assert not (user.out / "whole").exists()
    completes(user, "whole", commit)


def test_wrong_bytes_once_are_fetched_again(user, hub, whole):
    repository, commit = whole
    hub.faults.append(Fault("store", "wrong"))
    assert user.model("acme/whole", commit).returncode == 0
    assert len(hub.asked("store")) == 2
    assert verified(user, "whole").returncode == 0


def test_wrong_size(user, hub, whole):
    repository, commit = whole
    hub.faults.append(Fault("store", "short", times=5))
    line = last_line(user.model("acme/whole", commit))
    assert "Consistency check failed" in line and "model acme/whole" in line
    completes(user, "whole", commit)


REFUSALS = {
    "bad token": ([], {"HF_TOKEN": "hf_old"}, "does not accept the token (401)", "HF_TOKEN"),
    "401": ([Fault("info", 401)], {}, "does not accept the token (401)", "HF_TOKEN"),
    "403": ([Fault("file", 403, 9, method="HEAD")], {}, "the hub forbids it (403)", "HF_TOKEN"),
    "429": ([Fault("info", 429, 5)], {}, "limits the rate of requests (429)", "again later"),
    "503": ([Fault("info", 503, 5)], {}, "the hub has trouble (503)", "again later"),
    "other commit": ([Fault("info", "other commit")], {}, "became another one", "commits/main"),
    "other files": (
        [Fault("file", "other commit", 9, "/config.json", method) for method in ("HEAD", "GET")],
        {},
        "did not come, as if it were of another commit",
        "run it again",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(user, hub, whole, whole_files, case):
    faults, changes, said, advice = REFUSALS[case]
    repository, commit = whole
    repository.commit(whole_files | {"config.json": whole_files["config.json"] + b"\n"})
    hub.faults += [replace(fault) for fault in faults]
    line = last_line(user.model("acme/whole", commit, **changes))
    assert said in line and advice in line and "acme/whole" in line
    assert not (user.out / "whole").exists()
    hub.faults.clear()
    completes(user, "whole", commit)


@pytest.mark.parametrize("what", [429, 503])
@pytest.mark.parametrize(("route", "method"), [("info", "GET"), ("file", "HEAD"), ("store", "GET")])
def test_refusals_that_pass(user, hub, whole, what, route, method):
    """Tried again with a pause, as long as the hub says."""
    repository, commit = whole
    limit = {"RateLimit": '"api";r=0;t=2'} if route == "info" else {"Retry-After": "2"}
    headers = limit if what == 429 else {}
    hub.faults.append(Fault(route, what, 2, method=method, headers=headers))
    done = user.model("acme/whole", commit)
    assert done.returncode == 0, done.stderr
    assert hub.faults[0].times == 0
    if (
        what == 429 and route != "file"
    ):  # two times three seconds: as long as the server asked for, and one
        assert done.stderr.count("3 s") + done.stderr.count("3.0s") == 2, done.stderr
    assert verified(user, "whole").returncode == 0


def test_what_is_not_there(user, hub, whole):
    repository, commit = whole
    unknown = "0" * 40
    line = last_line(user.model("acme/whole", unknown))
    assert f"no such commit on the hub (404): model acme/whole at {unknown}" in line
    assert "https://huggingface.co/acme/whole/commits/main" in line
    hub.tokens.add(TOKEN)
    for changes, status in (({}, 401), ({"HF_TOKEN": TOKEN}, 404)):
        line = last_line(user.model("acme/nothing", unknown, **changes))
        assert f"no such model on the hub, or a private one ({status}): acme/nothing" in line
    assert "not a hub id" in last_line(user.model("acme/no thing", unknown))
    completes(user, "whole", commit)


def test_nobody_there(user, hub, whole):
    repository, commit = whole
    line = last_line(user.model("acme/whole", commit, HF_ENDPOINT="http://127.0.0.1:9"))
    assert "cannot reach the hub: model acme/whole" in line and "FIRST_MODEL_MIRROR" in line
    completes(user, "whole", commit)
