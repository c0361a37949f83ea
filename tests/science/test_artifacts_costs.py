"""The page on what a run cost: seconds summed by stage, the longest job, the machine."""

import os

import pytest

from first_distill.errors import UserError
from tests.science.artifacts_world import artifact

HEAD = "s\th:m:s\tmax_rss\n"


def test_seconds_by_stage(tmp_path):
    jobs = {"teacher/oak/csqa.tsv": [90.5], "student/oak/csqa/a/seed1.tsv": [40.0, 20.25]}
    jobs["student/oak/csqa/b/seed1.tsv"] = [30.5]
    for name, seconds in jobs.items():
        path = tmp_path / "pocket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + "".join(f"{s}\t0:01:00\t5.0\n" for s in seconds))
    artifact("costs", benchmarks=tmp_path / "pocket", output=tmp_path / "costs.md")
    lines = (tmp_path / "costs.md").read_text().splitlines()
    assert lines[0] == "# What a run of scale pocket cost"
    assert f"- cores: {len(os.sched_getaffinity(0))}" in lines
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    assert rows[0] == ["Stage", "Jobs", "Seconds", "Longest"]
    # Of a job that was tried again, the last try.
    assert rows[2:] == [
        ["student", "2", "50.8", "30.5"],
        ["teacher", "1", "90.5", "90.5"],
        ["all", "3", "141.2", "90.5"],
    ]


def test_a_folder_without_timings(tmp_path):
    with pytest.raises(UserError, match=r"no timings: .*: name benchmarks/\{scale\} of a finished"):
        artifact("costs", benchmarks=tmp_path, output=tmp_path / "costs.md")
