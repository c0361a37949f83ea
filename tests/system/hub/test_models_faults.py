"""Models from a hub that fails: the message, and that the next run completes."""

from dataclasses import replace

import pytest

from tests.short import short
from tests.system.hub.conftest import TOKEN, completes, last_line, verified
from tests.system.hub.server import Fault


@pytest.mark.slow
def test_an_altered_cache_is_noticed_in_use_and_repaired(user, hub, whole):
    repository, commit = whole
    user.model("acme/whole", commit)
    (weights,) = (user.folder / "cache").rglob("snapshots/*/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[5000] ^= 1
    weights.resolve().write_bytes(content)
    assert "altered file" in last_line(verified(user, "whole"))
    line = last_line(user.model("acme/whole", commit, HF_HUB_OFFLINE="1"))
    assert "file differs from the Hub's hash" in line and "model.safetensors" in line
    completes(user, "whole", commit)


@pytest.mark.slow
def test_a_connection_that_breaks(user, hub, whole):
    """Complete files are kept: the next run fetches only the one that broke."""
    repository, commit = whole
    hub.faults.append(Fault("store", "cut", 99))
    done = user.model("acme/whole", commit)
    line = last_line(done)
    assert "no connection to the Hub: model acme/whole" in line
    # The address of a stored file is signed; the log must not hold the signature.
    assert "Signature" not in done.stderr
    assert not (user.out / "whole").exists()
    hub.faults.clear()
    before = len(hub.asked("file", "HEAD"))
    completes(user, "whole", commit)
    assert [s.path.rsplit("/", 1)[1] for s in hub.asked("file", "HEAD")[before:]] == [
        "model.safetensors"
    ]


OTHER = [Fault("file", "other commit", 9, "/config.json", method) for method in ("HEAD", "GET")]
REFUSALS = {
    "bad token": ([], {"HF_TOKEN": "hf_old"}, "401"),
    "forbidden": ([Fault("file", 403, 9, method="HEAD")], {}, "403 Forbidden"),
    "rate limit": ([Fault("info", 429, 9)], {}, "429 Too Many Requests"),
    "wrong bytes": ([Fault("store", "wrong")], {}, "model.safetensors: removed from the cache"),
    "another commit's file": (OTHER, {}, "config.json: removed from the cache"),
}


@pytest.mark.parametrize("case", short(REFUSALS, "bad token"))
def test_refusals(user, hub, whole, whole_files, case):
    faults, changes, message = REFUSALS[case]
    repository, commit = whole
    repository.commit(whole_files | {"config.json": whole_files["config.json"] + b"\n"})
    hub.faults += [replace(fault) for fault in faults]
    line = last_line(user.model("acme/whole", commit, **changes))
    assert message in line and f"model acme/whole at {commit}" in line
    assert not (user.out / "whole").exists()
    hub.faults.clear()
    completes(user, "whole", commit)


@pytest.mark.slow
def test_not_found(user, hub, whole):
    repository, commit = whole
    unknown = "0" * 40
    line = last_line(user.model("acme/whole", unknown))
    assert f"not found on the Hub: model acme/whole at {unknown}: 404" in line
    hub.tokens.add(TOKEN)
    for changes, status in (({}, 401), ({"HF_TOKEN": TOKEN}, 404)):
        line = last_line(user.model("acme/nothing", unknown, **changes))
        assert f"not found on the Hub: model acme/nothing at {unknown}: {status}" in line
        assert "HF_TOKEN" in line
    assert "Repo id must" in last_line(user.model("acme/no thing", unknown))
    completes(user, "whole", commit)
