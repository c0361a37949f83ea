"""Datasets from a hub, through the data stage; test_models_faults.py has the other faults."""

import json
import shutil

from first_distill.files import read_parquet
from tests.system.hub.conftest import TOKEN, last_line
from tests.system.hub.server import Repository

NAMES = [f"data/{split}-00000-of-00001.parquet" for split in ("test", "train", "validation")]


def prepared(user) -> dict[str, bytes]:
    """Every file that the stage wrote."""
    return {path.name: path.read_bytes() for path in (user.out / "questions").iterdir()}


def completes(user, commit: str) -> None:
    done = user.data("acme/questions", commit)
    assert done.returncode == 0, done.stderr
    assert read_parquet(user.out / "questions" / "test.parquet").num_rows == 10


def test_rows_and_their_source(user, hub, questions, dataset_files, tmp_path):
    """The same tables as from a mirror of the same files."""
    repository, commit = questions
    completes(user, commit)
    from_hub = prepared(user)
    report = from_hub.pop("report.json").decode()
    source = json.loads(report)["source"]
    assert [*source] == ["kind", "repo", "name", "revision", "licence", "gated", "files"]
    assert [*source["files"]] == NAMES[1:]  # the test split is not used
    assert [*source.values()][:6] == ["hub", "acme/questions", None, commit, "mit", False]
    assert str(tmp_path) not in report
    fetched = {seen.path.split(f"{commit}/")[1] for seen in hub.asked("file", "HEAD")}
    assert fetched == {"README.md", *NAMES}
    for name, content in dataset_files.items():
        path = tmp_path / "mirror" / "acme" / "questions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert user.data("acme/questions", commit, FIRST_DATA_MIRROR="mirror").returncode == 0
    from_mirror = prepared(user)
    report = json.loads(from_mirror.pop("report.json"))
    assert report["source"]["files"] == source["files"]
    assert from_mirror == from_hub


def test_offline_once_fetched(user, hub, questions):
    repository, commit = questions
    line = last_line(user.data("acme/questions", commit, HF_HUB_OFFLINE="1"))
    assert "no connection to the Hub: dataset acme/questions" in line
    assert "FIRST_DATA_MIRROR" in line and hub.seen == []
    completes(user, commit)
    first = prepared(user)
    hub.close()
    for changes in ({"HF_HUB_OFFLINE": "1"}, {}):
        shutil.rmtree(user.out)
        assert user.data("acme/questions", commit, **changes).returncode == 0
        assert prepared(user) == first


def test_gated_and_absent(user, hub, dataset_files):
    repository = hub.add(Repository("dataset", "acme/gated", gated="auto"))
    commit = repository.commit(dataset_files)
    line = last_line(user.data("acme/gated", commit))
    assert f"gated: dataset acme/gated at {commit}: 401" in line and "HF_TOKEN" in line
    assert "https://huggingface.co/datasets/acme/gated" in line
    hub.tokens |= {TOKEN, "acme/gated accepted"}
    assert "gated: dataset" in last_line(user.data("acme/gated", commit, HF_TOKEN=TOKEN))
    assert user.data("acme/gated", commit, HF_TOKEN="acme/gated accepted").returncode == 0
    assert "not found on the Hub" in last_line(user.data("acme/gated", "1" * 40))
    assert "not found on the Hub" in last_line(user.data("acme/nothing", commit))
    assert "revision is not pinned" in last_line(user.data("acme/gated", "main"))
    assert not [log for log in user.logs if TOKEN in log]
