"""Datasets from a hub: the files, checks and refusals of models, through the data stage."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from scripts.first.files import read_parquet
from tests.system.hub.conftest import TOKEN, last_line
from tests.system.hub.server import Fault, Repository

NAMES = [f"data/{split}-00000-of-00001.parquet" for split in ("test", "train", "validation")]


def prepared(user) -> dict[str, bytes]:
    """Every file that the stage wrote."""
    return {path.name: path.read_bytes() for path in (user.out / "questions").iterdir()}


def completes(user, commit: str) -> None:
    done = user.data("acme/questions", commit)
    assert done.returncode == 0, done.stderr
    assert read_parquet(user.out / "questions" / "test.parquet").num_rows == 10


def test_rows_and_what_they_came_from(user, hub, questions, dataset_files, tmp_path):
    """As from a mirror of the same files, but for the words on where they came from."""
    repository, commit = questions
    completes(user, commit)
    source = json.loads(prepared(user)["report.json"])["source"]
    assert [*source["files"]] == NAMES
    assert (source["kind"], source["revision"]) == ("hub", commit)
    assert (source["licence"], source["gated"]) == ("mit", False)
    assert str(tmp_path) not in prepared(user)["report.json"].decode()
    fetched = {seen.path.split(f"{commit}/")[1] for seen in hub.asked("file", "HEAD")}
    assert fetched == {"README.md", *NAMES}
    from_hub = prepared(user)
    for name, content in dataset_files.items():
        path = tmp_path / "mirror" / "acme" / "questions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert user.data("acme/questions", commit, FIRST_DATA_MIRROR="mirror").returncode == 0
    report = json.loads(prepared(user).pop("report.json"))
    assert report["source"]["files"] == source["files"]
    assert {k: v for k, v in prepared(user).items() if k != "report.json"} == {
        k: v for k, v in from_hub.items() if k != "report.json"
    }


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_offline_once_fetched(user, hub, questions, variable):
    repository, commit = questions
    line = last_line(user.data("acme/questions", commit, **{variable: "1"}))
    assert "offline and not in the hub cache: dataset acme/questions" in line
    assert "FIRST_DATA_MIRROR" in line and hub.seen == []
    completes(user, commit)
    first = prepared(user)
    hub.close()
    for changes in ({variable: "1"}, {}):
        shutil.rmtree(user.out)
        assert user.data("acme/questions", commit, **changes).returncode == 0
        assert prepared(user) == first


FAULTS = {
    "401": ([Fault("info", 401)], "does not accept the token (401)"),
    "403": ([Fault("file", 403, 9, method="HEAD")], "the hub forbids it (403)"),
    "wrong bytes": ([Fault("store", "wrong", 2)], "wrong file from the hub"),
    "another commit": ([Fault("info", "other commit")], "became another one"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults(user, hub, questions, dataset_files, case):
    faults, said = FAULTS[case]
    repository, commit = questions
    repository.commit({**dataset_files, "more.csv": b"a\n"})
    hub.faults += [replace(fault) for fault in faults]
    line = last_line(user.data("acme/questions", commit))
    assert said in line and "dataset acme/questions" in line
    assert not (user.out / "questions").exists()
    hub.faults.clear()
    completes(user, commit)


@pytest.mark.parametrize("what", [429, 503, "cut 300", "reset 300"])
def test_faults_that_pass(user, hub, questions, what):
    repository, commit = questions
    hub.faults += [Fault("store", what), Fault("info", 503)]
    completes(user, commit)
    assert all(fault.times == 0 for fault in hub.faults)


def test_gated_and_absent(user, hub, dataset_files):
    repository = hub.add(Repository("dataset", "acme/gated", gated="auto"))
    commit = repository.commit(dataset_files)
    line = last_line(user.data("acme/gated", commit))
    assert "gated dataset acme/gated (401)" in line and "HF_TOKEN" in line
    assert "https://huggingface.co/datasets/acme/gated" in line
    hub.tokens |= {TOKEN, "acme/gated accepted"}
    assert "no access yet" in last_line(user.data("acme/gated", commit, HF_TOKEN=TOKEN))
    assert user.data("acme/gated", commit, HF_TOKEN="acme/gated accepted").returncode == 0
    assert "no such commit" in last_line(user.data("acme/gated", "1" * 40))
    assert "no such dataset" in last_line(user.data("acme/nothing", commit))
    assert "revision is not pinned" in last_line(user.data("acme/gated", "main"))
    assert not [log for log in user.logs if TOKEN in log]
