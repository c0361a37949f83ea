"""The workflow on a hub: only the fetch rules need the network."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.system.hub import pickles
from tests.system.hub.conftest import OTHERS
from tests.system.hub.server import Repository
from tests.system.workflow.copies import copy_repository, environment, output, snakemake

FIRST_CELL = "results/small/tables/table1/cells/smollm2/first_ts/in_domain-csqa.json"
CELL = "results/small/tables/table1/cells/smollm2/teacher/in_domain-csqa.json"
VERIFY = (sys.executable, "-m")
FETCHED = ["results/small/models/smollm2-1b7/record.json", "results/small/data/csqa/report.json"]


def point_at(hub, folder, model_files, dataset_files, **keys) -> None:
    """Shrink scale small, and use the repositories of this hub; `keys` of both models."""
    path = folder / "config/scales/small.yaml"
    config = yaml.safe_load(path.read_text())
    scale = config["scales"]["small"]
    for number, model in enumerate(scale["models"].values()):
        repository = hub.add(Repository("model", model["hub"]["repo"]))
        model["hub"]["revision"] = repository.commit(model_files(number))
        model |= keys
    scale["data"]["rows"]["csqa"] = {"train": 64}
    for role in ("teacher", "student"):
        scale[role]["training"] = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    scale |= {"dtype": "float32", "knowledge": {"k": 5, "stored_k": 10}}
    for needed in scale["resources"].values():
        needed |= {"threads": 1, "gpu": 0}
    path.write_text(yaml.safe_dump(config))
    path = folder / "config/datasets.yaml"
    config = yaml.safe_load(path.read_text())
    csqa = config["datasets"]["csqa"]
    csqa["revision"] = hub.add(Repository("dataset", csqa["repo"])).commit(dataset_files)
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
    point_at(hub, folder, lambda number: sharded_files, dataset_files)
    run(hub, folder, *FETCHED)
    asked = len(hub.seen)
    assert asked
    run(hub, folder, CELL, prefix=unshared())
    assert (folder / CELL).is_file()
    assert hub.seen[asked:] == []


@pytest.mark.slow
def test_a_cell_from_pickles(hub, tmp_path, dataset_files):
    """Teacher and student in OpenLlama's form: the key in the configuration, no other step."""
    folder = copy_repository(tmp_path / "first")
    point_at(hub, folder, pickles.openllama, dataset_files, weights="pickle")
    run(hub, folder, *FETCHED, "results/small/models/smollm2-360m/record.json")
    asked = len(hub.seen)
    run(hub, folder, FIRST_CELL, prefix=unshared())
    assert hub.seen[asked:] == []
    records = sorted((folder / "results/small/models").glob("*/record.json"))
    found = [json.loads(record.read_text()) for record in records]
    assert len(found) == 2 and all(len(record["converted_from"]) == 3 for record in found)
    done = run(hub, folder, "scripts.verify", "results/small", FIRST_CELL, start=VERIFY)
    assert f"{FIRST_CELL.removeprefix('results/small/')}: sound" in done.stdout


def run(hub, folder, *words, prefix=(), start=("snakemake", "-c2", "--")):
    """Run a command of a copy whose hub is this one."""
    clean = {k: v for k, v in environment(folder).items() if not k.startswith(OTHERS)}
    clean |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder.parent / "cache")}
    options = {"capture_output": True, "text": True, "check": False, "timeout": 900}
    done = subprocess.run([*prefix, *start, *words], cwd=folder, env=clean, **options)
    assert done.returncode == 0, output(done)[-4000:]
    return done


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
    other = "results/tiny/models/tokenizers/world/record.json"
    plan = run("-n", "--config", "fetch={partition: internet}", "--", *fetched, other)
    assert plan.count("slurm_partition=internet") == 2
    assert plan.count("slurm_partition=compute") == 1
    text = run("--", *fetched, other)
    assert text.count("Job submission failed") == 1, text
    assert all((folder / name).is_file() for name in fetched)
