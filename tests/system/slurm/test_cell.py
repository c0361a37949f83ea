"""One cell of Table 1 through a real Slurm: the same bytes, and what its jobs asked for."""

import re
import shutil

import pytest

from tests.system.slurm.runs import Run, change
from tests.system.workflow.copies import digests

CELL = "results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json"
OFFLINE = {"HF_HUB_OFFLINE": "1", "https_proxy": "http://127.0.0.1:9"}
# Stage of `resources`, rule, and what is asked for: unlike from stage to stage.
ASKED = {
    "benchmark_data": ("data", {"gpu": 0, "mem_mb": 1100, "runtime": 11}),
    "base_model": ("models", {"gpu": 0, "mem_mb": 1400, "runtime": 14}),
    "teacher": ("teacher", {"threads": 1, "gpu": 2, "mem_mb": 1700, "runtime": 13}),
    "knowledge": ("knowledge", {"threads": 1, "gpu": 1, "mem_mb": 1500, "runtime": 9}),
    "temperature": ("temperature", {"threads": 3, "gpu": 0, "mem_mb": 1200, "runtime": 5}),
    "student_knowledge": ("student", {"threads": 1, "gpu": 1, "mem_mb": 1600, "runtime": 12}),
    "evaluation": ("evaluation", {"threads": 1, "gpu": 1, "mem_mb": 1300, "runtime": 8}),
}


@pytest.mark.slow
def test_a_cell_through_slurm(cluster, tiny_run, finished):
    """Byte-identical to the local run; every job asked Slurm for what the configuration says."""
    folder = finished
    for name in ("teacher", "knowledge", "temperature", "student", "evaluation", "tables"):
        shutil.rmtree(folder / "results/tiny" / name)
    for name in ("data/csqa", "models/alder-student", "models/alder-teacher"):
        shutil.rmtree(folder / "results/tiny" / name)
    for stage, asked in ASKED.values():
        for name, value in asked.items():
            change(folder, f"resources.{stage}.{name}", value)
    change(folder, "resources.teacher.processes", 1)  # two GPUs, and yet the local run's bytes
    config = folder / "config/config.yaml"
    config.write_text(config.read_text().replace("partition: null", "partition: vip"))
    run = Run(cluster, folder, CELL, **OFFLINE)
    assert run.finish() == 0, run.log()[-4000:]

    local, here = digests(tiny_run), digests(folder)
    assert CELL in here and "results/tiny/data/csqa/report.json" in here
    assert {name: local[name] for name in here} == here

    jobs = run.jobs()
    assert {rule_of(job) for job in jobs} == set(ASKED)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["JobName"].split("_")[0] for job in jobs} == {"first"}
    for job in jobs:
        asked = ASKED[rule_of(job)][1]
        assert requested(job) == {"threads": 1, **asked}
        visible = cluster.task_environments()[job["JobId"]].get("CUDA_VISIBLE_DEVICES", "")
        assert len(visible.split(",")) == asked["gpu"] if asked["gpu"] else visible == ""
        # `fetch.partition` sends what may need the network; the rest gets the cluster's default.
        fetches = rule_of(job) in ("benchmark_data", "base_model")
        assert job["Partition"] == ("vip" if fetches else "main")
    assert all((folder / "logs/slurm").glob("rule_*/*/*.log"))


def rule_of(job):
    """The rule of a job: the plugin writes it into the comment."""
    return re.match(r"rule_(.*?)_wildcards_", job["Comment"]).group(1)


def requested(job):
    """CPUs, GPUs, memory and time of a job from Slurm's record, in the configuration's words."""
    gpus = re.search(r"gres:gpu:(\d+)", job.get("TresPerJob", ""))
    hours, minutes, _ = map(int, job["TimeLimit"].split(":"))
    memory = re.fullmatch(r"(\d+)M", job["MinMemoryNode"]).group(1)
    return {
        "threads": int(job["NumCPUs"]),
        "gpu": int(gpus.group(1)) if gpus else 0,
        "mem_mb": int(memory),
        "runtime": 60 * hours + minutes,
    }
