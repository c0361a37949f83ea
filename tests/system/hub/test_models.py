"""Models from a hub: what is fetched, which requests are sent, where the files are found later."""

import hashlib
import json
import re
import shutil

import pytest

from tests.system.hub.conftest import TOKEN, completes, last_line, verified
from tests.system.hub.server import Repository


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


@pytest.mark.slow
def test_files_that_left_the_cache(user, sharded):
    repository, commit = sharded
    user.model("acme/sharded", commit)
    shutil.rmtree(user.folder / "cache" / "hub")
    line = last_line(verified(user, "sharded"))
    assert f"no longer in the Hub cache {user.folder}/cache/hub: model acme/sharded" in line
    assert "HF_HOME" in line
    completes(user, "sharded", commit)


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, TOKEN])
def test_gated(user, hub, token, sharded_files):
    hub.tokens |= {TOKEN, "acme/gated accepted"}
    repository = hub.add(Repository("model", "acme/gated", "llama2", gated="manual"))
    commit = repository.commit(sharded_files)
    line = last_line(user.model("acme/gated", commit, **({"HF_TOKEN": token} if token else {})))
    assert f"gated: model acme/gated at {commit}: {403 if token else 401}" in line
    assert "licence on https://huggingface.co/acme/gated" in line and "HF_TOKEN" in line
    assert user.model("acme/gated", commit, HF_TOKEN="acme/gated accepted").returncode == 0
    record = json.loads(user.record("gated"))
    assert (record["licence"], record["gated"]) == ("llama2", "manual")
    # Later stages need no token, and the store of another origin was never given one.
    assert verified(user, "gated").returncode == 0
    assert hub.asked("store") and not any("authorization" in s.headers for s in hub.asked("store"))


@pytest.mark.parametrize("revision", ["main", "abc1234"])
def test_only_a_commit_is_a_revision(user, hub, whole, revision):
    line = last_line(user.model("acme/whole", revision))
    assert f"revision is not pinned: model acme/whole at {revision}" in line
    assert hub.seen == []


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.safetensors", "no safetensors"),
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer"),
        ("model-00002-of-", "no model-00002-of-"),
    ],
)
def test_a_repository_that_is_not_whole(user, hub, whole_files, sharded_files, missing, message):
    repository = hub.add(Repository("model", "acme/partial"))
    files = sharded_files if "-of-" in missing else whole_files
    left = {name: content for name, content in files.items() if not name.startswith(missing)}
    assert len(left) == len(files) - 1
    line = last_line(user.model("acme/partial", repository.commit(left)))
    assert message in line and "acme/partial" in line


@pytest.mark.slow
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
    line = last_line(verified(user, "sharded"))
    assert "no mirror given: model acme/sharded: set --mirror or FIRST_MODEL_MIRROR" in line
    (folder / "config.json").write_text("{}")
    assert "altered file" in last_line(verified(user, "sharded", **mirror))
    (tmp_path / "mirror" / "SHA256SUMS").write_text(f"{'0' * 64}  ./acme/sharded/config.json\n")
    line = last_line(user.model("acme/sharded", commit, **mirror))
    assert "SHA256SUMS: acme/sharded/config.json" in line and "config.json" in line
    line = last_line(user.model("acme/other", commit, **mirror))
    assert "model not in the mirror" in line and "FIRST_MODEL_MIRROR" in line
