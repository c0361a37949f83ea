"""The list of Table 1's cells: order, states, numbers, costs, and mistakes in one line."""

import json
from pathlib import Path

import pytest
import yaml

from first_distill.config.load import load, own_files
from first_distill.errors import UserError
from first_distill.plan.cells import jobs_behind
from first_distill.plan.planning import make_plan
from first_distill.plan.scale import configured
from first_distill.provenance import records
from first_distill.provenance.fingerprint import fingerprint
from first_distill.reporting import listing
from scripts.artifacts import main

SETTINGS = {
    "families": {"llama1": {}, "oak": {}},
    "settings": {"in_domain": {"csqa": "csqa", "boolq": "boolq"}, "far": {"obqa": "alpaca"}},
}
FOLDER = "results/forest/tables/table1/cells"
FIRST = f"{FOLDER}/llama1/first_ts/in_domain-csqa.json"
OAK = f"{FOLDER}/oak/base/far-obqa.json"


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    """A folder without results."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def made():
    """Two cells of twelve, from one evaluation and its data; the data took 30 s, the other 90."""
    root, benchmarks = Path("results/forest"), Path("benchmarks/forest")
    sources, stages = {}, {"data/csqa/report.json": "data"}
    stages["evaluation/llama1/csqa/first_ts/seed1/metrics.json"] = "evaluation"
    cells = [str(Path(path).relative_to(root)) for path in (FIRST, OAK)]
    for name, stage in [*stages.items(), *((cell, "cell") for cell in cells)]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        numbers = {
            metric: {"value": value, "low": value - 1.26, "high": value + 2.0, "sd": None}
            for metric, value in {"ece": 3.0, "accuracy": 80.55, "trust": 77.55}.items()
        }
        content = {"provenance": {"stage": stage, "code": fingerprint(stage)}, **numbers}
        records.write(root / name, content, made_from=[root / s for s in sources])
        sources = {} if stage == "cell" else {name: None}
        if name == cells[0]:
            sources = {next(iter(stages)): None}
    for name, seconds in {"data/csqa": 30.0, "evaluation/llama1/csqa/first_ts/seed1": 90.0}.items():
        path = (benchmarks / name).with_name(f"{Path(name).name}.tsv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tcpu_time\n{seconds}\t1.0\n")


def cells(methods=("base", "first_ts")) -> list[dict]:
    return listing.cells("forest", SETTINGS, list(methods))


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(listing, "is_terminal", lambda: True)


def shown(found: list[dict], whole: dict, capsys) -> list[str]:
    listing.show("forest", found, whole, ["snakemake", "a b"], as_json=False)
    return capsys.readouterr().out.splitlines()


def test_order_and_the_papers_values():
    """Family, method, column; the paper's values of config/paper_table1.csv, read by eye."""
    found = cells()
    assert [cell["path"].removeprefix(f"{FOLDER}/") for cell in found[:4]] == [
        "llama1/base/in_domain-csqa.json",
        "llama1/base/in_domain-boolq.json",
        "llama1/base/far-obqa.json",
        "llama1/first_ts/in_domain-csqa.json",
    ]
    assert len(found) == 12 and found[6]["family"] == "oak" and found[2]["corpus"] == "alpaca"
    assert found[3]["paper"] == {"ece": 2.9, "accuracy": 80.8, "trust": 77.9}
    assert found[0]["paper"] is None and found[-1]["paper"] is None


def test_made_cells_say_what_their_files_say(made, terminal, capsys):
    found = cells()
    whole = listing.measure(found, Path("results"), Path("benchmarks"))
    by = {cell["path"]: cell for cell in found}
    assert [path for path, cell in by.items() if cell["state"] == "made"] == [FIRST, OAK]
    assert by[FIRST]["ours"]["ece"] == {"value": 3.0, "low": 1.74, "high": 5.0}
    assert by[FIRST]["seconds"] == {"data": 30.0, "evaluation": 90.0}
    assert by[OAK]["seconds"] == {"data": 30.0}
    assert whole == {"seconds": {"data": 30.0, "evaluation": 90.0}, "untimed": 0}  # data once
    lines = shown(found, whole, capsys)
    rows = [line.split() for line in lines]
    assert rows[7] == (
        "first_ts/in_domain-csqa.json 2.9 80.8 77.9 3.0 [1.7, 5.0] 80.5 77.5 made 2 min".split()
    )
    assert rows[13] == "base/far-obqa.json – 3.0 [1.7, 5.0] 80.5 77.5 made 30 s".split()
    assert rows[14] == "first_ts/in_domain-csqa.json – – – – not made not measured".split()
    assert lines[3] == f"{FOLDER}/llama1/" and lines[10] == f"{FOLDER}/oak/"
    assert lines[-2:] == [
        "2 of 12 cells made; their jobs, each once: 2 min; the others: not measured",
        "one cell: snakemake 'a b'",
    ]
    assert max(map(len, lines)) <= 120


def test_whole_paths_where_there_is_no_terminal(made, capsys):
    found = cells()
    whole = listing.measure(found, Path("results"), Path("benchmarks"))
    rows = [line.split() for line in shown(found, whole, capsys)]
    assert [row[0] for row in rows[3:-2]] == [cell["path"] for cell in found]


def test_what_is_wrong_with_a_cell_is_said(made, capsys):
    path = Path("results/forest/evaluation/llama1/csqa/first_ts/seed1/metrics.json")
    path.write_text(path.read_text().replace("3.0", "2.0"))
    Path(OAK).write_text("{}")
    Path("benchmarks/forest/data/csqa.tsv").unlink()
    found = cells()
    whole = listing.measure(found, Path("results"), Path("benchmarks"))
    by = {cell["path"]: cell for cell in found}
    assert by[FIRST]["state"] == "stale" and by[FIRST]["ours"]["accuracy"]["value"] == 80.55
    assert [text.partition(": ")[2] for text in by[FIRST]["problems"]] == [
        "stale: made from another version of " + str(path.relative_to("results")),
        "altered: the record is damaged",
    ]
    assert by[OAK]["state"] == "altered" and by[OAK]["ours"] is None
    lines = shown(found, whole, capsys)
    assert lines[-3].endswith(": see python -m scripts.verify results/forest")
    assert "seed1/metrics.json: altered: the record is damaged" in lines[-3]
    assert "not measured" in next(line for line in lines if "altered  " in line)


def test_planned_hours_are_those_of_a_plan_of_its_jobs(capsys):
    main(["cells", "--scale", "small", "--json"])
    found = json.loads(capsys.readouterr().out)
    scale = configured(load(own_files()), "small")
    jobs = {cell["path"]: jobs_behind(scale, cell) for cell in found["cells"]}
    assert {cell["state"] for cell in found["cells"]} == {"not made"}
    column = {"method": "first_ts", "setting": "out_of_domain", "benchmark": "obqa"}
    own = [cell for cell in found["cells"] if column.items() <= cell.items()]
    assert len(own) == len(scale.settings["families"]) == 2
    rows = make_plan(scale, set().union(*(jobs[cell["path"]] for cell in own)))["rows"]
    for cell in own:  # a plan is of all families
        hours = [row["gpu_hours"] for row in rows if row["family"] == cell["family"]]
        assert cell["gpu_hours"] == pytest.approx(sum(hours)) and len(hours) == 4
    whole = make_plan(scale, set().union(*jobs.values()))["totals"]["gpu_hours"]
    assert found["gpu_hours"] == pytest.approx(whole)


def test_a_scale_of_ones_own(tmp_path, capsys):
    """Its file is named in the command; a model whose shape is not known ends no list."""
    own = tmp_path / "own.yaml"
    unknown = {"hub": {"repo": "nobody/nothing", "revision": "0" * 40}}
    content = load(own_files())["scales"]["small"]
    content["models"] = dict.fromkeys(content["models"], unknown)
    own.write_text(yaml.safe_dump({"scales": {"mine": content}}))
    main(["cells", "--scale", "mine", "--configfile", str(own)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].startswith("not planned: no configuration of model ")
    assert lines[-2] == "0 of 80 cells made; the others: not measured"
    assert lines[-1].startswith("one cell: snakemake --profile slurm results/mine/tables/table1/")
    assert lines[-1].endswith(f"--configfile {own}")


def test_the_configured_scale_and_an_unknown_one(capsys):
    main(["cells"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Table 1, scale tiny:")
    assert lines[-2:] == [
        "0 of 120 cells made; the others: not measured",
        "one cell: snakemake -c2 results/tiny/tables/table1/cells/alder/base/in_domain-csqa.json",
    ]
    with pytest.raises(UserError, match="--scale huge: one of .*tiny.*, or give --configfile"):
        main(["cells", "--scale", "huge"])
