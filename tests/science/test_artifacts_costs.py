"""The page on what a run cost: seconds summed by stage, the longest job, where the jobs ran."""

import pandas
import pytest

from first_distill.errors import UserError
from first_distill.reporting import costs
from tests.science.artifacts_world import artifact

HEAD = "s\th:m:s\tmax_rss\n"
LINE = "job: commit {}; processor A; cores 2; memory 8 GiB; GPUs {}; Python 3.11.2; "
LINE += "started 2026-01-{} UTC\n"


def rows(lines: list[str]) -> list[list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [own for own in cells if not own[0].startswith((":-", "-"))]


def test_seconds_by_stage_and_where_they_ran(tmp_path):
    jobs = {"teacher/oak/csqa": [90.5], "student/oak/csqa/a/seed1": [40.0, 20.25]}
    jobs["student/oak/csqa/b/seed1"] = [30.5]
    logs = {"teacher/oak/csqa": LINE.format("c1", "1 x B", "03 23:59:00") + "step 1\n"}
    # A log may have the heads of several tries, or be lost.
    tries = [LINE.format("c1", "none", "04 10:00:00"), LINE.format("c2", "none", "04 12:00:00")]
    logs["student/oak/csqa/a/seed1"] = f"{tries[0]}stopped after step 1\n{tries[1]}"
    for name, seconds in jobs.items():
        path = tmp_path / "pocket" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + "".join(f"{s}\t0:01:00\t5.0\n" for s in seconds))
    for name, text in logs.items():
        path = tmp_path / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    options = {"benchmarks": tmp_path / "pocket", "logs": tmp_path / "logs"}
    artifact("costs", **options, output=tmp_path / "costs.md")
    lines = (tmp_path / "costs.md").read_text().splitlines()
    assert lines[0] == "# What a run of scale pocket cost"
    assert lines[2] == "From 2026-01-03 23:59:00 UTC to 2026-01-04 12:00:20 UTC."
    assert rows(lines) == [
        ["Stage", "Jobs", "Seconds", "Longest"],
        # Of a job that was tried again, the last try.
        ["student", "2", "50.8", "30.5"],
        ["teacher", "1", "90.5", "90.5"],
        ["all", "3", "141.2", "90.5"],
        ["Commit", "Processor", "Cores", "Memory", "GPUs", "Python", "Stages", "Jobs"],
        ["c2", "A", "2", "8 GiB", "none", "3.11.2", "student", "1"],
        [*6 * ["not in the log"], "student", "1"],
        ["c1", "A", "2", "8 GiB", "1 x B", "3.11.2", "teacher", "1"],
    ]


def test_the_jobs_behind_some_results(tmp_path):
    """By folder; those that shared an extraction have one of their own below it."""
    shared = ("knowledge/a/train", "knowledge/a/train/1-of-2")
    for name in ("student/a/seed1", "student/b/seed1", *shared):
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEAD}1.5\t0:00:01\t5.0\n")
    jobs = costs.timings(tmp_path / "benchmarks", tmp_path)
    results = tmp_path / "results/tiny"
    files = [results / "student/a/seed1/record.json", results / "knowledge/a/train/manifest.json"]
    found = costs.of_results(jobs, results, [*files, tmp_path / "results/other/student/b/seed1/x"])
    assert {*found["Job"]} == {*shared, "student/a/seed1"}
    (place,) = costs.places(jobs)
    assert (place["stages"], place["jobs"]) == ("all", 4)


def test_a_start_that_is_no_time_is_none_of_the_run():
    jobs = pandas.DataFrame({"Seconds": [3.0, 9.0], "started": ["2026-01-03 10:00:00 UTC", "soon"]})
    assert costs.span(jobs) == ("2026-01-03 10:00:00 UTC", "2026-01-03 10:00:03 UTC")
    assert costs.span(jobs[1:]) is None


def test_without_logs_or_timings(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.tsv").write_text(f"{HEAD}1.5\t0:00:01\t5.0\n")
    artifact("costs", benchmarks=tmp_path, logs=tmp_path, output=tmp_path / "costs.md")
    text = (tmp_path / "costs.md").read_text()
    assert "From" not in text and "| not in the log" in text
    with pytest.raises(UserError, match=r"no timings: .*: name benchmarks/\{scale\} of a finished"):
        none = {"benchmarks": tmp_path / "none", "logs": tmp_path}
        artifact("costs", **none, output=tmp_path / "costs.md")
