"""The stages on the page: what they were made from, what they took, how they are drawn."""

import re

import pytest

from first_distill.reporting import trace
from first_distill.reporting.costs import timings
from first_distill.reporting.page import stages


class Records(dict):
    """What `trace.Results.content` has of some records."""

    def content(self, name):
        return {"made_from": dict.fromkeys(self[name])}


def test_the_stages_are_joined_as_their_records_say():
    made = {
        "x/tables/table1/cells/a/b/c.json": ["x/evaluation/a/metrics.json", "config/paper.csv"],
        "x/evaluation/a/metrics.json": ["x/student/a/record.json", "x/data/csqa/test.parquet"],
        "x/student/a/record.json": ["x/student/b/record.json", "x/models/s/record.json"],
        "x/models/s/record.json": [],
    }
    sources = [trace.Source(name, "", name, "own", "", 0, None, "") for name in [*made, *made]]
    found = {own["name"]: own for own in stages.graph(Records(made), sources)}
    assert found["artifacts"]["of"] == ["evaluation"] and found["student"]["of"] == ["models"]
    assert found["evaluation"]["of"] == ["data", "student"] and not found["models"]["of"]
    assert [found[name]["n"] for name in ("artifacts", "student", "data")] == [1, 1, 0]


@pytest.mark.parametrize(
    "text",
    ["", "s\n", "s\tcpu_time\n", "s\tcpu_time\nNaN\tNaN\n", "s\n1e300\n", "s\n-1\n", "\x00\n1"],
)
def test_damaged_timings_and_those_of_rules_of_ones_own(tmp_path, text):
    for name, content in {"data/a": "s\n2.0\n", "mine/b": "s\n3.0\n", "data/bad": text}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.tsv").write_text(content)
    assert trace.timing(tmp_path / "data/bad.tsv") is None
    found = stages.costs(timings(tmp_path, tmp_path), {"data": {"threads": 1}})
    assert [(own["stage"], own["seconds"]) for own in found] == [
        ("data", 2.0),
        ("mine", 3.0),
        ("all", 5.0),
    ]


def test_the_drawing_has_each_stage_and_a_line_from_each_source():
    of = {"models": ["data"], "student": ["data", "models", "knowledge"], "artifacts": ["teacher"]}
    of["knowledge"] = ["student"]  # against the order: told in the list, not drawn
    graph = [{"name": name, "makes": "", "of": of.get(name, []), "n": 1} for name in stages.STAGES]
    drawing = stages.drawing(graph)
    assert [box["name"] for box in drawing["boxes"]] == [*stages.STAGES]
    assert len(drawing["lines"]) == 5
    for line in drawing["lines"]:  # from the edge of a box to that of another, in the picture
        numbers = [float(own) for own in re.findall(r"[MHV](\d[\d.]*)", line)]
        assert all(0 <= own <= drawing["height"] for own in numbers)
    bottom = drawing["boxes"][-1]["y"] + drawing["box"][1]
    assert bottom == drawing["height"]


def test_hours_of_cores_and_gpus(tmp_path):
    for name, seconds in {"teacher/a": 3600, "teacher/b": 1800, "data/c": 36}.items():
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"s\tcpu_time\n{seconds}\t1\n")
    given = {"teacher": {"threads": 4, "gpu": 2, "nodes": 3}, "data": {"threads": 1, "gpu": 0}}
    data, teacher, every = stages.costs(timings(tmp_path, tmp_path), given)
    assert (teacher["jobs"], teacher["seconds"], teacher["longest"]) == (2, 5400, 3600)
    assert (teacher["core_hours"], teacher["gpu_hours"]) == (1.5 * 12, 1.5 * 6)
    assert (data["core_hours"], data["gpu_hours"], data["stage"]) == (0.01, 0, "data")
    assert every["core_hours"] == pytest.approx(18.01) and every["jobs"] == 3
    assert stages.costs(timings(tmp_path / "none", tmp_path), given) == []
