"""The workflow on a hub: fetch rules where there is network, all other jobs without any."""

from __future__ import annotations

import os
import shutil
import subprocess

import yaml

from tests.system.hub.conftest import OTHERS
from tests.system.hub.server import Repository
from tests.system.slurm.runs import QUICK
from tests.system.workflow.copies import copy_repository, environment, output, snakemake

CELL = "results/small/tables/table1/cells/smollm2/first_ts/in_domain-csqa.json"
FETCHED = [f"results/small/models/smollm2-{size}/record.json" for size in ("1b7", "360m")]
FETCHED += [f"results/small/data/csqa/{split}.parquet" for split in ("train", "test")]


def point_at(hub, folder, model_files, dataset_files) -> None:
    """Make scale small small enough, and its repositories those of this hub."""
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


def test_only_fetch_rules_need_the_network(hub, tmp_path, sharded_files, dataset_files):
    folder = copy_repository(tmp_path / "first")
    point_at(hub, folder, sharded_files, dataset_files)
    clean = {k: v for k, v in environment(folder).items() if not k.startswith(OTHERS)}
    clean |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache")}

    def run(*words, prefix=()):
        runner = ["python", "-m", "scripts.first.runtime.run", "-c2"]
        command = [*prefix, *runner, "--", *words]
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


def test_where_fetch_rules_run(tmp_path):
    """Where snakemake runs; in a partition once the configuration names one. Others never move.

    On a cluster that takes no job, what succeeds was not submitted.
    """
    folder = copy_repository(tmp_path / "first")
    closed = folder / "closed"
    closed.mkdir()
    for command in ("sbatch", "sacctmgr", "sshare"):
        (closed / command).write_text("#!/bin/sh\necho no jobs today >&2\nexit 1\n")
        (closed / command).chmod(0o755)
    path = f"{closed}{os.pathsep}{environment(folder)['PATH']}"

    def run(*words):
        options = ["--profile", "slurm", "--retries", "0", *QUICK, *words]
        return snakemake(
            folder, *options, SLURM_PARTITION="compute", SLURM_ACCOUNT="lab", PATH=path
        )

    fetched = [f"results/tiny/data/{name}/report.json" for name in ("obqa", "alpaca")]
    fetched.append("results/tiny/models/alder-student/record.json")
    other = "results/tiny/data/pretraining/report.json"
    away = ("--config", "fetch={partition: internet}", "--")
    done = run("-n", *away, *fetched, other)
    assert output(done).count("slurm_partition=internet") == 3
    assert output(done).count("slurm_partition=compute") == 1
    done = run(*away, *fetched)
    assert done.returncode != 0 and output(done).count("Job submission failed") == 3, output(done)
    done = run("--", *fetched, other)
    assert output(done).count("Job submission failed") == 1, output(done)
    assert "Error in rule pretraining_data" in output(done)
    assert all((folder / name).is_file() for name in fetched)
