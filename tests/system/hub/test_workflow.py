"""The workflow on a hub: only the fetch rules need the network."""

import os
import shutil
import subprocess

import pytest
import yaml

from tests.system.hub.conftest import OTHERS
from tests.system.hub.server import Repository
from tests.system.workflow.copies import copy_repository, environment, output, snakemake

CELL = "results/small/tables/table1/cells/smollm2/teacher/in_domain-csqa.json"
FETCHED = ["results/small/models/smollm2-1b7/record.json", "results/small/data/csqa/report.json"]


def point_at(hub, folder, model_files, dataset_files) -> None:
    """Shrink scale small, and use the repositories of this hub."""
    path = folder / "config/scales/small.yaml"
    config = yaml.safe_load(path.read_text())
    scale = config["scales"]["small"]
    for model in scale["models"].values():
        repository = hub.add(Repository("model", model["hub"]["repo"]))
        model["hub"]["revision"] = repository.commit(model_files)
    csqa = scale["data"]["datasets"]["csqa"]
    csqa["revision"] = hub.add(Repository("dataset", csqa["repo"])).commit(dataset_files)
    csqa["max_train_rows"] = 64
    for role in ("teacher", "student"):
        scale[role]["training"] = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    scale |= {"dtype": "float32", "knowledge": {"k": 5, "stored_k": 10}}
    for needed in scale["resources"].values():
        needed |= {"threads": 1, "gpu": 0}
    path.write_text(yaml.safe_dump(config))


def unshared() -> list[str]:
    """A prefix under which a command has no network, not even loopback; empty where not allowed."""
    prefix = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        return []
    return prefix


@pytest.mark.slow
def test_only_fetch_rules_need_the_network(hub, tmp_path, sharded_files, dataset_files):
    folder = copy_repository(tmp_path / "first")
    point_at(hub, folder, sharded_files, dataset_files)
    clean = {k: v for k, v in environment(folder).items() if not k.startswith(OTHERS)}
    clean |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache")}

    def run(*words, prefix=()):
        command = [*prefix, "snakemake", "-c2", "--", *words]
        done = subprocess.run(
            command, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, output(done)[-4000:]

    run(*FETCHED)
    asked = len(hub.seen)
    assert asked
    run(CELL, prefix=unshared())
    assert (folder / CELL).is_file()
    assert hub.seen[asked:] == []


@pytest.mark.slow
def test_where_fetch_rules_run(tmp_path):
    """Where snakemake runs, or in the partition that the configuration names.

    The cluster accepts no job: a rule that succeeds was not submitted.
    """
    folder = copy_repository(tmp_path / "first")
    closed = tmp_path / "closed"
    closed.mkdir()
    for command in ("sbatch", "sacctmgr", "sshare"):
        (closed / command).write_text("#!/bin/sh\necho no jobs today >&2\nexit 1\n")
        (closed / command).chmod(0o755)

    def run(*words):
        variables = {"SLURM_PARTITION": "compute", "SLURM_ACCOUNT": "lab"}
        variables["PATH"] = f"{closed}{os.pathsep}{environment(folder)['PATH']}"
        options = ("--profile", "slurm", "--quiet", "host", "--retries", "0", *words)
        return output(snakemake(folder, *options, **variables))

    fetched = ["results/tiny/data/obqa/report.json"]
    fetched.append("results/tiny/models/alder-student/record.json")
    other = "results/tiny/data/pretraining/report.json"
    plan = run("-n", "--config", "fetch={partition: internet}", "--", *fetched, other)
    assert plan.count("slurm_partition=internet") == 2
    assert plan.count("slurm_partition=compute") == 1
    text = run("--", *fetched, other)
    assert text.count("Job submission failed") == 1, text
    assert all((folder / name).is_file() for name in fetched)
