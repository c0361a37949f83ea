"""The plan as a user sees it: no flags where a scale fits, a flag for each thing that does not."""

import copy
import json
import math
from functools import cache

import pytest

from first_distill.config.datasets import entry_for, used
from first_distill.config.load import load, own_files
from first_distill.errors import UserError
from first_distill.plan.planning import make_plan
from first_distill.plan.printing import print_plan
from first_distill.plan.scale import Scale
from scripts.plan import main
from tests.short import short


def plan(name: str, change=None, files=()) -> dict:
    """A plan in which nothing was fetched or prepared; `change` alters the scale's settings."""
    config = copy.deepcopy(whole_config())
    if change:
        change(config["scales"][name])
    data, settings = config["scales"][name]["data"], config["scales"][name]
    datasets = {dataset: entry_for(dataset, config, data) for dataset in used(settings)}
    scale = Scale(name, settings, config["methods"], datasets=datasets)
    return make_plan(scale, jobs_of(name, files))


@cache
def jobs_of(name: str, files: tuple[str, ...]) -> set:
    return Scale(name, {}, {}, files).jobs()


@cache
def whole_config() -> dict:
    return load(own_files())


@pytest.fixture(autouse=True)
def nothing_fetched(tmp_path, monkeypatch):
    """A folder without results."""
    monkeypatch.chdir(tmp_path)


def forty(settings: dict) -> None:
    settings["gpu"]["memory_gb"] = 40


def flags(found: dict) -> list[str]:
    """`rule family what: flag` of each flag."""
    return [
        f"{r['rule']} {r['family']} {r['what']}: {f}" for r in found["rows"] for f in r["flags"]
    ]


@pytest.mark.parametrize("scale", short(["paper", "pocket", "small", "smoke", "tiny"], "paper"))
def test_every_scale_fits_what_it_declares(scale):
    assert flags(plan(scale)) == []


def test_the_33b_does_not_fit_40_gb_gpus():
    found = flags(plan("paper", forty))
    assert any(f.startswith("evaluation llama1 teacher: needs 65") for f in found)
    assert any(f.startswith("knowledge llama1 csqa: needs 6") for f in found)
    assert not any(" llama2 " in f for f in found)


def without_offloading(settings: dict) -> None:
    settings["teacher"]["training"]["offload_optimizer"] = False


def test_states_that_are_not_offloaded_are_flagged():
    """33B on eight 80 GB GPUs, 1.7B on one of 24."""
    found = flags(plan("paper", without_offloading))
    assert sum(f.startswith("teacher llama1") and "80.1 GB of each GPU" in f for f in found) == 2
    found = flags(plan("small", without_offloading))
    assert sum(f.startswith("teacher smollm2") for f in found) == 3


def test_host_memory_and_time_are_flagged():
    def change(settings):
        settings["resources"]["evaluation"]["mem_mb"] = 48000
        settings["resources"]["teacher"]["runtime"] = 20

    found = flags(plan("paper", change))
    assert any(f.startswith("evaluation llama1 teacher: needs mem_mb 68558, ") for f in found)
    assert any("teacher llama1 alpaca: needs runtime 1" in f and "declared 20" in f for f in found)


def test_gpus_are_those_of_each_machine():
    """Two machines with four GPUs each: the states of eight, on each host half of them."""

    def change(settings):
        settings["resources"]["teacher"] |= {"nodes": 2, "gpu": 4}

    one, two = (
        next(r for r in plan("paper", c)["rows"] if r["rule"] == "teacher") for c in (None, change)
    )
    same = ("gpus", "gpu_gb", "all_gpus_gb", "hours", "gpu_hours", "flags")
    assert [two[name] for name in same] == [one[name] for name in same]
    assert two["host_gb"] < 0.7 * one["host_gb"]


@pytest.mark.slow
def test_shared_extraction_is_merged_by_one_job(tmp_path):
    """The merge needs no GPU, and memory for the store that it writes."""

    def change(settings):
        settings["knowledge"]["jobs"] = 3
        settings["resources"]["knowledge"]["mem_mb"] = 1000

    path = tmp_path / "jobs.yaml"
    path.write_text("scales: {paper: {knowledge: {jobs: 3}}}")
    whole, shared = plan("paper"), plan("paper", change, (str(path),))
    rows = {r["rule"]: r for p in (whole, shared) for r in p["rows"] if r["what"] == "alpaca"}
    one, part, merge = (rows["knowledge" + end] for end in ("", "_part", "_merge"))
    assert (one["jobs"], part["jobs"], merge["jobs"], merge["gpus"]) == (2, 6, 2, 0)
    for name in ("flops", "store_gb", "tokens"):
        assert shared["totals"][name] == pytest.approx(whole["totals"][name], rel=1e-12)
    assert one["host_gb"] == part["host_gb"] > merge["host_gb"] > one["store_gb"] / 2 + 1
    assert merge["flags"] == [f"needs mem_mb {math.ceil(merge['host_gb'] * 1e3)}, declared 1000"]


def test_pruning_needs_memory_for_the_whole_source(tmp_path):
    """The student has the layers' shape and number; the job that makes it loads its teacher."""
    models = {"smollm2-12": {"prune": {"from": "smollm2-1b7", "layers": 12}}}
    changed = {"models": models, "families": {"smollm2": {"student": "smollm2-12"}}}

    def change(settings):
        settings["models"] |= models
        settings["families"]["smollm2"]["student"] = "smollm2-12"
        settings["resources"]["models"]["mem_mb"] = 4000

    path = tmp_path / "pruned.json"
    path.write_text(json.dumps({"scales": {"small": changed}}))
    rows = {(r["rule"], r["what"]): r for r in plan("small", change, (str(path),))["rows"]}
    teacher, row = rows["base_model", "smollm2-1b7"], rows["pruned_model", "smollm2-12"]
    whole, embeddings = 1_711_376_384, 49152 * 2048 + 2048  # tied, and the last norm
    assert teacher["parameters"] == whole
    assert row["parameters"] == embeddings + (whole - embeddings) // 2  # 12 of 24 layers
    assert row["host_gb"] == pytest.approx(teacher["host_gb"] + 2 * whole / 1e9)
    assert row["checkpoint_gb"] == pytest.approx(2 * row["parameters"] / 1e9)
    assert row["flags"] == [f"needs mem_mb {math.ceil(row['host_gb'] * 1e3)}, declared 4000"]
    assert rows["student_labels", "csqa"]["parameters"] == row["parameters"]


def test_the_cache_holds_pickles_in_both_forms():
    rows = {r["what"]: r for r in plan("paper")["rows"] if r["rule"] == "base_model"}
    for name, times in (("openllama-13b", 2), ("llama2-13b", 1)):
        size = times * 2 * rows[name]["parameters"] / 1e9
        assert rows[name]["checkpoint_gb"] == pytest.approx(size)


def test_numbers_of_one_row_by_hand():
    """The 33B teacher on CommonsenseQA: 3 epochs, 8 GPUs, checkpointing."""
    row = next(r for r in plan("paper")["rows"] if r["rule"] == "teacher" and r["what"] == "csqa")
    p, tokens, steps = 32_528_943_616, 3 * 564_239, 3 * 35
    assert (row["parameters"], row["jobs"], row["tokens"]) == (p, 1, tokens)
    assert row["state_gb"] == pytest.approx(2 * 12 * p / 1e9)
    assert row["checkpoint_gb"] == pytest.approx(2 * p / 1e9)
    # 8 operations a parameter and token; embeddings and most heads do not run, attention does.
    assert row["flops"] == pytest.approx(8 * (p - 2 * 32000 * 6656) * tokens, rel=0.03)
    # Validation (62,699 tokens) is one process's; a training below 30 minutes saves no state.
    validating = 2 * (p - 2 * 32000 * 6656) * 62_699
    arithmetic = ((row["flops"] - validating) / 8 + validating) / (989e12 * 0.4)
    seconds = arithmetic + 8 * p / 1e9 + steps * (12 + 40) * p / 8 / 20e9
    assert row["hours"] == pytest.approx(seconds / 3600, rel=1e-3)
    assert row["gpu_hours"] == pytest.approx(8 * row["hours"])


def test_the_table_has_a_line_for_every_row(capsys):
    found = plan("paper", forty)
    print_plan(found, details=True)
    printed = capsys.readouterr().out
    lines = [line.split()[:2] for line in printed.splitlines()]
    for row in found["rows"]:
        assert lines.count([row["rule"], row["family"] or row["what"]]) >= 2  # in both tables
    assert printed.count("\nFLAG ") == len(flags(found)) > 0
    assert "source of model llama1-33b: config/architectures/huggyllama--llama-30b.json" in printed
    assert "not the tokenizer of openllama-7b" in printed
    assert printed.strip().endswith(f"{len(flags(found))} flags")


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_hours_gpus_and_disk_come_first_in_120_columns(capsys, scale):
    found = plan(scale)
    print_plan(found)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[0] == f"scale {scale}: {sum(row['jobs'] for row in found['rows'])} jobs on models"
    gpus = max(row["gpus"] for row in found["rows"])
    hours, rows = sum(row["gpu_hours"] for row in found["rows"]), found["rows"]
    kept = sum(row["checkpoint_gb"] + row["store_gb"] for row in rows)
    kept += max(row["state_gb"] for row in rows)
    if gpus:
        assert lines[1].startswith(f"hours  {hours:.3g} GPU-hours; ")
        assert lines[2].startswith(f"GPUs   {gpus} at once, ")
    assert float(lines[3].split()[1].replace(",", "")) == pytest.approx(kept, rel=5e-3)


@pytest.mark.slow
def test_flags_are_an_error_only_when_asked_for(tmp_path):
    words = ["--scale", "small", "--gpu-memory-gb", "8", "--json", str(tmp_path / "plan.json")]
    assert main(words) == 0
    assert flags(json.loads((tmp_path / "plan.json").read_text()))
    with pytest.raises(UserError, match="scale small: resources cannot hold student"):
        main([*words, "--strict"])
