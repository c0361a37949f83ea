"""Models from a hub: what arrives, what is refused, and that the next run completes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace

import pytest

from tests.hub.conftest import TOKEN, last_line
from tests.hub.server import Fault, Repository


def verified(user, name: str, **changes: str):
    """Run a stage that verifies the model's files, wherever they lie."""
    target = user.out / f"{name}-copy"
    words = ["copy", "--source", str(user.out / name), "--output-dir", str(target)]
    return user.run("scripts.models", *words, **changes)


def completes(user, name: str, commit: str) -> None:
    """The next run succeeds, and what it fetched is whole."""
    done = user.model(f"acme/{name}", commit)
    assert done.returncode == 0, done.stderr
    assert verified(user, name).returncode == 0


def test_record_and_files(user, hub, whole, whole_files):
    repository, commit = whole
    assert user.model("acme/whole", commit).returncode == 0
    record = json.loads(user.record("whole"))
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    assert [*record["files"]] == [*names]
    for name, described in record["files"].items():
        content = whole_files[name]
        digest = hashlib.sha256(content).hexdigest()
        assert described == {"bytes": len(content), "sha256": digest}
    told = {key: record[key] for key in ("kind", "repo", "revision", "commit", "licence", "gated")}
    assert [*told.values()] == ["hub", "acme/whole", commit, commit, "apache-2.0", False]
    assert str(user.folder) not in user.record("whole").decode()
    assert "/" not in json.dumps({k: v for k, v in record.items() if k != "repo"})
    # Nothing but these was even asked for: no pickle, no code.
    assert {seen.path.rsplit("/", 1)[1] for seen in hub.asked("file", "HEAD")} == set(names)
    assert [path.name for path in (user.out / "whole").iterdir()] == ["record.json"]
    assert verified(user, "whole").returncode == 0


def test_second_run_asks_nothing_and_says_the_same(user, hub, whole):
    repository, commit = whole
    user.model("acme/whole", commit)
    first, asked = user.record("whole"), len(hub.seen)
    shutil.rmtree(user.out)
    assert user.model("acme/whole", commit).returncode == 0
    assert user.record("whole") == first
    assert hub.seen[asked:] == []


def test_offline_once_fetched(user, hub, sharded, tmp_path):
    repository, commit = sharded
    line = last_line(user.model("acme/sharded", commit, HF_HUB_OFFLINE="1"))
    assert "offline and not in the hub cache: model acme/sharded" in line
    assert "HF_HUB_OFFLINE" in line and "FIRST_MODEL_MIRROR" in line
    assert hub.seen == []
    user.model("acme/sharded", commit)
    first = user.record("sharded")
    hub.close()
    for changes in ({"HF_HUB_OFFLINE": "1"}, {}):
        shutil.rmtree(user.out)
        assert user.model("acme/sharded", commit, **changes).returncode == 0
        assert user.record("sharded") == first
        assert verified(user, "sharded", **changes).returncode == 0


def test_files_that_left_the_cache(user, sharded):
    repository, commit = sharded
    user.model("acme/sharded", commit)
    shutil.rmtree(user.folder / "cache" / "hub")
    line = last_line(verified(user, "sharded"))
    assert f"no longer in the hub cache {user.folder}/cache/hub: model acme/sharded" in line
    assert "HF_HOME" in line
    completes(user, "sharded", commit)


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


@pytest.mark.parametrize("token", [None, TOKEN])
def test_gated(user, hub, token, sharded_files):
    hub.tokens |= {TOKEN, "acme/gated accepted"}
    repository = hub.add(Repository("model", "acme/gated", "llama2", gated="manual"))
    commit = repository.commit(sharded_files)
    line = last_line(user.model("acme/gated", commit, **({"HF_TOKEN": token} if token else {})))
    status = 403 if token else 401
    assert f"gated model acme/gated ({status})" in line
    assert "licence" in line and "https://huggingface.co/acme/gated" in line
    assert "HF_TOKEN" in line
    assert ("no access yet" in line) == bool(token)
    assert user.model("acme/gated", commit, HF_TOKEN="acme/gated accepted").returncode == 0
    record = json.loads(user.record("gated"))
    assert (record["licence"], record["gated"]) == ("llama2", "manual")
    # Later stages need no token, and the store of another origin was never given one.
    assert verified(user, "gated").returncode == 0
    assert hub.asked("store") and not any("authorization" in s.headers for s in hub.asked("store"))


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
    headers = {"Retry-After": "1"} if what == 429 else {}
    hub.faults.append(Fault(route, what, 2, method=method, headers=headers))
    done = user.model("acme/whole", commit)
    assert done.returncode == 0, done.stderr
    assert hub.faults[0].times == 0
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


@pytest.mark.parametrize("revision", ["main", "v1.0", "abc1234", "refs/pr/1"])
def test_only_a_commit_is_a_revision(user, hub, whole, revision):
    line = last_line(user.model("acme/whole", revision))
    assert f"revision is not pinned: hub model acme/whole at revision {revision}" in line
    assert hub.seen == []


def test_a_branch_that_moves_changes_nothing(user, hub, whole, whole_files):
    repository, commit = whole
    user.model("acme/whole", commit)
    first = user.record("whole")
    moved = repository.commit({**whole_files, "config.json": b"{}"})
    assert repository.at("main") == moved != commit
    for folder in (user.out, user.folder / "cache"):
        shutil.rmtree(folder)
    completes(user, "whole", commit)
    assert user.record("whole") == first


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("model.safetensors", "no safetensors"),
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer"),
        ("model-00002-of-", "no model-00002-of-"),
    ],
)
def test_a_repository_that_is_not_whole(user, hub, whole_files, sharded_files, missing, said):
    repository = hub.add(Repository("model", "acme/partial"))
    files = sharded_files if "-of-" in missing else whole_files
    left = {name: content for name, content in files.items() if not name.startswith(missing)}
    assert len(left) == len(files) - 1
    line = last_line(user.model("acme/partial", repository.commit(left)))
    assert said in line and "acme/partial" in line


def test_the_token_is_written_nowhere(user, hub, whole, whole_files):
    """Whatever goes wrong, and when nothing does: not in a log, a result or the cache."""
    hub.tokens.add(TOKEN)
    repository, commit = whole
    hub.faults += [
        *(Fault("info", status) for status in (400, 401, 403, 503)),
        *(Fault("file", status, 1, method="HEAD") for status in (403, 418)),
        *(Fault("file", status, 2, match="config") for status in (403, 500)),
        Fault("store", 403),
        Fault("store", "cut 11000000"),
        Fault("store", "reset 2000"),
        Fault("store", "wrong"),
    ]
    for attempt in range(20):
        done = user.model("acme/whole", commit, HF_TOKEN=TOKEN, HF_DEBUG=str(attempt % 2))
        if done.returncode == 0:
            break
        last_line(done)
    assert attempt >= 5 and done.returncode == 0
    assert verified(user, "whole", HF_TOKEN=TOKEN).returncode == 0
    assert any(TOKEN in seen.headers.get("authorization", "") for seen in hub.seen)
    assert not [log for log in user.logs if TOKEN in log]
    written = [path for path in user.folder.rglob("*") if path.is_file()]
    assert len(written) > 8
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_mirror(user, hub, sharded, sharded_files, tmp_path):
    """A folder in hub layout instead of the hub; what counts there is the files' hashes."""
    repository, commit = sharded
    folder = tmp_path / "mirror" / "acme" / "sharded"
    folder.mkdir(parents=True)
    for name, content in sharded_files.items():
        (folder / name).write_bytes(content)
    mirror = {"FIRST_MODEL_MIRROR": "mirror"}
    assert user.model("acme/sharded", commit, **mirror).returncode == 0
    record = json.loads(user.record("sharded"))
    assert (record["kind"], record["mirrored_revision"]) == ("mirror", commit)
    assert hub.seen == [] and str(tmp_path) not in user.record("sharded").decode()
    assert not any(re.search(r"pickle|\.bin|\.py", name) for name in record["files"])
    assert verified(user, "sharded", **mirror).returncode == 0
    assert user.model("acme/sharded", commit).returncode == 0
    assert json.loads(user.record("sharded"))["files"] == record["files"]

    user.model("acme/sharded", commit, **mirror)
    assert "no mirror given: set --mirror or FIRST_MODEL_MIRROR" in last_line(
        verified(user, "sharded")
    )
    line = last_line(verified(user, "sharded", FIRST_MODEL_MIRROR="out"))
    assert "model not in the mirror" in line and "FIRST_MODEL_MIRROR" in line
    (folder / "config.json").write_text("{}")
    assert "altered file" in last_line(verified(user, "sharded", **mirror))
    (tmp_path / "mirror" / "SHA256SUMS").write_text(f"{'0' * 64}  ./acme/sharded/config.json\n")
    line = last_line(user.model("acme/sharded", commit, **mirror))
    assert "checksum differs from SHA256SUMS" in line and "config.json" in line
    line = last_line(user.model("acme/other", commit, **mirror))
    assert "model not in the mirror" in line
